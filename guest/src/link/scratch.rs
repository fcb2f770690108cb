//! The folders in which every user of a guest may make files.
//!
//! smolvm's bare Alpine has them as folders of one user's, and what an image brings is what its builder had. Programs
//! that run as another user than root need them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What `/tmp` is everywhere: open to all, and nobody removes what is another's.
const OPEN: u32 = 0o1777;

/// Opens them, unless they are mounts: a shared folder is the host's.
pub fn open() {
    open_in(Path::new("/"));
}

fn open_in(root: &Path) {
    let Ok(own) = fs::symlink_metadata(root) else { return };
    for name in ["tmp", "var/tmp"] {
        let path = root.join(name);
        let is_meant = fs::symlink_metadata(&path).is_ok_and(|meta| {
            meta.is_dir() && meta.dev() == own.dev() && meta.permissions().mode() & 0o7777 != OPEN
        });
        if is_meant {
            // A root file system that cannot be changed stays as it is.
            let _ = fs::set_permissions(&path, Permissions::from_mode(OPEN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_for_all_are_opened_and_a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o7777;
        for name in ["tmp", "var", "mine"] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::set_permissions(root.path().join(name), Permissions::from_mode(0o755)).unwrap();
        }
        symlink("../mine", root.path().join("var/tmp")).unwrap();
        open_in(root.path());
        assert_eq!([mode("tmp"), mode("var"), mode("mine")], [OPEN, 0o755, 0o755]);
    }
}
