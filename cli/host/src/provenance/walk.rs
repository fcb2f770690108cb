//! Follows a path as the kernel does, one component at a time, and records everything on the way.
//!
//! No descriptor is kept open. Outside of every folder that a guest could write to, only the operator can
//! swap what a path passes through. A path that passes through such a folder is untrusted, wherever it leads.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many links a path may lead through. Linux has the same limit.
const MOST_LINKS: usize = 40;

/// The identity of a file or folder, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Returns the identity of the file or folder with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// One file, folder or link on the way, by its path without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a link.
    pub is_link: bool,
}

/// A path, followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Where it leads, without links and dots. From the first missing component on, the path is as written.
    pub real: PathBuf,
    /// What is there, if anything.
    pub end: Option<End>,
    /// Everything on the way, in order.
    pub stations: Vec<Station>,
    /// The identities of everything on the way.
    pub identities: BTreeMap<PathBuf, Identity>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its identity.
    pub identity: Identity,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// Follows an absolute path.
///
/// # Errors
/// Returns an error if the path leads through too many links, or if something on the way cannot be examined.
pub fn walk(path: &Path) -> io::Result<Walk> {
    let mut walk =
        Walk { real: PathBuf::from("/"), end: None, stations: Vec::new(), identities: BTreeMap::new() };
    let root = fs::symlink_metadata("/")?;
    walk.identities.insert(PathBuf::from("/"), Identity::of(&root));
    let mut end = Some(root);
    let mut links = 0;
    let mut ahead: Vec<OsString> = parts(path);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            walk.real.pop();
            end = fs::symlink_metadata(&walk.real).ok();
            continue;
        }
        let here = walk.real.join(&part);
        let meta = match fs::symlink_metadata(&here) {
            Ok(meta) => meta,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                walk.stations.push(Station { path: here.clone(), is_link: false });
                walk.real = ahead.into_iter().rev().fold(here, |path, part| path.join(part));
                walk.end = None;
                return Ok(walk);
            }
            Err(error) => return Err(error),
        };
        let is_link = meta.is_symlink();
        walk.stations.push(Station { path: here.clone(), is_link });
        walk.identities.insert(here.clone(), Identity::of(&meta));
        if !is_link {
            walk.real = here;
            end = Some(meta);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::other("it leads through too many links"));
        }
        let target = fs::read_link(&here)?;
        if target.is_absolute() {
            walk.real = PathBuf::from("/");
        }
        end = fs::symlink_metadata(&walk.real).ok();
        ahead.extend(parts(&target));
    }
    walk.end =
        end.map(|meta| End { identity: Identity::of(&meta), is_dir: meta.is_dir(), is_file: meta.is_file() });
    Ok(walk)
}

/// Returns the components of a path in reverse, so that the first one is popped first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let mut parts: Vec<OsString> = parts.collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_leads_where_the_kernel_says_and_names_what_it_passed() {
        let room = tempfile::tempdir().unwrap();
        let room = room.path().canonicalize().unwrap();
        fs::create_dir_all(room.join("a/b")).unwrap();
        fs::write(room.join("a/b/file"), "x").unwrap();
        symlink("b/../b", room.join("a/link")).unwrap();
        symlink(room.join("a/link/file"), room.join("far")).unwrap();
        for path in ["a/b/file", "a/link/file", "a/../far", "far", "a/link/..", "a/link"] {
            let path = room.join(path);
            let walked = walk(&path).unwrap();
            assert_eq!(walked.real, path.canonicalize().unwrap());
            let end = walked.end.unwrap();
            assert_eq!(end.identity, Identity::of(&fs::metadata(&path).unwrap()));
        }
        let passed: Vec<PathBuf> = walk(&room.join("far"))
            .unwrap()
            .stations
            .into_iter()
            .filter(|station| station.is_link)
            .map(|station| station.path)
            .collect();
        assert_eq!(passed, [room.join("far"), room.join("a/link")]);
        let missing = walk(&room.join("a/link/none/x")).unwrap();
        assert!(missing.end.is_none() && missing.real == room.join("a/b/none/x"), "{missing:?}");
        symlink("loop", room.join("loop")).unwrap();
        assert!(walk(&room.join("loop")).is_err());
    }
}
