//! The project folder that a bottle was made for.

use super::files::{parse_json, write_private};
use super::filesystem::keeps_birth;
use super::folder::Folder;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// A project folder, identified so that no other can pass for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Its path without links, for people to read. Bytes that are not UTF-8 are replaced.
    pub path: String,
    device: u64,
    inode: u64,
    /// When it was made, if its file system keeps that. A new folder often gets the number of a removed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<SystemTime>,
}

/// How a folder relates to the one that a bottle was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is that folder, or the bottle was not made for any folder yet.
    Owner,
    /// It is the same folder, moved from another path.
    Moved(Owner),
    /// It is another folder at the same path.
    Replaced(Owner),
    /// It is another folder.
    Stranger(Owner),
}

impl Owner {
    /// Identifies a project folder.
    ///
    /// # Errors
    /// Returns an error if the folder does not exist.
    pub fn of(project: &Path) -> Result<Self> {
        let what = || project.display().to_string();
        let real = project.canonicalize().with_context(what)?;
        let meta = fs::metadata(&real).with_context(what)?;
        let born = meta.created().ok().filter(|_| keeps_birth(&real));
        Ok(Self { path: real.to_string_lossy().into_owned(), device: meta.dev(), inode: meta.ino(), born })
    }

    /// Compares a folder with this one. On some file systems the device number changes when the machine
    /// restarts, so a folder with the same path and inode counts as the same.
    fn compare(self, other: &Self) -> Relation {
        let same_path = self.path == other.path;
        let same_number = self.inode == other.inode && (same_path || self.device == other.device);
        let same_birth = self.born.zip(other.born).is_none_or(|(then, now)| then == now);
        let same_folder = same_number && same_birth;
        match (same_folder, same_path) {
            (true, true) => Relation::Owner,
            // A bind mount gives one folder two paths. If the first path still leads to it, it has not moved.
            (true, false) if Self::of(Path::new(&self.path)).is_ok_and(|now| now.inode == other.inode) => {
                Relation::Owner
            }
            (true, false) => Relation::Moved(self),
            (false, true) => Relation::Replaced(self),
            (false, false) => Relation::Stranger(self),
        }
    }
}

impl Folder {
    /// Returns the project that the bottle was made for, if that was recorded.
    ///
    /// # Errors
    /// Returns an error if the record exists and cannot be read.
    pub fn owner(&self) -> Result<Option<Owner>> {
        let path = self.owner_record();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(parse_json(&path, &text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Compares a project with the one that the bottle was made for.
    ///
    /// # Errors
    /// Returns an error if the project does not exist, or if the record cannot be read.
    pub fn relation_to(&self, project: &Path) -> Result<Relation> {
        let Some(owner) = self.owner()? else { return Ok(Relation::Owner) };
        Ok(owner.compare(&Owner::of(project)?))
    }

    /// Records which project the bottle was made for.
    ///
    /// # Errors
    /// Returns an error if the project does not exist, or if the record cannot be written.
    pub fn belong_to(&self, project: &Path) -> Result<()> {
        write_private(&self.owner_record(), serde_json::to_string(&Owner::of(project)?)?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::home::Home;

    #[test]
    fn a_bottle_belongs_to_one_folder() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        for name in ["a/app", "b/app", "state"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let folder = Home::at(at("state"), at("run")).bottle(&"app".parse().unwrap());
        folder.create().unwrap();
        assert_eq!(folder.relation_to(&at("a/app")).unwrap(), Relation::Owner);
        folder.belong_to(&at("a/app")).unwrap();
        assert_eq!(folder.relation_to(&at("a/app")).unwrap(), Relation::Owner);
        assert!(matches!(folder.relation_to(&at("b/app")).unwrap(), Relation::Stranger(_)));
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        assert_eq!(folder.relation_to(&at("link/app")).unwrap(), Relation::Owner);
        fs::rename(at("a/app"), at("c")).unwrap();
        assert!(matches!(folder.relation_to(&at("c")).unwrap(), Relation::Moved(_)));
        fs::create_dir(at("a/app")).unwrap();
        assert!(matches!(folder.relation_to(&at("a/app")).unwrap(), Relation::Replaced(_)));
        assert!(matches!(folder.relation_to(&at("c")).unwrap(), Relation::Moved(_)));
    }

    #[test]
    fn a_new_folder_with_the_number_of_the_old_one_is_another_folder() {
        let room = tempfile::tempdir().unwrap();
        let then = Owner::of(room.path()).unwrap();
        let Some(born) = then.born else { return };
        let now = Owner { born: Some(born + std::time::Duration::from_nanos(1)), ..then.clone() };
        assert!(matches!(then.clone().compare(&now), Relation::Replaced(_)));
        // A record without it is from a system that could not say.
        assert_eq!(Owner { born: None, ..then }.compare(&now), Relation::Owner);
    }
}
