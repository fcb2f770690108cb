//! Unpacking a guest's archive trusts nothing in it.

use bottle_guest::archive::{
    Leave, Limits, NOTHING, Names, Refused, Rules, Unpacked, destination, pack, stays_inside, unpack,
};
use bottle_guest::beneath::{Folder, Links};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tar::{Builder, EntryType, Header};

/// Creates an archive of entries that no tar would create, each with a kind, a name, and content or a target.
fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, what) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o6777);
        // This bypasses the builder's own checks.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        let content = if *kind == Regular { what.as_bytes() } else { b"" };
        if matches!(kind, Symlink | Link) {
            header.as_gnu_mut().unwrap().linkname[..what.len()].copy_from_slice(what.as_bytes());
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Unpacks one thing from a guest below a path, under the name `it`.
fn take(bytes: &[u8], into: &Path) -> anyhow::Result<Unpacked> {
    take_by(bytes, into, &Rules::of_a_guest("it".into()))
}

fn take_by(bytes: &[u8], into: &Path, rules: &Rules) -> anyhow::Result<Unpacked> {
    unpack(bytes, &Folder::open(into, Links::Refused)?, rules)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

use EntryType::{Directory, Link, Regular, Symlink};

#[test]
fn nothing_is_written_outside_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let outside_name = outside.to_str().unwrap();
    let absolute = format!("{outside_name}/file");
    for rules in [Rules::of_a_guest("it".into()), Rules::of_a_person(None)] {
        for (name, entries) in [
            ("dots", vec![(Regular, "../outside/file", "evil")]),
            ("dots inside", vec![(Directory, "a", ""), (Regular, "a/../../outside/file", "evil")]),
            ("absolute", vec![(Regular, absolute.as_str(), "evil")]),
            (
                "through a link",
                vec![(Directory, "a", ""), (Symlink, "a/b", outside_name), (Regular, "a/b/file", "evil")],
            ),
            (
                "through a relative link",
                vec![(Directory, "a", ""), (Symlink, "a/b", "../../outside"), (Regular, "a/b/file", "evil")],
            ),
            ("a link, then what it is", vec![(Symlink, "a", outside_name), (Regular, "a/file", "evil")]),
            (
                "a hard link",
                vec![(Directory, "a", ""), (Link, "a/b", absolute.as_str()), (Regular, "a/b", "evil")],
            ),
        ] {
            let target = dir.path().join("target");
            fs::create_dir_all(&target).unwrap();
            let _ = take_by(&archive(&entries), &target, &rules);
            assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine", "{name}");
            fs::remove_dir_all(&target).unwrap();
        }
    }
    assert!(take(b"no archive at all, and long enough to be one: ", dir.path()).is_err());
    assert_eq!(take(&archive(&[]), dir.path()).unwrap_err().to_string(), NOTHING);
}

#[test]
fn one_thing_arrives_under_the_name_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    take(&archive(&[(Regular, ".git/hooks/post-checkout", "text")]), dir.path()).map(drop).unwrap();
    // A single file is the one thing, whatever folders precede its name.
    assert_eq!(names(dir.path()), ["it"]);
    for entries in [
        vec![(Regular, "hosts", "1"), (Regular, "bottle.toml", "2")],
        vec![(Regular, "hosts", "1"), (Regular, "hosts", "2")],
        vec![(Directory, "a", ""), (Regular, "b", "2")],
        vec![(Directory, "a", ""), (Regular, "b/c", "2")],
    ] {
        let dir = tempfile::tempdir().unwrap();
        assert!(take(&archive(&entries), dir.path()).is_err(), "{entries:?}");
        assert!(names(dir.path()).len() <= 1);
        // Where the archive's own names count, the same entries are unpacked.
        let lenient = Rules { names: Names::Packed(None), ..Rules::of_a_person(None) };
        let dir = tempfile::tempdir().unwrap();
        take_by(&archive(&entries), dir.path(), &lenient).unwrap();
    }
}

#[test]
fn only_files_folders_and_links_that_stay_inside_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let came = take(
        &archive(&[
            (Directory, "a", ""),
            (EntryType::Char, "a/char", ""),
            (EntryType::Block, "a/block", ""),
            (EntryType::Fifo, "a/pipe", ""),
            (Link, "a/hard", "a/file"),
            (Symlink, "a/absolute", "/etc/passwd"),
            (Symlink, "a/up", "../x"),
            (Symlink, "a/round", "b/../../../x"),
            (Symlink, "a/fine", "file"),
            (Symlink, "a/b/c/also", "../../file"),
            (Regular, "a/file", "x"),
            (Regular, "a/.GIT/config", "x"),
            (Regular, "a/git~1", "x"),
            (Regular, "a/Bottle.toml", "x"),
        ]),
        dir.path(),
    )
    .unwrap();
    assert_eq!(names(&dir.path().join("it")), ["b", "file", "fine"]);
    assert_eq!((came.written, came.left.count), (4, 10));
    assert_eq!(fs::metadata(dir.path().join("it/file")).unwrap().permissions().mode() & 0o7000, 0);
    let dir = tempfile::tempdir().unwrap();
    let all = Rules { leave: Leave::default(), ..Rules::of_a_guest("it".into()) };
    take_by(&archive(&[(Directory, "a", ""), (Regular, "a/.git/config", "x")]), dir.path(), &all).unwrap();
    assert!(dir.path().join("it/.git/config").exists());
}

#[test]
fn an_archive_is_bounded() {
    let limits = Limits { entries: 3, bytes: 10, depth: 3 };
    let rules = Rules { limits: Some(limits), ..Rules::of_a_guest("it".into()) };
    for (entries, wanted) in [
        (
            vec![(Directory, "a", ""), (Regular, "a/1", ""), (Regular, "a/2", ""), (Regular, "a/3", "")],
            "more than 3 entries",
        ),
        (vec![(Directory, "a", ""), (Regular, "a/b/c/d", "")], "3 folders deep"),
        (
            vec![(Directory, "a", ""), (Regular, "a/1", "123456"), (Regular, "a/2", "123456")],
            "more than 10 bytes",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = take_by(&archive(&entries), dir.path(), &rules).unwrap_err();
        assert!(format!("{error:#}").contains(wanted), "{error:#}");
    }
    // Sizes and names that a header merely claims.
    let claim = |kind: EntryType, size: u64| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.as_gnu_mut().unwrap().name[..1].copy_from_slice(b"a");
        header.as_gnu_mut().unwrap().linkname[..1].copy_from_slice(b"b");
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    for (kind, size, wanted) in [
        (Regular, 1 << 60, "the files have more than"),
        (Regular, 1000, "ends in the middle"),
        (EntryType::GNULongName, 1 << 40, "a name has"),
        (EntryType::GNULongLink, 1 << 62, "a name has"),
        (Regular, u64::MAX, "overflow"),
        (Link, 1 << 50, "cannot have content"),
        (Directory, 1 << 50, "cannot have content"),
        (EntryType::XHeader, 10, "PAX"),
        (EntryType::XGlobalHeader, 10, "PAX"),
        (EntryType::GNUSparse, 1 << 60, "real_size"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let endless = claim(kind, size)
            .into_iter()
            .chain(std::iter::repeat_n(0, 100_000))
            .take(600)
            .collect::<Vec<_>>();
        let error = format!("{:#}", take(&endless, dir.path()).unwrap_err());
        assert!(error.contains(wanted), "{kind:?} {size}: {error}");
    }
}

/// Creates an archive of a sparse file that claims these parts, each with its offset and length, and has this
/// content.
fn sparse(whole: u64, parts: &[(u64, u64)], content: &[u8]) -> Vec<u8> {
    let number = |value: u64| {
        let mut field = [0; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
        field
    };
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(content.len() as u64);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..1].copy_from_slice(b"a");
    gnu.set_real_size(whole);
    for (field, (at, len)) in gnu.sparse.iter_mut().zip(parts) {
        (field.offset, field.numbytes) = (number(*at), number(*len));
    }
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, content).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn a_sparse_map_is_believed_only_where_it_can_be_true() {
    let dir = tempfile::tempdir().unwrap();
    take(&sparse(1 << 30, &[(0, 2), (1 << 20, 3), (1 << 30, 0)], b"abcde"), dir.path()).unwrap();
    let file = fs::File::open(dir.path().join("it")).unwrap();
    let mut byte = [0; 4];
    file.read_exact_at(&mut byte, (1 << 20) - 1).unwrap();
    assert_eq!((&byte, file.metadata().unwrap().len()), (b"\0cde", 1 << 30));
    assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    for (whole, parts, content, wanted) in [
        (1 << 60, &[(0, 1), (1 << 60, 0)][..], &b"a"[..], "the files have more than"),
        (10, &[(0, 3), (2, 2)], b"abcde", "overlap, or are out of order"),
        (10, &[(5, 1), (0, 1)], b"ab", "overlap, or are out of order"),
        (10, &[(9, 2)], b"ab", "beyond its end"),
        (u64::MAX, &[(u64::MAX, 2)], b"ab", "beyond its end"),
        (10, &[(0, 1)], b"ab", "a sparse map has 1 bytes, and the archive 2"),
        (10, &[(0, 3)], b"ab", "a sparse map has 3 bytes, and the archive 2"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", take(&sparse(whole, parts, content), dir.path()).unwrap_err());
        assert!(error.contains(wanted), "{parts:?}: {error}");
        // Unpacking a person's own files does not believe it either, apart from its size.
        let lenient = take_by(&sparse(whole, parts, content), dir.path(), &Rules::of_a_person(None));
        assert!(lenient.is_err() || wanted.contains("the files have more than"), "{parts:?}");
    }
    // An endless map that says nothing.
    let mut endless = sparse(10, &[], b"");
    endless.truncate(512);
    endless[482] = 1;
    let sum: u32 = endless[..148].iter().chain(&endless[156..512]).map(|byte| u32::from(*byte)).sum();
    endless[148..155].copy_from_slice(format!("{:06o}\0", sum + 256).as_bytes());
    let mut block = [0; 512];
    block[504] = 1;
    let stream = endless.chain(Repeated(block));
    let error = unpack(stream, &Folder::open(dir.path(), Links::Refused).unwrap(), &Rules::of_a_person(None));
    assert!(format!("{:#}", error.unwrap_err()).contains("a map of more than"));
}

/// A block, repeated forever.
struct Repeated([u8; 512]);

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(512);
        buffer[..len].copy_from_slice(&self.0[..len]);
        Ok(len)
    }
}

/// Creates a file of 8 GiB with data at every 16 MiB, and a hole at its end.
fn file_with_holes(path: &Path) {
    let file = fs::File::create(path).unwrap();
    for at in 0..100_u64 {
        file.write_all_at(format!("part {at}").as_bytes(), at << 24).unwrap();
    }
    file.set_len(8 << 30).unwrap();
}

/// Checks that a file is such a file, and that its holes are holes.
fn has_holes(path: &Path) {
    let file = fs::File::open(path).unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), 8 << 30);
    assert!(meta.blocks() * 512 < 100 << 17, "{} blocks", meta.blocks());
    for at in [0_u64, 1, 50, 99] {
        let mut read = [0; 9];
        file.read_exact_at(&mut read, at << 24).unwrap();
        assert!(read.starts_with(format!("part {at}\0").as_bytes()), "{read:?}");
    }
}

#[test]
fn a_file_with_holes_is_exchanged_with_gnu_tar_and_with_ourselves() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("big{}", "n".repeat(150));
    let big = dir.path().join(&long);
    file_with_holes(&big);
    let tar = |words: &[&str]| {
        let output = Command::new("tar").args(words).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let since = Instant::now();
    let theirs = tar(&["-cSf", "-", "--format=gnu", &long]);
    let mut ours = Vec::new();
    pack(&big, OsStr::new("it"), Links::Refused, &mut ours).unwrap();
    assert!(ours.len() < 100 << 17, "{}", ours.len());
    for (name, packed) in [("from-gnu", &theirs), ("from-us", &ours)] {
        take_by(packed, dir.path(), &Rules::of_a_guest(name.into())).unwrap();
        has_holes(&dir.path().join(name));
    }
    // And the other way round: GNU tar and the `tar` crate unpack what we packed.
    fs::write(dir.path().join("packed"), &ours).unwrap();
    tar(&["-xf", "packed"]);
    has_holes(&dir.path().join("it"));
    fs::remove_file(dir.path().join("it")).unwrap();
    tar::Archive::new(ours.as_slice()).unpack(dir.path()).unwrap();
    assert_eq!(fs::metadata(dir.path().join("it")).unwrap().len(), 8 << 30);
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    // A file that consists of one hole.
    fs::File::create(&big).unwrap().set_len(1 << 30).unwrap();
    let mut ours = Vec::new();
    pack(&big, OsStr::new("it"), Links::Refused, &mut ours).unwrap();
    assert!(ours.len() <= 2048);
    take_by(&ours, dir.path(), &Rules::of_a_guest("hole".into())).unwrap();
    assert_eq!(fs::metadata(dir.path().join("hole")).unwrap().len(), 1 << 30);
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        take(&archive(&[(Directory, "a", ""), (Regular, "a/b", "1"), (Regular, "a/b", "2")]), dir.path());
    assert!(format!("{:#}", error.unwrap_err()).contains("has it twice"));
}

#[test]
fn an_existing_link_is_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, target) = (dir.path().join("mine"), dir.path().join("target"));
    fs::write(&mine, "mine").unwrap();
    fs::create_dir(&target).unwrap();
    symlink(&mine, target.join("a")).unwrap();
    take_by(&archive(&[(Regular, "a", "theirs")]), &target, &Rules::of_a_person(None)).unwrap();
    assert_eq!(
        (fs::read(&mine).unwrap(), fs::read(target.join("a")).unwrap()),
        (b"mine".to_vec(), b"theirs".to_vec())
    );
}

#[test]
fn a_packed_tree_unpacks_equal() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let long = "n".repeat(255);
    let deep: PathBuf = std::iter::repeat_n("deep", 60).collect();
    fs::create_dir_all(tree.join("empty")).unwrap();
    fs::create_dir_all(tree.join(&deep)).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    fs::write(tree.join(&deep).join(&long), "far").unwrap();
    symlink("nowhere", tree.join("link")).unwrap();
    symlink(long.repeat(3), tree.join("long")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap().success());
    let mut packed = Vec::new();
    let left = pack(&tree, OsStr::new("it"), Links::Refused, &mut packed).unwrap();
    assert_eq!(left, [Path::new("it/pipe")]);
    take(&packed, dir.path()).unwrap();
    let copy = dir.path().join("it");
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(copy.join(&deep).join(&long)).unwrap(), "far");
    assert!(copy.join("empty").is_dir());
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("nowhere"));
    assert_eq!(fs::read_link(copy.join("long")).unwrap(), Path::new(&long.repeat(3)));
    assert!(pack(&dir.path().join("missing"), OsStr::new("it"), Links::Refused, &mut packed).is_err());
}

#[test]
fn only_what_is_in_the_folder_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/sub")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink(dir.path().join("secret"), dir.path().join("tree/sub/link")).unwrap();
    symlink(dir.path().join("tree/sub"), dir.path().join("named")).unwrap();
    for name in ["tree", "named", "tree/sub/link"] {
        let mut packed = Vec::new();
        pack(&dir.path().join(name), OsStr::new("it"), Links::Refused, &mut packed).unwrap();
        for entry in tar::Archive::new(packed.as_slice()).entries().unwrap() {
            let mut text = String::new();
            entry.unwrap().read_to_string(&mut text).unwrap();
            assert_ne!(text, "secret", "{name}");
        }
    }
}

/// Decides where a path goes by a second method, letter by letter.
fn second_destination(path: &str) -> Result<String, Refused> {
    if path.starts_with('/') {
        return Err(Refused::LeadsOut);
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts.split_first() {
        _ if parts.contains(&"..") => Err(Refused::LeadsOut),
        None => Err(Refused::Nameless),
        Some((_, rest)) => {
            Ok(std::iter::once("it").chain(rest.iter().copied()).collect::<Vec<_>>().join("/"))
        }
    }
}

/// Resolves a link's target step by step, in a tree without other links.
fn resolves_inside(path: &str, target: &str) -> bool {
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            at.pop();
            if at.is_empty() {
                return false;
            }
        } else {
            at.push(part);
        }
    }
    !target.starts_with('/') && !at.is_empty()
}

proptest! {
    #[test]
    fn a_path_is_placed_as_a_second_opinion_says(path in "[./ab]{0,12}") {
        let got = destination(Path::new(&path), Some(OsStr::new("it")), None);
        prop_assert_eq!(got.clone().map(|path| path.to_str().unwrap().to_owned()), second_destination(&path));
        if let Ok(path) = got {
            prop_assert!(path.starts_with("it") && path.components().all(|part| matches!(part, Component::Normal(_))));
        }
    }

    #[test]
    fn an_unpacked_link_resolves_inside(path in "it(/[ab]){1,4}", target in "[./ab]{1,12}") {
        if stays_inside(Path::new(&path), Path::new(&target), 1) {
            prop_assert!(resolves_inside(&path, &target), "{path} -> {target}");
        }
    }

    #[test]
    fn noise_is_never_unpacked_outside_the_folder(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        let _ = take(&bytes, &dir.path().join("in"));
        prop_assert_eq!(names(dir.path()), ["in"]);
    }
}
