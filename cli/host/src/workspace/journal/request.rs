//! What is asked of a project.

use super::super::tree::Entry;
use crate::state::Folder;
use anyhow::Result;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is to become of a path.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub path: PathBuf,
    /// What the project has there.
    pub before: Option<Entry>,
    /// What it should have there.
    pub after: Option<Entry>,
    /// What the copy's record says about it afterwards, if that is not `after`.
    pub recorded: Option<Option<Entry>>,
}

/// The context of the requests.
pub(crate) struct Job<'a> {
    pub folder: &'a Folder,
    pub project: &'a Path,
    /// Writes the content for a request into an empty file.
    pub fill: &'a dyn Fn(usize, &File) -> Result<()>,
    /// The backup entry that this restores. If there is none, a backup is made.
    pub restores: Option<u64>,
}
