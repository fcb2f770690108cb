//! The host paths that a configuration names.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What a host path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// The project, shared or copied.
    Workspace,
    /// A folder that is mounted into the guest.
    Volume,
    /// The image that the guest boots from.
    Image,
    /// A repository of git-gate's.
    Repository,
    /// A file with a key in it.
    Secret,
    /// A certificate authority that the guest trusts.
    Authority,
    /// A program that this machine runs, or a file that such a program is given.
    Program,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workspace => "the workspace",
            Self::Volume => "the volume",
            Self::Image => "the image",
            Self::Repository => "the repository",
            Self::Secret => "the key's file",
            Self::Authority => "the certificate authority",
            Self::Program => "the program",
        })
    }
}

/// A host path of a configuration, as written, made absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its purpose.
    pub is_for: Use,
    /// The path as written.
    pub written: PathBuf,
    /// Whether the guest may write below it.
    pub writable: bool,
    /// Where it led when the configuration was read: the path for smolvm and git. `None` if the path is used
    /// as written.
    pub real: Option<PathBuf>,
}

impl Named {
    /// Makes a path to a program, or to a file that one is given.
    pub fn program(path: PathBuf) -> Self {
        Self { is_for: Use::Program, writable: false, written: path, real: None }
    }
}
