//! How a command in the guest ended, as the helper reports it to the host behind the command's standard error.
//!
//! The word in it is the host's, a new one for each command, so that no command prints a report by accident. Root in the
//! guest can find the word out, and gains nothing: it decides how its command ends anyway.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};

/// What stands before a report: bytes that text does not have.
const MARK: &[u8] = b"\0bottle-guest report ";
/// The longest report, with its mark, in bytes.
pub const LONGEST: usize = 4096;
/// The longest message in one, in characters.
const MESSAGE: usize = 500;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How.
    pub how: How,
    /// Its exit status, if it has one.
    pub status: Option<u8>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it was not run, if it was not.
    pub code: Option<Code>,
    /// The same in words.
    pub message: Option<String>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum How {
    /// By itself, or by a signal of the guest's.
    Exited,
    /// Its time was over.
    TimedOut,
    /// It was told to end.
    Interrupted,
    /// It could not be run.
    NotRun,
}

/// Why something could not be done in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Code {
    /// There is no such file, folder or program.
    NotFound,
    /// It is a folder.
    IsFolder,
    /// The user may not do that.
    NoPermission,
    /// The guest has no such user or group.
    NoUser,
    /// It is larger than what was asked for.
    TooLarge,
    /// Anything else.
    Other,
}

/// Something that is refused with a code, described in words.
#[derive(Debug)]
pub struct Refused(pub Code, pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Refused {}

impl Code {
    const ALL: [Self; 6] =
        [Self::NotFound, Self::IsFolder, Self::NoPermission, Self::NoUser, Self::TooLarge, Self::Other];

    /// Returns the status with which the helper ends for it. They are those of BSD's `sysexits.h` that come closest.
    pub fn status(self) -> u8 {
        match self {
            Self::IsFolder => 65,
            Self::NoUser => 67,
            Self::NotFound => 72,
            Self::TooLarge => 76,
            Self::NoPermission => 77,
            Self::Other => 1,
        }
    }

    /// Returns the code that a status of the helper's stands for.
    pub fn of_status(status: i32) -> Self {
        Self::ALL.into_iter().find(|code| i32::from(code.status()) == status).unwrap_or(Self::Other)
    }

    /// Returns the code of the first cause of an error that has one.
    pub fn of(error: &anyhow::Error) -> Self {
        let of = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Refused>() {
            Some(Refused(code, _)) => Some(*code),
            None => cause.downcast_ref::<io::Error>().map(Self::of_io),
        };
        error.chain().find_map(of).unwrap_or(Self::Other)
    }

    /// Returns the code of an error of the operating system's.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            io::ErrorKind::IsADirectory => Self::IsFolder,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::NoPermission,
            io::ErrorKind::InvalidFilename => Self::NotFound,
            _ => Self::Other,
        }
    }
}

impl Report {
    /// Writes the report behind what a command wrote.
    ///
    /// # Errors
    /// Returns the writer's error.
    pub fn write(&self, to: &mut impl Write, word: &str) -> io::Result<()> {
        let message = self.message.as_ref().map(|text| text.chars().take(MESSAGE).collect());
        let mut bytes = MARK.to_vec();
        bytes.extend(word.bytes());
        bytes.push(b' ');
        bytes.extend(serde_json::to_vec(&Self { message, ..self.clone() })?);
        bytes.push(b'\n');
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Finds the report at the end of what a command wrote, and returns where it begins.
    pub fn split(said: &[u8], word: &str) -> Option<(usize, Self)> {
        let tail = said.strip_suffix(b"\n")?;
        let at = tail.windows(MARK.len()).rposition(|part| part == MARK)?;
        let text = tail[at + MARK.len()..].strip_prefix(word.as_bytes())?.strip_prefix(b" ")?;
        Some((at, serde_json::from_slice(text).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_at_the_end_and_only_with_its_word() {
        let report = Report {
            how: How::NotRun,
            status: None,
            signal: None,
            code: Some(Code::NotFound),
            message: Some("\u{e9}".repeat(9000)),
        };
        let mut said = b"an error\n\0bottle-guest report other {}\n".to_vec();
        let before = said.len();
        report.write(&mut said, "w0rd").unwrap();
        assert!(said.len() - before < LONGEST);
        let (at, read) = Report::split(&said, "w0rd").unwrap();
        assert_eq!((at, read.how, read.code), (before, How::NotRun, Some(Code::NotFound)));
        assert_eq!(read.message.unwrap().chars().count(), MESSAGE);
        assert_eq!(Report::split(&said, "w0r"), None);
        assert_eq!(Report::split(&said[..said.len() - 1], "w0rd"), None);
        assert_eq!(Report::split(b"", "w0rd"), None);
    }

    #[test]
    fn each_code_has_a_status_of_its_own() {
        for code in Code::ALL {
            assert_eq!(Code::of_status(code.status().into()), code);
        }
        assert_eq!(Code::of_status(127), Code::Other);
    }
}
