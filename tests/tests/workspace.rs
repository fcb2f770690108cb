//! The project's folder in the guest: the folder itself, or a copy whose changes are taken back
//! path by path. The guest is up to no good here.

use bottle_tests::{World, alone};
use predicates::prelude::*;
use predicates::str::contains;
use rustix::fs::Uid;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

const COPY: &str = "slug = \"t\"\n[workspace]\nmode = \"copy\"\n";

struct Up(World);

impl Up {
    /// A bottle whose guest works on a copy of a small project.
    fn new() -> Self {
        let world = World::with(COPY);
        world.write("kept", "one\ntwo\nthree\n");
        world.write("gone", "bye\n");
        fs::create_dir(world.path("project/folder")).unwrap();
        world.write("folder/inner", "inner\n");
        world.write("run.sh", "#!/bin/sh\n");
        fs::set_permissions(world.path("project/run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("kept", world.path("project/link")).unwrap();
        world.bottle(&["-q", "up"]).assert().success();
        Self(world)
    }

    fn exec(&self, script: &str) {
        self.0.bottle(&["-q", "exec", "--", "sh", "-ec", script]).assert().success();
    }

    fn changes(&self) -> Vec<(String, String, Option<String>)> {
        let said = self.0.bottle(&["diff", "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        let rows = said["changes"].as_array().unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        rows.iter()
            .map(|row| (text(&row["path"]).unwrap(), text(&row["what"]).unwrap(), text(&row["kept"])))
            .collect()
    }

    fn project(&self, name: &str) -> PathBuf {
        self.0.path("project").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.project(name)).unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force"]).output();
    }
}

fn change(path: &str, what: &str) -> (String, String, Option<String>) {
    (path.to_owned(), what.to_owned(), None)
}

#[test]
fn a_guest_works_on_its_copy_and_a_person_takes_back_what_it_changed() {
    let up = Up::new();
    up.0.bottle(&["diff"]).assert().success().stdout("").stderr(contains("changed nothing"));
    // What is only touched is not changed.
    up.exec("touch kept; sed -i s/two/zwei/ kept; sed -i s/zwei/two/ kept");
    assert_eq!(up.changes(), []);

    up.exec("sed -i s/two/TWO/ kept; rm gone; mkdir -p new/deep; echo x > new/deep/file; chmod 600 run.sh; rm -r folder; ln -sf run.sh link; mkdir empty");
    assert_eq!(up.read("kept"), "one\ntwo\nthree\n");
    assert!(up.project("gone").exists());
    assert_eq!(
        up.changes(),
        [
            change("empty", "added"),
            change("folder", "deleted"),
            change("folder/inner", "deleted"),
            change("gone", "deleted"),
            change("kept", "changed"),
            change("link", "changed"),
            change("new/deep/file", "added"),
            change("run.sh", "changed"),
        ]
    );
    let shown = contains("--- a/kept\n+++ b/kept\n").and(contains("-two\n+TWO\n")).and(contains("D gone\n"));
    up.0.bottle(&["diff"]).assert().success().stdout(shown);
    up.0.bottle(&["diff", "--names", "--", "new", "./gone"]).assert().stdout("D gone\nA new/deep/file\n");

    // One path, and nothing without a yes.
    up.0.bottle(&["apply"]).assert().success().stderr(contains("nobody to ask"));
    up.0.bottle(&["apply", "--dry-run", "--yes"]).assert().success();
    assert!(up.project("gone").exists());
    up.0.bottle(&["apply", "--yes", "--", "gone"]).assert().success();
    assert!(!up.project("gone").exists() && up.project("folder/inner").exists());
    up.0.bottle(&["apply", "--yes"]).assert().success().stderr(contains("7 taken, 0 left"));
    assert_eq!(up.read("kept"), "one\nTWO\nthree\n");
    assert_eq!(up.read("new/deep/file"), "x\n");
    assert!(!up.project("folder").exists() && up.project("empty").is_dir());
    assert_eq!(fs::metadata(up.project("run.sh")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_link(up.project("link")).unwrap(), PathBuf::from("run.sh"));
    assert_eq!(up.changes(), []);

    // It goes on from there, also after a restart.
    up.0.bottle(&["-q", "restart"]).assert().success();
    up.exec("grep -q TWO kept; echo four >> kept");
    assert_eq!(up.changes(), [change("kept", "changed")]);
    up.0.bottle(&["-q", "stop"]).assert().success();
    up.0.bottle(&["rm"]).assert().code(73).stderr(contains("changed 1 paths of its copy"));
    up.0.bottle(&["apply", "--yes"]).assert().success();
    up.0.bottle(&["-q", "rm"]).assert().success();
    assert_eq!(up.read("kept"), "one\nTWO\nthree\nfour\n");
    assert!(!up.0.path("run/.copies/t").exists());
}

#[test]
fn what_could_harm_stays_in_the_guest() {
    let up = Up::new();
    fs::create_dir(up.project(".git")).unwrap();
    up.exec(
        "mkdir -p .git/hooks sub/.GIT; echo evil > .git/hooks/post-checkout; echo evil > sub/.GIT/config
         ln -s /etc/passwd out; ln -s ../../x up; ln -s sub/../.git/hooks hooks; ln -s sub fine
         mkfifo pipe; echo evil > \"$(printf 'a\\033[2Jb')\"; chmod 4755 run.sh",
    );
    let kept: Vec<(String, Option<String>)> =
        up.changes().into_iter().map(|(path, _, kept)| (path, kept)).collect();
    let held = |path: &str, why: &str| (path.to_owned(), Some(why.to_owned()));
    for wanted in [
        held(".git/hooks/post-checkout", "git"),
        held("sub/.GIT/config", "git"),
        held("out", "leads-out"),
        held("up", "leads-out"),
        held("hooks", "leads-out"),
        held("pipe", "special"),
        ("fine".to_owned(), None),
    ] {
        assert!(kept.contains(&wanted), "{wanted:?} in {kept:?}");
    }
    // No escape sequence reaches the terminal.
    let shown = up.0.bottle(&["diff"]).output().unwrap().stdout;
    assert!(!shown.contains(&0x1b) && String::from_utf8_lossy(&shown).contains("a\\u{1b}[2Jb"));

    up.0.bottle(&["apply", "--yes", "--overwrite"]).assert().success();
    assert!(
        !up.project(".git/hooks").exists() && !up.project("out").exists() && !up.project("pipe").exists()
    );
    assert!(!up.project("sub/.GIT").exists() && !up.project("hooks").exists());
    assert_eq!(fs::read_link(up.project("fine")).unwrap(), PathBuf::from("sub"));
    assert_eq!(fs::metadata(up.project("run.sh")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_link_in_the_project_leads_no_change_out_of_it() {
    let up = Up::new();
    let outside = up.0.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("inner"), "mine\n").unwrap();
    up.exec("echo evil > folder/inner");
    // The person's own link, made since, points out.
    fs::remove_dir_all(up.project("folder")).unwrap();
    symlink(&outside, up.project("folder")).unwrap();
    up.0.bottle(&["apply", "--yes", "--overwrite"]).assert().failure();
    assert_eq!(fs::read_to_string(outside.join("inner")).unwrap(), "mine\n");
}

/// A project that takes no more: nothing of it is lost.
#[test]
fn what_cannot_be_taken_back_leaves_what_was_there() {
    let up = Up::new();
    up.exec("echo theirs > folder/inner; mkdir new; echo x > new/file");
    // Not even root writes into this.
    let immutable = |flag: &str| {
        std::process::Command::new("chattr").args([flag, "folder"]).current_dir(up.0.path("project")).status()
    };
    if !immutable("+i").is_ok_and(|status| status.success()) {
        println!("no immutable folders here: nothing is shown");
        return;
    }
    up.0.bottle(&["apply", "--yes"]).assert().failure().stderr(contains("folder/inner"));
    assert!(immutable("-i").unwrap().success());
    assert_eq!(up.read("folder/inner"), "inner\n");
    up.0.bottle(&["apply", "--yes"]).assert().success();
    assert_eq!((up.read("folder/inner"), up.read("new/file")), ("theirs\n".to_owned(), "x\n".to_owned()));
    assert!(!up.project("folder/.bottle-apply.draft").exists());
}

#[test]
fn what_both_have_changed_is_not_overwritten_unless_a_person_says_so() {
    let up = Up::new();
    up.exec("echo theirs > kept; rm gone; echo theirs > new");
    up.0.write("kept", "ours\n");
    up.0.write("gone", "ours\n");
    up.0.write("new", "ours\n");
    let conflict = |path: &str, what: &str| (path.to_owned(), what.to_owned(), Some("conflict".to_owned()));
    assert_eq!(
        up.changes(),
        [conflict("gone", "deleted"), conflict("kept", "changed"), conflict("new", "added")]
    );
    up.0.bottle(&["apply", "--yes"]).assert().code(2).stderr(contains("nothing could be taken back"));
    assert_eq!(up.read("kept"), "ours\n");
    up.0.bottle(&["apply", "--yes", "--overwrite"]).assert().success();
    assert_eq!((up.read("kept"), up.read("new")), ("theirs\n".to_owned(), "theirs\n".to_owned()));
    assert!(!up.project("gone").exists());
}

#[test]
fn a_run_leaves_its_copy_only_where_there_is_work_in_it() {
    let world = World::with(COPY);
    world.write("file", "x\n");
    world.bottle(&["-q", "run", "--", "cat", "file"]).assert().success().stdout("x\n");
    assert!(!world.path("run/.copies/t").exists() && !world.path("state/t/copy.json").exists());
    world
        .bottle(&["run", "--", "sh", "-c", "echo y > file"])
        .assert()
        .success()
        .stderr(contains("the guest changed 1 paths of its copy"));
    world
        .bottle(&["cleanup", "--yes"])
        .assert()
        .success()
        .stdout(contains("left        the copy of t's project"));
    // Neither another project under the same name nor a start that fails throws it away.
    fs::create_dir(world.path("other")).unwrap();
    fs::write(world.path("other/bottle.toml"), COPY).unwrap();
    let other = world.path("other/bottle.toml").display().to_string();
    world.bottle(&["-c", &other, "run", "--", "true"]).assert().failure().stderr(contains("with changes"));
    world.write("bottle.toml", &format!("{COPY}[supervise]\ncommand = [\"false\"]\n"));
    world.bottle(&["-q", "up"]).assert().code(69);
    world.write("bottle.toml", COPY);
    world.bottle(&["diff"]).assert().success().stdout(contains("-x\n+y\n"));
    world.bottle(&["apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(world.path("project/file")).unwrap(), "y\n");
    world.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    assert!(!world.path("run/.copies/t").exists() && !world.path("state/t").exists());
    world.bottle(&["diff"]).assert().code(66).stderr(contains("has no copy of a project"));
}

#[test]
fn a_configuration_that_a_guest_could_have_changed_is_asked_about() {
    let world = World::with("slug = \"t\"\n");
    world
        .bottle(&[
            "-q",
            "run",
            "--",
            "sh",
            "-c",
            "printf '[egress]\\nallow = [\"evil.test\"]\\n' >> bottle.toml",
        ])
        .assert()
        .success();
    for command in [&["up"][..], &["run", "--", "true"]] {
        let said = contains("has changed since a guest could write to it")
            .and(contains("+allow = [\"evil.test\"]"))
            .and(contains("egress: hosts that the agent reaches"))
            .and(contains(format!("bottle {} --trust=", command[0])));
        world.bottle(command).assert().code(2).stderr(said);
    }
    // A plan starts nothing, and says what would be, and that nobody accepted it.
    let planned = world.bottle(&["plan"]).assert().success().stdout(contains("allowed   evil.test"));
    planned.stderr(contains("is not trusted yet"));
    world.bottle(&["-q", "up", "--trust"]).assert().success();
    world.bottle(&["-q", "restart"]).assert().success();
    world.write("bottle.toml", "slug = \"t\"\n");
    world.bottle(&["restart"]).assert().code(2);
    world.bottle(&["-q", "exec", "--", "true"]).assert().success();
    world.bottle(&["-q", "rm", "--force"]).assert().success();
    // What a guest could write once is asked about when it cannot any more, and once for each change.
    world.write("bottle.toml", COPY);
    world.bottle(&["-q", "run", "--", "true"]).assert().code(2);
    world.bottle(&["-q", "run", "--trust", "--", "true"]).assert().success();
    world.bottle(&["-q", "run", "--", "true"]).assert().success();
    // Where none ever could, nobody is asked.
    let world = World::with(COPY);
    world.bottle(&["-q", "run", "--", "true"]).assert().success();
    world.write("bottle.toml", &format!("{COPY}[guest]\ncpus = 1\n"));
    world.bottle(&["-q", "run", "--", "true"]).assert().success();
}

#[test]
fn what_was_shown_is_what_is_taken() {
    let up = Up::new();
    let digest = || {
        let said = up.0.bottle(&["diff", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&said.stdout).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    up.exec("echo harmless > kept; mkdir -p .git; echo 1 > .git/config");
    let shown = digest();
    up.0.bottle(&["diff"]).assert().success().stderr(contains(format!("bottle apply --digest {shown}")));
    up.exec("echo evil > kept");
    let refused = contains("it changed since").and(contains("bottle diff"));
    up.0.bottle(&["apply", "--digest", &shown]).assert().code(2).stderr(refused);
    assert_eq!(up.read("kept"), "one\ntwo\nthree\n");
    // A mode, another path, a link's target: each is another state.
    let mut seen = std::collections::BTreeSet::from([shown.clone()]);
    for script in ["chmod 755 kept", "echo > new", "ln -s kept new2", "ln -sfn folder new2", "rm gone"] {
        up.exec(script);
        assert!(seen.insert(digest()), "{script}");
    }
    // What stays in the guest in any case may go on changing, and touching a file changes nothing.
    up.exec("rm new new2; echo bye > gone; chmod 644 kept; echo harmless > kept; echo 2 > .git/config");
    assert_eq!(digest(), shown);
    up.0.bottle(&["apply", "--digest", &shown]).assert().success();
    assert_eq!(up.read("kept"), "harmless\n");
    up.0.bottle(&["apply", "--digest", "abc"]).assert().code(2).stderr(contains("40 hexadecimal digits"));
}

/// More than is shown, read or kept: each is said, and nothing hangs.
#[test]
fn a_copy_without_measure_is_told_and_gone_in_the_end() {
    let up = Up::new();
    up.exec(
        "truncate -s 1T sparse; echo x > \"$(printf 'bad\\377name')\"; echo x > \"$(printf '%0255d' 7)\"; echo 12345 > small
         d=d; i=0; while [ $i -lt 9 ]; do d=$d/$d; i=$((i+1)); [ ${#d} -gt 900 ] && break; done; mkdir -p $d; cd $d; mkdir -p $d",
    );
    let kept: Vec<(String, Option<String>)> =
        up.changes().into_iter().map(|(path, _, kept)| (path, kept)).collect();
    let why = |name: &str| kept.iter().find(|(path, _)| path.starts_with(name)).unwrap().1.clone();
    assert_eq!(why("sparse").as_deref(), Some("too-large"));
    assert_eq!(why("bad\\xffname").as_deref(), Some("no-text"));
    assert_eq!(why("d/").as_deref(), Some("too-deep"));
    assert_eq!((why("000"), why("small")), (None, None));
    up.0.bottle(&["diff", "--max-size", "3"])
        .assert()
        .success()
        .stdout(contains("A small  (stays in the guest: more"));
    up.0.bottle(&["apply", "--yes"]).assert().success().stderr(contains("2 taken, 3 left"));
    assert!(up.project("small").exists() && !up.project("sparse").exists() && !up.project("d").exists());
    up.0.bottle(&["-q", "rm", "--force"]).assert().success();
    assert!(!up.0.path("run/.copies/t").exists());
}

/// A folder of the guest's takes the place of a link of the project's: the link is what changes.
#[test]
fn what_is_in_the_way_is_replaced_and_never_gone_through() {
    let up = Up::new();
    let outside = up.0.path("outside");
    fs::create_dir(&outside).unwrap();
    up.exec("rm link; mkdir link; echo theirs > link/file; rm -r folder; echo theirs > folder");
    up.0.bottle(&["apply", "--yes"]).assert().success();
    assert!(fs::symlink_metadata(up.project("link")).unwrap().is_dir());
    assert_eq!((up.read("link/file"), up.read("folder")), ("theirs\n".to_owned(), "theirs\n".to_owned()));
    // What the person has put in the way stays, with what is below it.
    up.exec("echo more > link/file");
    fs::remove_dir_all(up.project("link")).unwrap();
    symlink(&outside, up.project("link")).unwrap();
    let blocked = ("link/file".to_owned(), "changed".to_owned(), Some("blocked".to_owned()));
    assert_eq!(up.changes(), [blocked]);
    up.0.bottle(&["apply", "--yes", "--overwrite"]).assert().code(2);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn nothing_that_git_takes_for_a_repository_comes_back() {
    let up = Up::new();
    fs::create_dir_all(up.project("half/objects")).unwrap();
    fs::create_dir_all(up.project("half/refs")).unwrap();
    up.exec(
        "mkdir -p bare/objects bare/refs bare/sub half; echo x > bare/HEAD; echo x > bare/sub/file; echo x > half/HEAD
         echo x > 'git~1'; mkdir alone; echo x > alone/HEAD; echo x > .gitattributes
         printf '[submodule \"x\"]\\n\\tpath = x\\n\\tupdate = !evil\\n' > .gitmodules
         mkdir ok; printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ../x\\n' > ok/.gitmodules",
    );
    up.0.bottle(&["apply", "--yes", "--overwrite"]).assert().success();
    for name in ["bare", "half/HEAD", "git~1", ".gitmodules"] {
        assert!(!up.project(name).exists(), "{name}");
    }
    for name in ["alone/HEAD", ".gitattributes", "ok/.gitmodules"] {
        assert!(up.project(name).exists(), "{name}");
    }
    let kept: Vec<_> = up.changes().into_iter().filter_map(|(_, _, kept)| kept).collect();
    assert_eq!(kept.iter().filter(|why| *why == "repository").count(), 5, "{kept:?}");
    assert!(kept.contains(&"gitmodules".to_owned()) && kept.contains(&"git".to_owned()));
}

/// On an overlay a file's device number is another one than its folder's.
#[test]
fn a_copy_on_an_overlay_is_given_whole_and_what_is_mounted_in_it_is_not() {
    if !alone("a_copy_on_an_overlay_is_given_whole_and_what_is_mounted_in_it_is_not") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mount = |words: &[&str]| {
        let status = std::process::Command::new("mount").args(words).status().unwrap();
        assert!(status.success(), "mount {words:?}");
    };
    fs::create_dir(path("disk")).unwrap();
    mount(&["-t", "tmpfs", "disk", &path("disk")]);
    for name in ["disk/lower", "disk/upper", "disk/work", "copy"] {
        fs::create_dir(path(name)).unwrap();
    }
    fs::write(path("disk/lower/below"), "x").unwrap();
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        path("disk/lower"),
        path("disk/upper"),
        path("disk/work")
    );
    mount(&["-t", "overlay", "overlay", "-o", &layers, &path("copy")]);
    fs::create_dir(path("copy/folder")).unwrap();
    fs::write(path("copy/folder/file"), "x").unwrap();
    fs::create_dir(path("copy/mounted")).unwrap();
    mount(&["-t", "tmpfs", "other", &path("copy/mounted")]);
    fs::write(path("copy/mounted/file"), "x").unwrap();

    bottle_host::workspace::give(std::path::Path::new(&path("copy")), Uid::from_raw(2_000_000)).unwrap();
    let owner = |name: &str| fs::symlink_metadata(path(name)).unwrap().uid();
    for given in ["copy", "copy/below", "copy/folder", "copy/folder/file"] {
        assert_eq!(owner(given), 2_000_000, "{given}");
    }
    assert_eq!((owner("copy/mounted"), owner("copy/mounted/file")), (0, 0));
}
