//! A path, followed as the kernel follows it, one component at a time, with everything it passed.
//!
//! Nothing here keeps a descriptor. What a path passes outside of every folder that a guest could
//! write is nobody's to swap but the operator's; what it passes inside of one makes it untrusted,
//! wherever it leads.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many links a path may lead through: Linux's own limit.
const MOST_LINKS: usize = 40;

/// Which file or folder a path is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of something whose metadata is known.
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// Something that a path passed, under its name without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Where it is.
    pub place: PathBuf,
    /// Whether it is a link.
    pub is_link: bool,
}

/// A path that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Where it leads, without links and dots. Where something on the way is missing, the rest of it
    /// is as it was written.
    pub real: PathBuf,
    /// What is there: `None` where nothing is.
    pub end: Option<End>,
    /// Everything that it passed, in order.
    pub stations: Vec<Station>,
    /// Which folders these are.
    pub identities: BTreeMap<PathBuf, Identity>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Which one it is.
    pub identity: Identity,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// Follows an absolute path.
///
/// # Errors
/// Where it leads through too many links, or something on the way cannot be looked at.
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
        let place = walk.real.join(&part);
        let meta = match fs::symlink_metadata(&place) {
            Ok(meta) => meta,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                walk.stations.push(Station { place: place.clone(), is_link: false });
                walk.real = ahead.into_iter().rev().fold(place, |path, part| path.join(part));
                walk.end = None;
                return Ok(walk);
            }
            Err(error) => return Err(error),
        };
        let is_link = meta.is_symlink();
        walk.stations.push(Station { place: place.clone(), is_link });
        walk.identities.insert(place.clone(), Identity::of(&meta));
        if !is_link {
            walk.real = place;
            end = Some(meta);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::other("it leads through too many links"));
        }
        let target = fs::read_link(&place)?;
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

/// The components of a path, the first one last.
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
            .map(|station| station.place)
            .collect();
        assert_eq!(passed, [room.join("far"), room.join("a/link")]);
        let missing = walk(&room.join("a/link/none/x")).unwrap();
        assert!(missing.end.is_none() && missing.real == room.join("a/b/none/x"), "{missing:?}");
        symlink("loop", room.join("loop")).unwrap();
        assert!(walk(&room.join("loop")).is_err());
    }
}
