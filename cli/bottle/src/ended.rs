//! The line that `bottle exec --status-fd` writes: how the command ended, and whether bottle or the command decided that.

use bottle_guest::report::{Code, How as InGuest, Report};
use bottle_host::envelope;
use bottle_host::failure::{Failure, Kind};
use schemars::JsonSchema;
use serde::Serialize;

/// How a command in a guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ended {
    /// The form of this object: `bottle/ended/VERSION`.
    pub schema: String,
    /// Who decided how it ended. The exit status of `bottle exec` is the command's own if this says `command`.
    pub by: By,
    /// How it ended.
    pub how: How,
    /// The exit status of `bottle exec`.
    pub status: u8,
    /// The signal that ended the command, if one did.
    pub signal: Option<i32>,
    /// What was wrong, in a word that does not change, if something was.
    pub code: Option<String>,
    /// The same for a person.
    pub message: Option<String>,
    /// How many bytes of standard output came.
    pub stdout: u64,
    /// How many bytes of standard error came.
    pub stderr: u64,
}

/// Who decided how a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The command itself, or something in its guest.
    Command,
    /// bottle.
    Bottle,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// By itself, or by a signal in its guest.
    Exited,
    /// The time of `--timeout` was over.
    TimedOut,
    /// It wrote more than `--max-output` allows.
    OutputLimit,
    /// A signal told bottle to end it.
    Interrupted,
    /// It could not be run: no such program, folder or user, or it may not be.
    NotRun,
    /// bottle could not do it. `code` is a kind of failure.
    Failed,
    /// The guest, or the helper in it, ended without a word.
    Lost,
}

/// The bytes that came on a command's two streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// On standard output.
    pub stdout: u64,
    /// On standard error.
    pub stderr: u64,
}

/// Why the host ended a command, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It wrote too much.
    Output,
    /// This signal arrived.
    Signal(u8),
    /// It took too long, and its guest did nothing about it.
    Late,
}

/// The status of a command that was ended because its time was over, as that of `timeout` in coreutils.
pub const TIMED_OUT: u8 = 124;

impl Ended {
    /// Describes a command that was called, from what its helper reported and what the host did.
    pub fn of(report: Option<Report>, stopped: Option<Stopped>, came: Came) -> Self {
        let message = report.as_ref().and_then(|report| report.message.clone());
        let stopped = match (stopped, &report) {
            // It ended by itself before it was told to.
            (Some(Stopped::Signal(_) | Stopped::Late), Some(Report { how: InGuest::Exited, .. })) => None,
            (stopped, _) => stopped,
        };
        let new = |by, how, status| Self { status, ..Self::new(by, how, came) };
        let with = |message: Option<String>, ended: Self| Self { message, ..ended };
        match (stopped, report) {
            (Some(Stopped::Output), _) => with(
                Some("it wrote more than --max-output allows, and was ended".to_owned()),
                Self {
                    code: Some(Kind::TooLarge.word().to_owned()),
                    ..new(By::Bottle, How::OutputLimit, Kind::TooLarge.status())
                },
            ),
            (Some(Stopped::Signal(signal)), _) => {
                with(message, new(By::Bottle, How::Interrupted, 128_u8.saturating_add(signal)))
            }
            (Some(Stopped::Late), _) => with(
                Some("its guest did not end it, and was left with it".to_owned()),
                new(By::Bottle, How::TimedOut, TIMED_OUT),
            ),
            (None, Some(report)) => Self::reported(&report, came),
            (None, None) => with(
                Some("the guest, or the helper in it, ended without a word".to_owned()),
                Self {
                    code: Some(Kind::Guest.word().to_owned()),
                    ..new(By::Bottle, How::Lost, Kind::Guest.status())
                },
            ),
        }
    }

    fn reported(report: &Report, came: Came) -> Self {
        let (by, how, status) = match report.how {
            InGuest::Exited => (By::Command, How::Exited, report.status.unwrap_or(1)),
            InGuest::TimedOut => (By::Bottle, How::TimedOut, TIMED_OUT),
            // Somebody in the guest told the helper to end it.
            InGuest::Interrupted => (By::Command, How::Interrupted, 143),
            InGuest::NotRun if report.code == Some(Code::NotFound) => (By::Bottle, How::NotRun, 127),
            InGuest::NotRun => (By::Bottle, How::NotRun, 126),
        };
        let code = report.code.map(|code| kind(code).map_or("other", Kind::word).to_owned());
        let (signal, message) = (report.signal, report.message.clone());
        Self { status, signal, code, message, ..Self::new(by, how, came) }
    }

    /// Describes a command that bottle could not call.
    pub fn failed(failure: &Failure) -> Self {
        Self {
            status: failure.kind().status(),
            code: Some(failure.kind().word().to_owned()),
            message: Some(failure.what().to_owned()),
            ..Self::new(By::Bottle, How::Failed, Came::default())
        }
    }

    fn new(by: By, how: How, came: Came) -> Self {
        Self {
            schema: envelope::schema("ended"),
            by,
            how,
            status: 0,
            signal: None,
            code: None,
            message: None,
            stdout: came.stdout,
            stderr: came.stderr,
        }
    }
}

/// Returns the kind of failure that a code of the helper's stands for.
pub fn kind(code: Code) -> Option<Kind> {
    Some(match code {
        Code::NotFound => Kind::NotFound,
        Code::IsFolder => Kind::IsFolder,
        Code::NoPermission => Kind::NoPermission,
        Code::NoUser => Kind::NoUser,
        Code::TooLarge => Kind::TooLarge,
        Code::Other => return None,
    })
}
