//! Failures as a person sees them: a sentence, what to do next, and an exit status.

use std::fmt;
use std::process::ExitCode;

/// The kinds of failure that a script can tell apart. Their numbers are documented and stable. From 64 on
/// they are those of BSD's `sysexits.h`, which do not clash with a guest command's own status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer is no: closed, changed, leaking, different.
    Negative = 1,
    /// Bad input: the command line or `bottle.toml`. Nothing was started.
    Usage = 2,
    /// The log is intact, and older lines were rotated away.
    Incomplete = 3,
    /// In the guest it is a folder, and a file was meant.
    IsFolder = 65,
    /// There is no such bottle, or it is not running.
    NoBottle = 66,
    /// The guest has no such user or group.
    NoUser = 67,
    /// This machine lacks something that bottle needs, has a version that is too old, or forbids it.
    Unavailable = 69,
    /// Anything else.
    Internal = 70,
    /// There is no such file or folder in the guest.
    NotFound = 72,
    /// The bottle is in use, or already exists.
    Busy = 73,
    /// The output cannot be written, for example because the disk is full.
    Output = 74,
    /// The guest did not start. Trying again may help.
    Guest = 75,
    /// It is larger than what was asked for.
    TooLarge = 76,
    /// In the guest, the user may not do that.
    NoPermission = 77,
    /// Nobody reads the output any more, as after `head`. This is the status of a program that SIGPIPE ends.
    /// bottle prints nothing then.
    ReaderGone = 141,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Negative,
        Self::Usage,
        Self::Incomplete,
        Self::IsFolder,
        Self::NoBottle,
        Self::NoUser,
        Self::Unavailable,
        Self::Internal,
        Self::NotFound,
        Self::Busy,
        Self::Output,
        Self::Guest,
        Self::TooLarge,
        Self::NoPermission,
        Self::ReaderGone,
    ];

    /// Returns its exit status.
    pub fn status(self) -> u8 {
        self as u8
    }

    /// Returns a hint for most failures of this kind. For bad input it depends on the input.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::NoBottle => Some("`bottle ls` lists the bottles"),
            Self::Unavailable | Self::Internal => Some("`bottle doctor` checks this machine"),
            Self::Guest => Some("try again; `bottle doctor` checks this machine"),
            Self::Busy => Some("`bottle ls` shows what is under way"),
            _ => None,
        }
    }

    /// Returns its stable name for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Usage => "usage",
            Self::Incomplete => "incomplete",
            Self::IsFolder => "is-folder",
            Self::NoBottle => "no-bottle",
            Self::NoUser => "no-user",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::NotFound => "not-found",
            Self::Busy => "busy",
            Self::Output => "output",
            Self::Guest => "guest",
            Self::TooLarge => "too-large",
            Self::NoPermission => "no-permission",
            Self::ReaderGone => "reader-gone",
        }
    }
}

/// An expected failure.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    what: String,
    help: Option<String>,
    shown: bool,
}

/// The result of anything that a person can ask for.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Creates a failure of this kind, described in one sentence.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), help: None, shown: false }
    }

    /// Adds a hint on what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Marks it as already shown in the command's own output, so that it is not printed a second time.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.shown = true;
        self
    }

    /// Returns whether the command's own output shows it.
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Returns what went wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.help.as_deref().or_else(|| self.kind.hint())
    }

    /// Returns its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its exit status.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.kind.status())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", quoted(&self.what))?;
        match self.hint() {
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

/// Quotes every line of a message except the first, so that no text in it can look like a line of bottle's
/// own. An excerpt of a file, ` 3 | key = 1`, is already quoted.
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
