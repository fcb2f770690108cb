//! Failures as a person sees them: a sentence, what to do next, and an exit status.

use std::fmt;
use std::process::ExitCode;

/// The kinds of failure that a script can tell apart. Their numbers are documented and stable. From 64 on
/// they are those of BSD's `sysexits.h`, which do not clash with a guest command's own status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bad input: the command line or `bottle.toml`. Nothing was started.
    Usage = 2,
    /// There is no such bottle, or it is not running.
    NoBottle = 66,
    /// This machine lacks something that bottle needs, or has it too old, or forbids it.
    Unavailable = 69,
    /// Anything else.
    Internal = 70,
    /// The output cannot be written, for example because the disk is full.
    Output = 74,
    /// The bottle is in use, or already exists.
    Busy = 73,
    /// The guest did not start. Trying again may help.
    Guest = 75,
    /// Nobody reads the output any more, as when `head` ends: the status of a program that SIGPIPE ends.
    /// bottle prints nothing then.
    ReaderGone = 141,
}

/// An expected failure.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    what: String,
    help: Option<String>,
}

/// The result of everything that a person can ask for.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Makes a failure of this kind, described in one sentence.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its exit status.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", quoted(&self.what))?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::new(Kind::Internal, format!("{error:#}")),
        }
    }
}

impl std::error::Error for Failure {}

/// Quotes every line of a message but the first, so that no text in it can look like a line of bottle's own.
/// An excerpt of a file, ` 3 | key = 1`, is quoted already.
pub fn quoted(text: &str) -> String {
    let is_quoted = |line: &str| {
        line.starts_with(' ')
            && line
                .trim_start_matches([' ', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0'])
                .starts_with('|')
    };
    let mut lines = text.trim_end_matches('\n').split('\n');
    let mut shown = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        shown.push_str(if is_quoted(line) { "\n" } else { "\n  | " });
        shown.push_str(line);
    }
    shown
}
