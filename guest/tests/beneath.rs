//! Nothing leads out of a folder, whoever changes its contents.

use bottle_guest::beneath::{Folder, Limits, Links, Seen, Visitor, remove_all, walk, walk_together};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn no_link_on_the_way_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("in/a/b")).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::write(dir.path().join("out/file"), "mine").unwrap();
    symlink("../out", dir.path().join("in/link")).unwrap();
    symlink("a", dir.path().join("in/inner")).unwrap();
    symlink("../out/file", dir.path().join("in/a/file")).unwrap();
    let root = Folder::open(&dir.path().join("in"), Links::Refused).unwrap();
    assert!(root.folder_at(Path::new("a/b")).is_ok() && root.folder_at(Path::new("")).is_ok());
    for path in ["link", "inner", "inner/b", "..", "a/../../out", "/tmp", "link/file"] {
        assert!(root.folder_at(Path::new(path)).is_err(), "{path}");
        assert!(root.make_folders(Path::new(path)).is_err(), "{path}");
    }
    for path in ["..", ".", "", "a/b", "/"] {
        assert!(root.folder(name(path)).is_err() && root.create(name(path), 0o600).is_err(), "{path}");
        assert!(root.make_folder(name(path), 0o700).is_err(), "{path}");
    }
    let a = root.folder(name("a")).unwrap();
    assert!(a.file(name("file")).is_err() && a.create(name("file"), 0o600).is_err());
    // If links are followed, the same calls do lead out.
    #[cfg(debug_assertions)]
    {
        let weak = Folder::open(&dir.path().join("in"), Links::Followed).unwrap();
        assert!(weak.folder_at(Path::new("link")).unwrap().file(name("file")).is_ok());
    }
}

#[test]
fn a_pipe_without_a_writer_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    let root = Folder::open(dir.path(), Links::Refused).unwrap();
    assert!(root.file(name("pipe")).is_err());
}

/// A folder and a link keep swapping places, and a file outside must not be touched.
#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (at, outside) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir_all(at.join("a")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(at.join("a/file"), "theirs").unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    symlink(&outside, at.join("b")).unwrap();
    let over = AtomicBool::new(false);
    let root = Folder::open(&at, Links::Refused).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let here = fs::File::open(&at).unwrap();
            while !over.load(Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&here, "a", &here, "b", flags).unwrap();
            }
        });
        let mut inside = 0;
        for _ in 0..20_000 {
            if let Ok((folder, file)) = root.above(Path::new("a/file")) {
                let (mut opened, _) = folder.file(file).unwrap();
                let mut text = String::new();
                std::io::Read::read_to_string(&mut opened, &mut text).unwrap();
                assert_eq!(text, "theirs");
                inside += 1;
            }
        }
        over.store(true, Relaxed);
        assert!(inside > 0);
    });
}

#[test]
fn a_tree_of_three_thousand_levels_is_walked_to_a_limit_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let root = Folder::open(dir.path(), Links::Refused).unwrap();
    let mut folder = root.try_clone().unwrap();
    for _ in 0..3_000 {
        folder.create(name("file"), 0o600).unwrap();
        folder = folder.make_folder(name("d"), 0o700).unwrap();
    }
    let mut deep = 0;
    let mut seen = 0;
    walk(&root, &Limits::default(), |found| {
        seen += 1;
        deep += u32::from(found.is_too_deep);
        Ok(true)
    })
    .unwrap();
    assert_eq!((deep, seen), (1, 512));
    let few = Limits { entries: 100, ..Limits::default() };
    assert!(walk(&root, &few, |_| Ok(true)).unwrap_err().to_string().contains("more than 100 paths"));
    let short = Limits { names: 1000, ..Limits::default() };
    assert!(walk(&root, &short, |_| Ok(true)).is_err());
    remove_all(&root).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn removing_a_tree_leaves_the_targets_of_links() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/a/b/c")).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::write(dir.path().join("out/file"), "mine").unwrap();
    symlink(dir.path().join("out"), dir.path().join("tree/a/link")).unwrap();
    fs::write(dir.path().join("tree/.bottle-gone-1"), "").unwrap();
    fs::set_permissions(dir.path().join("tree/a/b"), PermissionsExt::from_mode(0o0)).unwrap();
    remove_all(&Folder::open(&dir.path().join("tree"), Links::Refused).unwrap()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("tree")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(dir.path().join("out/file")).unwrap(), "mine");
}

#[test]
fn giving_a_link_away_gives_the_link_itself() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "").unwrap();
    symlink("mine", dir.path().join("link")).unwrap();
    fs::hard_link(dir.path().join("mine"), dir.path().join("second")).unwrap();
    if !rustix::process::geteuid().is_root() {
        println!("only root can give: nothing is shown");
        return;
    }
    let root = Folder::open(dir.path(), Links::Refused).unwrap();
    let (uid, gid) = (rustix::fs::Uid::from_raw(4242), rustix::fs::Gid::from_raw(4242));
    root.give_one(name("link"), uid, gid, |_| true).unwrap();
    root.give_one(name("second"), uid, gid, |meta| meta.has_one_name).unwrap();
    let owner = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap().uid();
    assert_eq!((owner("link"), owner("mine"), owner("second")), (4242, 0, 0));
}

/// Counts what one thread of a walk finds.
#[derive(Default)]
struct Counted {
    paths: Vec<std::path::PathBuf>,
    fails_at: Option<&'static str>,
}

impl Visitor for Counted {
    fn visit(&mut self, seen: &Seen) -> anyhow::Result<bool> {
        anyhow::ensure!(self.fails_at.is_none_or(|name| seen.name != name), "it fails here");
        self.paths.push(seen.path.to_owned());
        Ok(true)
    }

    fn go_on(&mut self, _: &Path) -> anyhow::Result<bool> {
        Ok(false)
    }
}

#[test]
fn several_threads_find_what_one_finds_and_all_end_when_one_fails() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..60 {
        let folder = dir.path().join(format!("a{}/b{n}/c", n % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{n}")), "").unwrap();
    }
    let root = Folder::open(dir.path(), Links::Refused).unwrap();
    let mut alone = Vec::new();
    walk(&root, &Limits::NONE, |seen| {
        alone.push(seen.path.to_owned());
        Ok(true)
    })
    .unwrap();
    let together = |fails_at: Option<&'static str>, limits: &Limits| {
        let visitors = (0..4).map(|_| Counted { fails_at, ..Counted::default() }).collect();
        walk_together(&root, limits, visitors)
    };
    let visitors = together(None, &Limits::NONE).unwrap();
    let mut found: Vec<_> = visitors.into_iter().flat_map(|visitor| visitor.paths).collect();
    found.sort();
    alone.sort();
    assert_eq!((found.len(), found), (187, alone));
    assert!(together(Some("f31"), &Limits::NONE).is_err_and(|error| error.to_string() == "it fails here"));
    // The threads count together.
    assert!(together(None, &Limits { entries: 100, ..Limits::default() }).is_err());
    assert!(together(None, &Limits { entries: 187, ..Limits::default() }).is_ok());
}
