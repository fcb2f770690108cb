//! What the machines of the pool are alike in.

use crate::digest::hex;
use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything that is fixed when a machine is created. It says nothing about a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// What it boots from. Without an image it is smolvm's bare Alpine.
    pub image: Option<Image>,
    /// The number of its processors.
    pub cpus: u8,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Whether it shares a folder that becomes the copy of a project.
    pub copies: bool,
    /// The programs that made it. A machine that others made is not used.
    pub programs: Vec<Program>,
}

/// An image that was fetched from a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its digest.
    pub digest: ImageDigest,
    /// The file that smolvm is given.
    pub archive: PathBuf,
}

/// A program's file as it was when a machine was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    /// When its content and its metadata last changed, in seconds and nanoseconds.
    modified: [i64; 2],
    changed: [i64; 2],
}

impl Shape {
    /// Returns a word that stands for this shape alone.
    ///
    /// # Errors
    /// Returns an error if a path cannot be written as JSON.
    pub fn key(&self) -> Result<String> {
        Ok(hex(&serde_json::to_vec(self)?)[..16].to_owned())
    }

    /// Returns whether the programs that made it are still the ones that are there.
    pub fn is_current(&self) -> bool {
        self.programs.iter().all(Program::is_there)
    }
}

impl Program {
    /// Returns the file that a path leads to.
    ///
    /// # Errors
    /// Returns an error if it is not there.
    pub fn at(path: &Path) -> Result<Self> {
        let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
        Ok(Self {
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: [meta.mtime(), meta.mtime_nsec()],
            changed: [meta.ctime(), meta.ctime_nsec()],
        })
    }

    fn is_there(&self) -> bool {
        Self::at(&self.path).is_ok_and(|now| now == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_under_the_same_name_is_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "one").unwrap();
        let shape =
            |program| Shape { image: None, cpus: 1, memory_mib: 512, copies: true, programs: vec![program] };
        let was = shape(Program::at(&path).unwrap());
        assert!(was.is_current());
        // Of the same length, with the same time of its last change.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!was.is_current());
        assert_ne!(was.key().unwrap(), shape(Program::at(&path).unwrap()).key().unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!was.is_current());
    }
}
