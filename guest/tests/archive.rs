//! What a guest packs is not trusted by whoever unpacks it.

use bottle_guest::archive::{pack, unpack};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// An archive of entries that no tar would make: kind, name, content or target.
fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, what) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o6777);
        // Past the builder's own checks.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        let content = if *kind == EntryType::Regular { what.as_bytes() } else { b"" };
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_gnu_mut().unwrap().linkname[..what.len()].copy_from_slice(what.as_bytes());
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn nothing_is_written_outside_of_the_target() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let outside_name = outside.to_str().unwrap();
    let absolute = format!("{outside_name}/file");
    for (name, entries) in [
        ("dots", vec![(Regular, "../outside/file", "evil")]),
        ("dots inside", vec![(Directory, "a", ""), (Regular, "a/../../outside/file", "evil")]),
        ("absolute", vec![(Regular, absolute.as_str(), "evil")]),
        ("through a link", vec![(Symlink, "a", outside_name), (Regular, "a/file", "evil")]),
        ("through a relative link", vec![(Symlink, "a", "../outside"), (Regular, "a/file", "evil")]),
        ("a hard link", vec![(Link, "a", absolute.as_str()), (Regular, "a", "evil")]),
        ("a device", vec![(EntryType::Char, "a", "")]),
        ("nothing", vec![]),
    ] {
        let target = dir.path().join("target");
        fs::create_dir_all(&target).unwrap();
        assert!(unpack(archive(&entries).as_slice(), &target).is_err(), "{name}");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine", "{name}");
        fs::remove_dir_all(&target).unwrap();
    }
    assert!(unpack(&b"no archive at all, and long enough to be one: "[..], dir.path()).is_err());
}

#[test]
fn a_link_is_replaced_and_not_followed_and_no_rights_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, target) = (dir.path().join("mine"), dir.path().join("target"));
    fs::write(&mine, "mine").unwrap();
    fs::create_dir(&target).unwrap();
    symlink(&mine, target.join("a")).unwrap();
    unpack(archive(&[(EntryType::Regular, "a", "theirs")]).as_slice(), &target).unwrap();
    assert_eq!(
        (fs::read(&mine).unwrap(), fs::read(target.join("a")).unwrap()),
        (b"mine".to_vec(), b"theirs".to_vec())
    );
    assert_eq!(fs::metadata(target.join("a")).unwrap().permissions().mode() & 0o7000, 0);
}

#[test]
fn what_is_packed_is_what_is_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("empty")).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    symlink("nowhere", tree.join("link")).unwrap();
    let mut packed = Vec::new();
    pack(&tree, &mut packed).unwrap();
    unpack(packed.as_slice(), &dir.path().join("copy")).unwrap();
    let copy = dir.path().join("copy");
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "content");
    assert!(copy.join("empty").is_dir());
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("nowhere"));
    assert!(pack(&dir.path().join("missing"), &mut packed).is_err());
}
