//! Finds the other paths of a folder. A bind mount shows one folder at two paths, and only one of them tells what is in it.

use bottle_host::provenance::walk::Identity;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Another path of a folder, or of one that is mounted below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The other path.
    pub path: PathBuf,
    /// Whether it is the path of what is mounted below the folder.
    pub is_below: bool,
}

/// One line of the kernel's list of mounts.
struct Mount {
    device: String,
    /// What is mounted: a path in the file system of that device.
    root: PathBuf,
    /// Where it is mounted.
    at: PathBuf,
}

/// Returns the other paths of a folder and of what is mounted below it. There are none on systems without that list.
pub fn elsewhere(folder: &Path) -> Vec<Bound> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
    let below = mounts.iter().map(|mount| &*mount.at).filter(|at| *at != folder && at.starts_with(folder));
    let below = below.flat_map(|at| others(at, &mounts)).map(|path| Bound { path, is_below: true });
    let own = others(folder, &mounts).into_iter().map(|path| Bound { path, is_below: false });
    own.chain(below).collect()
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = String::from_utf8(fields.nth(2)?.to_vec()).ok()?;
        let [root, at] = [fields.next()?, fields.next()?].map(unescaped);
        Some(Self { device, root, at })
    }
}

/// Returns the path in a field: the kernel writes blanks and backslashes in octal.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes).into()
}

fn others(folder: &Path, mounts: &[Mount]) -> Vec<PathBuf> {
    // The last of the innermost mounts hides the others.
    let around = mounts.iter().filter(|mount| folder.starts_with(&mount.at));
    let Some(own) = around.max_by_key(|mount| mount.at.as_os_str().as_bytes().len()) else {
        return Vec::new();
    };
    let Ok(rest) = folder.strip_prefix(&own.at) else { return Vec::new() };
    let inside = own.root.join(rest);
    let identity = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| Identity::of(&meta));
    let Some(known) = identity(folder) else { return Vec::new() };
    let others = mounts.iter().filter(|mount| mount.device == own.device);
    let others = others.filter_map(|mount| {
        let rest = inside.strip_prefix(&mount.root).ok()?;
        Some(if rest.as_os_str().is_empty() { mount.at.clone() } else { mount.at.join(rest) })
    });
    others.filter(|path| path != folder && identity(path).as_ref() == Some(&known)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_list_is_read_as_the_kernel_wrote_it() {
        let line = br"36 35 98:0 /mnt1\040x /m\134nt2 rw,noatime master:1 - ext3 /dev/root rw";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((&*mount.device, mount.root, mount.at), ("98:0", "/mnt1 x".into(), r"/m\nt2".into()));
        assert!(Mount::parse(b"").is_none());
    }
}
