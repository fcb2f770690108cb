//! What became of a path in a guest's copy, and why it is not taken back where it is not.

use bottle_core::visible::Bytes;
use serde::{Serialize, Serializer};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum What {
    /// It is new.
    Added,
    /// Its content, its permissions or its kind is another.
    Changed,
    /// It is gone.
    Deleted,
}

/// Why a change is not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum Kept {
    /// What is below `.git`, or what could be taken for it, can run on the host: hooks, filters, a
    /// pager.
    Git,
    /// A folder that git takes for a repository by what it holds.
    Repository,
    /// A `.gitmodules` that says more than where submodules are.
    Gitmodules,
    /// A link that leads out of the project.
    LeadsOut,
    /// A device, a socket, a pipe.
    Special,
    /// A name that is no text.
    NoText,
    /// A folder below too many others.
    TooDeep,
    /// More than may be read.
    TooLarge,
    /// It changed while it was read.
    Unsteady,
    /// In the project, what it is in is no folder.
    Blocked,
    /// The project's own path has changed since, too.
    Conflict,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[derive(schemars::JsonSchema)]
pub struct Change {
    /// The path, from the project's folder.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// What became of it.
    pub what: What,
    /// Why it is not taken back, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

impl Change {
    /// Whether it may be taken back; `overwrite` also takes what the project has changed, too.
    pub fn may_be_taken(&self, overwrite: bool) -> bool {
        self.kept.is_none_or(|why| overwrite && why == Kept::Conflict)
    }
}

fn as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => to.serialize_str(text),
        None => to.collect_str(&Bytes(path.as_os_str().as_bytes())),
    }
}

impl What {
    /// As git shows it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'M',
            Self::Deleted => 'D',
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Git => "what is below .git could run on this machine; git-gate takes commits",
            Self::Repository => "git would take the folder for a repository, and run what it says",
            Self::Gitmodules => "it says more than where submodules are",
            Self::LeadsOut => "a link that leads out of the project",
            Self::Special => "neither file, folder nor link",
            Self::NoText => "its name is no UTF-8",
            Self::TooDeep => "it is too deep to look into it",
            Self::TooLarge => "more than is read; --max-size reads more",
            Self::Unsteady => "it changed while it was read; look again",
            Self::Blocked => "what it is in is no folder in your project",
            Self::Conflict => "you changed it, too; --overwrite takes the guest's",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the guest named must not steer the terminal that shows it, nor break its line.
        write!(f, "{} {}", self.what.letter(), Bytes(self.path.as_os_str().as_bytes()))?;
        self.kept.map_or(Ok(()), |why| write!(f, "  (stays in the guest: {why})"))
    }
}
