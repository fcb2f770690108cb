//! Trust boundary: an archive that a guest sends to `bottle cp`.
//! Property: whatever the bytes are, nothing is written outside the folder, the folder has at most the
//! one name that was given, nothing in it is a device or a link that leads out, git takes no name in it
//! for a repository, and nothing panics.
#![no_main]

use bottle_core::git::repository;
use bottle_guest::archive::{Limits, Rules, unpack};
use bottle_guest::beneath::{Folder, Kind, Links, walk};
use libfuzzer_sys::fuzz_target;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;

static ROOM: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|bytes: &[u8]| {
    let inside = ROOM.path().join("in");
    let _ = std::fs::remove_dir_all(&inside);
    std::fs::create_dir(&inside).unwrap();
    let folder = Folder::open(&inside, Links::Refused).unwrap();
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let rules = Rules { limits: Some(limits), ..Rules::of_a_guest("it".into()) };
    let _ = unpack(bytes, &folder, &rules);
    let beside: Vec<_> = std::fs::read_dir(ROOM.path()).unwrap().collect();
    assert_eq!(beside.len(), 1);
    walk(&folder, &bottle_guest::beneath::Limits::NONE, |seen| {
        assert!(seen.path.starts_with("it"));
        assert!(seen.meta.kind != Kind::Special);
        let below = seen.path != Path::new("it");
        assert!(!(below && repository::is_git(seen.name.as_bytes())));
        if seen.meta.kind == Kind::Link {
            let target = seen.folder.read_link(seen.name).unwrap();
            // Its target is inside `it`, as far as the path alone can tell.
            let above = Path::new("/x").join(seen.path.parent().unwrap());
            let mut at: Vec<_> = above.components().collect();
            for part in target.components() {
                match part {
                    std::path::Component::ParentDir => drop(at.pop()),
                    std::path::Component::CurDir => {}
                    part => at.push(part),
                }
                assert!(at.len() >= 3, "{} -> {}", seen.path.display(), target.display());
            }
        }
        Ok(true)
    })
    .unwrap();
});
