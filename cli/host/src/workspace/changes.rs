//! What changed at a path in a guest's copy, and why a change stays in the guest.

use bottle_core::visible::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum What {
    /// It is new.
    Added,
    /// Its content, its permissions or its kind changed.
    Changed,
    /// It is gone.
    Deleted,
}

/// Why a change stays in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum Kept {
    /// Anything below `.git`, or below what git could take for it, can run on the host: hooks, filters, a
    /// pager.
    Git,
    /// A folder that git takes for a repository because of its content.
    Repository,
    /// A `.gitmodules` that says more than where submodules are.
    Gitmodules,
    /// A link that leads out of the project.
    LeadsOut,
    /// A device, a socket, a pipe.
    Special,
    /// A folder that is nested too deeply.
    TooDeep,
    /// Something that you may not read.
    Unreadable,
    /// Something that is not copied into a guest, so it does not come back by itself, either.
    Excluded,
    /// A file that is larger than what may be read.
    TooLarge,
    /// A file that changed while it was read.
    Unsteady,
    /// In the project, one of its parents is not a folder.
    Blocked,
    /// In the project, it is a folder with something in it that the guest did not remove.
    NotEmpty,
    /// The project has changed the path as well.
    Conflict,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The path, relative to the project's folder.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// How it changed.
    pub what: What,
    /// Why it stays in the guest, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

impl Change {
    /// Returns whether it may be applied. `overwrite` also allows paths that the project has changed.
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
    /// Returns the letter that git uses for it.
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
            Self::Git => "anything below .git could run on this machine; use git-gate for commits",
            Self::Repository => {
                "git would take the folder for a repository and run what its configuration says"
            }
            Self::Gitmodules => "it says more than where submodules are",
            Self::LeadsOut => "a link that leads out of the project",
            Self::Special => "neither file, folder nor link",
            Self::TooDeep => "it is nested too deeply",
            Self::Unreadable => "you may not read it",
            Self::Excluded => "it is excluded from the copy; name it after -- to apply it",
            Self::TooLarge => "it exceeds the limit; --max-size raises it",
            Self::Unsteady => "it changed while it was read; look again",
            Self::Blocked => "in your project, one of its parents is not a folder",
            Self::NotEmpty => "in your project, it is a folder with more in it than the guest removed",
            Self::Conflict => "you changed it, too; --overwrite takes the guest's version",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name that the guest chose must not control the terminal that shows it, or break its line.
        write!(f, "{} {}", self.what.letter(), Bytes(self.path.as_os_str().as_bytes()))?;
        self.kept.map_or(Ok(()), |why| write!(f, "  (stays in the guest: {why})"))
    }
}
