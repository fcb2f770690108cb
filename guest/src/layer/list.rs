//! What is in a guest's root folder, and how it looks.

use anyhow::{Context, Result};
use bottle_core::helper::HELPER_DIR;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a guest finds there is made anew at each start: by the kernel, by smolvm or by bottle.
const APART: [&str; 10] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/workspace",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/hostname",
    HELPER_DIR,
];

/// What is known about one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its kind and its permission bits.
    pub mode: u32,
    /// Its owner and its group.
    pub owner: (u64, u64),
    /// Its length.
    pub len: u64,
    /// When its content was changed, in seconds since 1970.
    pub changed: i64,
    /// When the system last noted a change. No program can set it.
    noted: (i64, i64),
    /// The file that it is a name of, if that has others.
    pub inode: Option<(u64, u64)>,
}

/// Every path below a folder, without that folder, and each after its parent.
pub type Listed = BTreeMap<PathBuf, Look>;

impl Look {
    fn of(meta: &Metadata) -> Self {
        Self {
            mode: meta.mode(),
            owner: (meta.uid().into(), meta.gid().into()),
            len: meta.len(),
            changed: meta.mtime(),
            noted: (meta.ctime(), meta.ctime_nsec()),
            inode: (meta.nlink() > 1 && !meta.is_dir()).then(|| (meta.dev(), meta.ino())),
        }
    }

    /// Returns whether it is a folder.
    pub fn is_folder(self) -> bool {
        self.mode & KIND == FOLDER
    }

    /// Returns whether it is a file.
    pub fn is_file(self) -> bool {
        self.mode & KIND == FILE
    }

    /// Returns whether it is a symbolic link.
    pub fn is_link(self) -> bool {
        self.mode & KIND == LINK
    }
}

const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Lists a root folder, without what is mounted in it.
///
/// # Errors
/// Returns an error if a folder cannot be read.
pub fn list(root: &Path) -> Result<Listed> {
    let mut apart: BTreeSet<PathBuf> = APART.iter().map(PathBuf::from).collect();
    let mounts = fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    apart.extend(mounts.split(|byte| *byte == b'\n').filter_map(mount_point));
    list_without(root, &apart)
}

fn list_without(root: &Path, apart: &BTreeSet<PathBuf>) -> Result<Listed> {
    let mut listed = Listed::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if apart.contains(&path) {
                continue;
            }
            // A program that still runs may remove it meanwhile.
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let look = Look::of(&meta);
            if look.is_folder() {
                folders.push(path.clone());
            }
            listed.insert(path, look);
        }
    }
    Ok(listed)
}

/// Returns the fifth field of a line, in which a space is `\040`.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.filter(|_| *byte == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(meant) => {
                name.push(meant);
                rest = &after[3..];
            }
            None => {
                name.push(*byte);
                rest = after;
            }
        }
    }
    Some(OsString::from_vec(name).into())
}

/// Returns the path below the root folder, as an archive names it.
pub fn below<'p>(root: &Path, path: &'p Path) -> &'p Path {
    path.strip_prefix(root).unwrap_or(path)
}

/// Returns whether a name would say in a layer that something is gone.
pub fn is_whiteout(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh."))
}

/// Lists a folder whole, for tests.
#[cfg(test)]
pub fn tests_list(root: &Path) -> Listed {
    list_without(root, &BTreeSet::new()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_read_with_its_spaces() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/a b\c")));
        assert_eq!(mount_point(b""), None);
    }

    #[test]
    fn what_lies_apart_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "a/b", "mounted", "mounted/c"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let listed = list_without(dir.path(), &BTreeSet::from([dir.path().join("mounted")])).unwrap();
        let names: Vec<&Path> = listed.keys().map(|path| below(dir.path(), path)).collect();
        assert_eq!(names, [Path::new("a"), Path::new("a/b")]);
    }
}
