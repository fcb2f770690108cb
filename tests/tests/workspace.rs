//! The project's folder in the guest: the folder itself, or a copy whose changes are applied path by path.
//! The guest is hostile here.

use bottle_tests::{ProjectExt, RunningBottle, RunningBottleExt, alone, project_with, up_with};
use predicates::prelude::*;
use predicates::str::contains;
use rustix::fs::Uid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const COPY: &str = "slug = \"t\"\n[workspace]\nmode = \"copy\"\n";
const WRITABLE: &str = "slug = \"t\"\n[workspace]\nmode = \"read-write\"\n";

struct Copied(RunningBottle);

impl Copied {
    /// Brings up a bottle whose guest works on a copy of a small project.
    fn new() -> Self {
        let project = project_with(COPY);
        project.put("kept", "one\ntwo\nthree\n");
        project.put("gone", "bye\n");
        fs::create_dir(project.path("folder")).unwrap();
        project.put("folder/inner", "inner\n");
        project.put("run.sh", "#!/bin/sh\n");
        fs::set_permissions(project.path("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("kept", project.path("link")).unwrap();
        Self(up_with(project, &[]))
    }

    fn exec(&self, script: &str) {
        self.0.exec(&format!("set -e; {script}")).success();
    }

    fn changes(&self) -> Vec<(String, String, Option<String>)> {
        let said = self.0.json(&["diff", "--json"]);
        let rows = said["changes"].as_array().unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        rows.iter()
            .map(|row| (text(&row["path"]).unwrap(), text(&row["what"]).unwrap(), text(&row["kept"])))
            .collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path(name)).unwrap()
    }
}

fn change(path: &str, what: &str) -> (String, String, Option<String>) {
    (path.to_owned(), what.to_owned(), None)
}

#[test]
fn a_guest_works_on_a_copy_and_a_person_applies_its_changes() {
    let running = Copied::new();
    running.0.bottle(&["diff"]).assert().success().stdout("").stderr(contains("changed nothing"));
    // Touching a file does not change it.
    running.exec("touch kept; sed -i s/two/zwei/ kept; sed -i s/zwei/two/ kept");
    assert_eq!(running.changes(), []);

    running.exec("sed -i s/two/TWO/ kept; rm gone; mkdir -p new/deep; echo x > new/deep/file; chmod 600 run.sh; rm -r folder; ln -sf run.sh link; mkdir empty");
    assert_eq!(running.read("kept"), "one\ntwo\nthree\n");
    assert!(running.0.path("gone").exists());
    assert_eq!(
        running.changes(),
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
    running.0.bottle(&["diff"]).assert().success().stdout(shown);
    running
        .0
        .bottle(&["diff", "--names", "--", "new", "./gone"])
        .assert()
        .stdout("D gone\nA new/deep/file\n");

    // One path at a time, and nothing without consent.
    running.0.bottle(&["apply"]).assert().code(1).stderr(contains("nobody to ask"));
    running.0.bottle(&["apply", "--dry-run", "--yes"]).assert().success();
    assert!(running.0.path("gone").exists());
    running.0.bottle(&["apply", "--yes", "--", "gone"]).assert().success();
    assert!(!running.0.path("gone").exists() && running.0.path("folder/inner").exists());
    running.0.bottle(&["apply", "--yes"]).assert().success().stderr(contains("7 applied, 0 left"));
    assert_eq!(running.read("kept"), "one\nTWO\nthree\n");
    assert_eq!(running.read("new/deep/file"), "x\n");
    assert!(!running.0.path("folder").exists() && running.0.path("empty").is_dir());
    assert_eq!(fs::metadata(running.0.path("run.sh")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_link(running.0.path("link")).unwrap(), PathBuf::from("run.sh"));
    assert_eq!(running.changes(), []);

    // It goes on from there, also after a restart.
    running.0.bottle(&["-q", "restart"]).assert().success();
    running.exec("grep -q TWO kept; echo four >> kept");
    assert_eq!(running.changes(), [change("kept", "changed")]);
    running.0.bottle(&["-q", "stop"]).assert().success();
    running.0.bottle(&["rm"]).assert().code(73).stderr(contains("changed 1 paths of its copy"));
    running.0.bottle(&["apply", "--yes"]).assert().success();
    running.0.bottle(&["-q", "rm"]).assert().success();
    assert_eq!(running.read("kept"), "one\nTWO\nthree\nfour\n");
    assert!(!running.0.on_host("run/.copies/t").exists());
}

#[test]
fn harmful_changes_stay_in_the_guest() {
    let running = Copied::new();
    fs::create_dir(running.0.path(".git")).unwrap();
    running.exec(
        "mkdir -p .git/hooks sub/.GIT; echo evil > .git/hooks/post-checkout; echo evil > sub/.GIT/config
         ln -s /etc/passwd out; ln -s ../../x up; ln -s sub/../.git/hooks hooks; ln -s sub fine
         mkfifo pipe; echo evil > \"$(printf 'a\\033[2Jb')\"; chmod 4755 run.sh",
    );
    let kept: Vec<(String, Option<String>)> =
        running.changes().into_iter().map(|(path, _, kept)| (path, kept)).collect();
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
    let shown = running.0.bottle(&["diff"]).output().unwrap().stdout;
    assert!(!shown.contains(&0x1b) && String::from_utf8_lossy(&shown).contains("a\\u{1b}[2Jb"));

    running.0.bottle(&["apply", "--yes", "--overwrite"]).assert().success();
    assert!(
        !running.0.path(".git/hooks").exists()
            && !running.0.path("out").exists()
            && !running.0.path("pipe").exists()
    );
    assert!(!running.0.path("sub/.GIT").exists() && !running.0.path("hooks").exists());
    assert_eq!(fs::read_link(running.0.path("fine")).unwrap(), PathBuf::from("sub"));
    assert_eq!(fs::metadata(running.0.path("run.sh")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn no_change_leaves_the_project_through_a_link() {
    let running = Copied::new();
    let outside = running.0.on_host("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("inner"), "mine\n").unwrap();
    running.exec("echo evil > folder/inner");
    // A link that the person has made since then leads out.
    fs::remove_dir_all(running.0.path("folder")).unwrap();
    symlink(&outside, running.0.path("folder")).unwrap();
    running.0.bottle(&["apply", "--yes", "--overwrite"]).assert().failure();
    assert_eq!(fs::read_to_string(outside.join("inner")).unwrap(), "mine\n");
}

#[test]
fn a_change_that_cannot_be_applied_leaves_the_old_file() {
    let running = Copied::new();
    running.exec("echo theirs > folder/inner; mkdir new; echo x > new/file");
    // Not even root can write here.
    let immutable = |flag: &str| {
        std::process::Command::new("chattr").args([flag, "folder"]).current_dir(running.0.folder()).status()
    };
    if !immutable("+i").is_ok_and(|status| status.success()) {
        println!("no immutable folders here: nothing is shown");
        return;
    }
    running.0.bottle(&["apply", "--yes"]).assert().failure().stderr(contains("folder/inner"));
    assert!(immutable("-i").unwrap().success());
    assert_eq!(running.read("folder/inner"), "inner\n");
    running.0.bottle(&["apply", "--yes"]).assert().success();
    assert_eq!(
        (running.read("folder/inner"), running.read("new/file")),
        ("theirs\n".to_owned(), "x\n".to_owned())
    );
    assert!(!running.0.path("folder/.bottle-apply.draft").exists());
}

#[test]
fn a_file_that_both_have_changed_is_overwritten_only_on_request() {
    let running = Copied::new();
    running.exec("echo theirs > kept; rm gone; echo theirs > new");
    running.0.put("kept", "ours\n");
    running.0.put("gone", "ours\n");
    running.0.put("new", "ours\n");
    let conflict = |path: &str, what: &str| (path.to_owned(), what.to_owned(), Some("conflict".to_owned()));
    assert_eq!(
        running.changes(),
        [conflict("gone", "deleted"), conflict("kept", "changed"), conflict("new", "added")]
    );
    running.0.bottle(&["apply", "--yes"]).assert().code(2).stderr(contains("nothing could be applied"));
    assert_eq!(running.read("kept"), "ours\n");
    running.0.bottle(&["apply", "--yes", "--overwrite"]).assert().success();
    assert_eq!((running.read("kept"), running.read("new")), ("theirs\n".to_owned(), "theirs\n".to_owned()));
    assert!(!running.0.path("gone").exists());
}

#[test]
fn a_run_keeps_its_copy_only_if_it_has_changes() {
    let project = project_with(COPY);
    project.put("file", "x\n");
    project.bottle(&["-q", "run", "--", "cat", "file"]).assert().success().stdout("x\n");
    assert!(!project.on_host("run/.copies/t").exists() && !project.on_host("state/t/copy.json").exists());
    project
        .bottle(&["run", "--", "sh", "-c", "echo y > file"])
        .assert()
        .success()
        .stderr(contains("the guest changed 1 paths of its copy"));
    project
        .bottle(&["cleanup", "--yes"])
        .assert()
        .success()
        .stdout(contains("left        the copy of t's project"));
    // Neither another project of the same name nor a failed start discards it.
    fs::create_dir(project.on_host("other")).unwrap();
    fs::write(project.on_host("other/bottle.toml"), COPY).unwrap();
    let other = project.on_host("other/bottle.toml").display().to_string();
    project.bottle(&["-c", &other, "run", "--", "true"]).assert().failure().stderr(contains("belongs to"));
    project.put("bottle.toml", &format!("{COPY}[supervise]\ncommand = [\"false\"]\n"));
    project.bottle(&["-q", "up"]).assert().code(69);
    project.put("bottle.toml", COPY);
    project.bottle(&["diff"]).assert().success().stdout(contains("-x\n+y\n"));
    project.bottle(&["apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(project.path("file")).unwrap(), "y\n");
    project.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    assert!(!project.on_host("run/.copies/t").exists() && !project.on_host("state/t").exists());
    project.bottle(&["diff"]).assert().code(66).stderr(contains("there is no bottle t"));
}

#[test]
fn a_configuration_that_a_guest_could_have_changed_must_be_accepted() {
    let project = project_with(WRITABLE);
    project
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
        project.bottle(command).assert().code(2).stderr(said);
    }
    // A plan starts nothing. It shows what would start, and that nobody has accepted it.
    let planned = project.bottle(&["plan"]).assert().success().stdout(contains("allowed   evil.test"));
    planned.stderr(contains("is not trusted yet"));
    project.bottle(&["-q", "up", "--trust"]).assert().success();
    project.bottle(&["-q", "restart"]).assert().success();
    project.put("bottle.toml", WRITABLE);
    project.bottle(&["restart"]).assert().code(2);
    project.bottle(&["-q", "exec", "--", "true"]).assert().success();
    project.bottle(&["-q", "rm", "--force"]).assert().success();
    // A file that a guest could once write must be accepted, once for each change.
    project.put("bottle.toml", COPY);
    project.bottle(&["-q", "run", "--", "true"]).assert().code(2);
    project.bottle(&["-q", "run", "--trust", "--", "true"]).assert().success();
    project.bottle(&["-q", "run", "--", "true"]).assert().success();
    // If no guest ever could, nobody is asked.
    let project = project_with(COPY);
    project.bottle(&["-q", "run", "--", "true"]).assert().success();
    project.put("bottle.toml", &format!("{COPY}[guest]\ncpus = 1\n"));
    project.bottle(&["-q", "run", "--", "true"]).assert().success();
}

#[test]
fn only_what_was_shown_is_applied() {
    let running = Copied::new();
    let digest = || running.0.json(&["diff", "--json"])["digest"].as_str().unwrap().to_owned();
    running.exec("echo harmless > kept; mkdir -p .git; echo 1 > .git/config");
    let shown = digest();
    running.0.bottle(&["diff"]).assert().success().stderr(contains(format!("bottle apply --digest {shown}")));
    running.exec("echo evil > kept");
    let refused = contains("has changed since").and(contains("bottle diff"));
    running.0.bottle(&["apply", "--digest", &shown]).assert().code(2).stderr(refused);
    assert_eq!(running.read("kept"), "one\ntwo\nthree\n");
    // A mode, another path, a link's target: each changes the digest.
    let mut seen = std::collections::BTreeSet::from([shown.clone()]);
    for script in ["chmod 755 kept", "echo > new", "ln -s kept new2", "ln -sfn folder new2", "rm gone"] {
        running.exec(script);
        assert!(seen.insert(digest()), "{script}");
    }
    // A path that always stays in the guest may go on changing.
    running.exec("rm new new2; echo bye > gone; chmod 644 kept; echo harmless > kept; echo 2 > .git/config");
    assert_eq!(digest(), shown);
    running.0.bottle(&["apply", "--digest", &shown]).assert().success();
    assert_eq!(running.read("kept"), "harmless\n");
    running
        .0
        .bottle(&["apply", "--digest", "abc"])
        .assert()
        .code(2)
        .stderr(contains("40 hexadecimal digits"));
}

#[test]
fn an_oversized_copy_is_reported_and_can_be_removed() {
    let running = Copied::new();
    running.exec(
        "truncate -s 1T sparse; echo x > \"$(printf 'bad\\377name')\"; echo x > \"$(printf '%0255d' 7)\"; echo 12345 > small
         d=d; i=0; while [ $i -lt 9 ]; do d=$d/$d; i=$((i+1)); [ ${#d} -gt 900 ] && break; done; mkdir -p $d; cd $d; mkdir -p $d",
    );
    let kept: Vec<(String, Option<String>)> =
        running.changes().into_iter().map(|(path, _, kept)| (path, kept)).collect();
    let why = |name: &str| kept.iter().find(|(path, _)| path.starts_with(name)).unwrap().1.clone();
    assert_eq!(why("sparse").as_deref(), Some("too-large"));
    assert_eq!(why("d/").as_deref(), Some("too-deep"));
    assert_eq!((why("000"), why("small"), why("bad\\xffname")), (None, None, None));
    running
        .0
        .bottle(&["diff", "--max-size", "3"])
        .assert()
        .success()
        .stdout(contains("A small  (stays in the guest: it exceeds the limit"));
    running.0.bottle(&["apply", "--yes"]).assert().success().stderr(contains("3 applied, 2 left"));
    assert!(
        running.0.path("small").exists()
            && !running.0.path("sparse").exists()
            && !running.0.path("d").exists()
    );
    running.0.bottle(&["-q", "rm", "--force"]).assert().success();
    assert!(!running.0.on_host("run/.copies/t").exists());
}

/// The guest replaces one of the project's links with a folder.
#[test]
fn a_link_in_the_way_is_replaced_and_never_followed() {
    let running = Copied::new();
    let outside = running.0.on_host("outside");
    fs::create_dir(&outside).unwrap();
    running.exec("rm link; mkdir link; echo theirs > link/file; rm -r folder; echo theirs > folder");
    running.0.bottle(&["apply", "--yes"]).assert().success();
    assert!(fs::symlink_metadata(running.0.path("link")).unwrap().is_dir());
    assert_eq!(
        (running.read("link/file"), running.read("folder")),
        ("theirs\n".to_owned(), "theirs\n".to_owned())
    );
    // A link that the person has made since then stays.
    running.exec("echo more > link/file");
    fs::remove_dir_all(running.0.path("link")).unwrap();
    symlink(&outside, running.0.path("link")).unwrap();
    let blocked = ("link/file".to_owned(), "changed".to_owned(), Some("blocked".to_owned()));
    assert_eq!(running.changes(), [blocked]);
    running.0.bottle(&["apply", "--yes", "--overwrite"]).assert().code(2);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn nothing_that_git_takes_for_a_repository_is_applied() {
    let running = Copied::new();
    fs::create_dir_all(running.0.path("half/objects")).unwrap();
    fs::create_dir_all(running.0.path("half/refs")).unwrap();
    running.exec(
        "mkdir -p bare/objects bare/refs bare/sub half; echo x > bare/HEAD; echo x > bare/sub/file; echo x > half/HEAD
         echo x > 'git~1'; mkdir alone; echo x > alone/HEAD; echo x > .gitattributes
         printf '[submodule \"x\"]\\n\\tpath = x\\n\\tupdate = !evil\\n' > .gitmodules
         mkdir ok; printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ../x\\n' > ok/.gitmodules",
    );
    running.0.bottle(&["apply", "--yes", "--overwrite"]).assert().success();
    for name in ["bare", "half/HEAD", "git~1", ".gitmodules"] {
        assert!(!running.0.path(name).exists(), "{name}");
    }
    for name in ["alone/HEAD", ".gitattributes", "ok/.gitmodules"] {
        assert!(running.0.path(name).exists(), "{name}");
    }
    let kept: Vec<_> = running.changes().into_iter().filter_map(|(_, _, kept)| kept).collect();
    assert_eq!(kept.iter().filter(|why| *why == "repository").count(), 5, "{kept:?}");
    assert!(kept.contains(&"gitmodules".to_owned()) && kept.contains(&"git".to_owned()));
}

/// On an overlay, a file's device number differs from its folder's.
#[test]
fn a_copy_on_an_overlay_is_given_away_without_other_mounts() {
    if !alone(module_path!(), "a_copy_on_an_overlay_is_given_away_without_other_mounts") {
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

    bottle_host::workspace::give(Path::new(&path("copy")), Uid::from_raw(2_000_000)).unwrap();
    let owner = |name: &str| fs::symlink_metadata(path(name)).unwrap().uid();
    for given in ["copy", "copy/below", "copy/folder", "copy/folder/file"] {
        assert_eq!(owner(given), 2_000_000, "{given}");
    }
    assert_eq!((owner("copy/mounted"), owner("copy/mounted/file")), (0, 0));
}

/// Returns everything in a folder: kind, permissions, and content or target, by path.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                folders.push(path.clone());
                Vec::new()
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), (meta.mode(), content));
        }
    }
    found
}

/// What the guest does to the small project: every kind of step.
const EVERYTHING: &str =
    "sed -i s/two/TWO/ kept; rm gone; mkdir -p new/deep; echo x > new/deep/file; chmod 600 run.sh
    rm -r folder; echo was a folder > folder; rm link; mkdir link; echo x > link/inside; mkdir empty
    echo x > \"$(printf 'bad\\377name')\"; mv keep moved";

/// Returns a stopped bottle in whose copy the guest has taken every kind of step.
fn everything_changed() -> Copied {
    let running = Copied::new();
    running.0.put("keep", "keep\n");
    running.0.bottle(&["-q", "rm", "--force"]).assert().success();
    running.0.bottle(&["-q", "up"]).assert().success();
    running.exec(EVERYTHING);
    running.0.bottle(&["-q", "stop"]).assert().success();
    running
}

/// Copies the project's content to a folder, or back, exactly.
fn exact_copy(from: &Path, to: &Path) {
    let script = "rm -rf \"$2\" && cp -a \"$1\" \"$2\"";
    let status = std::process::Command::new("sh").args(["-c", script, "sh"]).args([from, to]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_crash_anywhere_in_apply_or_undo_leaves_the_project_as_it_was_or_as_asked() {
    let running = everything_changed();
    let (project, state) = (running.0.folder().to_owned(), running.0.on_host("state/t"));
    let saved = |name: &str| running.0.on_host(name);
    let before = tree(&project);
    exact_copy(&project, &saved("before"));
    exact_copy(&state, &saved("before-state"));
    running.0.bottle(&["apply", "--yes"]).assert().success();
    let after = tree(&project);
    assert!(before != after && running.changes().is_empty());
    assert_eq!(fs::read(project.join(std::ffi::OsStr::from_bytes(b"bad\xffname"))).unwrap(), b"x\n");
    exact_copy(&project, &saved("after"));
    exact_copy(&state, &saved("after-state"));
    let points = ["journal", "staged", "kept", "moving", "half", "done", "recorded", "cleared"];
    let named = points.iter().map(|point| format!("apply-{point}"));
    let steps = (0..40).map(|step| format!("apply-step:{step}"));
    let mut died = 0;
    for point in named.chain(steps) {
        for (verb, from, to, start) in
            [("apply", &before, &after, "before"), ("undo", &after, &before, "after")]
        {
            // In place, so that folders stay what the bottle's owner is known by.
            reset(&saved(start), &project);
            reset(&saved(&format!("{start}-state")), &state);
            let status =
                running.0.bottle(&[verb, "--yes"]).env("BOTTLE_DIE_AFTER", &point).output().unwrap().status;
            died += usize::from(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9));
            running.0.bottle(&["-q", "diff", "--names"]).assert().success();
            let now = tree(&project);
            assert!(now == *from || now == *to, "{verb} {point}: {now:?}");
            // Either way it goes on from there.
            let is_done = now == *to;
            let again = running.0.bottle(&["-q", verb, "--yes"]).output().unwrap();
            assert!(is_done || again.status.success(), "{verb} {point}: {again:?}");
            assert!(tree(&project) == *to, "{verb} {point}");
            assert!(!state.join("apply.json").exists(), "{verb} {point}");
        }
    }
    assert!(died > 2 * 12, "{died}");
}

/// The second crash happens while the first one is being undone or finished.
#[test]
fn a_crash_while_a_crash_is_undone_or_finished_changes_nothing_about_the_result() {
    let running = everything_changed();
    let (project, state) = (running.0.folder().to_owned(), running.0.on_host("state/t"));
    let [saved, saved_state] = ["before", "before-state"].map(|name| running.0.on_host(name));
    let before = tree(&project);
    exact_copy(&project, &saved);
    exact_copy(&state, &saved_state);
    let killed = |words: &[&str], point: &str| {
        let status = running.0.bottle(words).env("BOTTLE_DIE_AFTER", point).output().unwrap().status;
        std::os::unix::process::ExitStatusExt::signal(&status) == Some(9)
    };
    assert!(killed(&["apply", "--yes"], "apply-done"));
    running.0.bottle(&["-q", "diff", "--names"]).assert().success();
    let after = tree(&project);
    assert!(before != after);
    let again = ["undone", "undone-cleared", "recorded", "cleared"].map(|point| format!("apply-{point}"));
    let back = (0..16).step_by(3).map(|step| format!("apply-back:{step}"));
    let mut died = BTreeMap::new();
    for first in ["apply-staged", "apply-moving", "apply-step:2", "apply-step:9", "apply-half", "apply-done"]
    {
        for second in again.iter().cloned().chain(back.clone()) {
            reset(&saved, &project);
            reset(&saved_state, &state);
            assert!(killed(&["apply", "--yes"], first), "{first}");
            if killed(&["diff", "--names"], &second) {
                *died.entry(second.clone()).or_insert(0) += 1;
            }
            running.0.bottle(&["-q", "diff", "--names"]).assert().success().stderr(contains("except").not());
            let wanted = if first == "apply-done" { &after } else { &before };
            let now = tree(&project);
            assert!(now == *wanted, "{first} {second}: {now:?}");
            assert!(!state.join("apply.json").exists(), "{first} {second}");
        }
    }
    assert!(died.len() >= 8, "{died:?}");
}

#[test]
fn a_bottle_is_not_removed_before_an_interrupted_apply_is_undone() {
    let project = project_with(COPY);
    project.put("kept", "one\n");
    project.put("gone", "bye\n");
    let change = "echo two > kept; rm gone; echo new > new";
    project.bottle(&["-q", "run", "--", "sh", "-c", change]).assert().success();
    let before = tree(project.folder());
    let mut apply = project.bottle(&["apply", "--yes"]);
    apply.env("BOTTLE_DIE_AFTER", "apply-step:1").assert().failure();
    let (moved, journal) = (project.on_host("moved"), project.on_host("state/t/apply.json"));
    fs::rename(project.folder(), &moved).unwrap();
    assert!(tree(&moved) != before && journal.exists());
    let elsewhere = project.on_host("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let within = |folder: &Path, words: &[&str]| project.bottle(words).current_dir(folder).assert();
    let left = format!("left {} half changed", project.folder().display());
    // Neither with nothing nor with another folder where the project was.
    for _ in 0..2 {
        for words in [&["rm", "--force", "t"][..], &["rm", "t"]] {
            let refused = contains(&left).and(contains("`bottle up --moved t`"));
            within(&elsewhere, words).code(73).stderr(refused);
        }
        let listed = contains("left        an interrupted `bottle apply t`");
        within(&elsewhere, &["cleanup", "--yes"]).success().stdout(listed);
        within(&elsewhere, &["-q", "trash", "--now"]).success();
        assert!(journal.exists() && project.on_host("run/.copies/t/new").exists());
        let _ = fs::create_dir(project.folder());
    }
    // The one line that was named.
    let undone = contains("was undone: the project is as it was");
    let shown =
        within(&moved, &["up", "--moved", "t"]).code(2).stderr(contains("`bottle up --moved --trust="));
    let said = String::from_utf8_lossy(&shown.get_output().stderr).into_owned();
    let line = said.split('`').find(|word| word.starts_with("bottle up --moved")).unwrap();
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    within(&moved, &words).success().stderr(undone);
    assert_eq!(tree(&moved), before);
    within(&moved, &["-q", "apply", "--yes"]).success();
    assert_eq!(fs::read_to_string(moved.join("kept")).unwrap(), "two\n");
    within(&moved, &["-q", "rm", "--force"]).success();
    assert!(!project.on_host("state/t").exists());
}

/// Makes a folder what another one is, without replacing the folder itself.
fn reset(from: &Path, to: &Path) {
    let script = "find \"$2\" -mindepth 1 -maxdepth 1 -exec rm -rf {} + && cp -a \"$1\"/. \"$2\"/";
    let status = std::process::Command::new("sh").args(["-c", script, "sh"]).args([from, to]).status();
    assert!(status.unwrap().success());
}

#[test]
fn an_apply_is_not_undone_if_the_project_has_changed_since() {
    let running = Copied::new();
    running.exec("sed -i s/two/TWO/ kept; rm gone; mkdir -p new/deep; echo x > new/deep/file; rm -r folder; echo x > folder");
    running.0.bottle(&["undo", "--yes"]).assert().code(66).stderr(contains("no `bottle apply` of t to undo"));
    running.0.bottle(&["apply", "--yes"]).assert().success();
    running.0.put("kept", "mine\n");
    let refused = contains("changed since: kept").and(contains("nothing is undone"));
    running.0.bottle(&["undo", "--yes"]).assert().code(73).stderr(refused);
    assert_eq!(running.read("kept"), "mine\n");
}

#[test]
fn an_undo_brings_back_the_project_and_the_difference() {
    let running = Copied::new();
    let before = tree(running.0.folder());
    running.exec("sed -i s/two/TWO/ kept; rm gone; mkdir -p new/deep; echo x > new/deep/file; rm -r folder; echo x > folder");
    let changed = running.changes();
    running.0.bottle(&["apply", "--yes", "--", "kept", "gone"]).assert().success();
    running.0.bottle(&["apply", "--yes"]).assert().success();
    running.0.put("new/mine", "mine\n");
    running.0.bottle(&["undo", "--dry-run"]).assert().success().stdout(contains("D new/deep/file"));
    running.0.bottle(&["undo"]).assert().code(1).stderr(contains("nobody to ask"));
    running.0.bottle(&["undo", "--yes"]).assert().success();
    assert!(running.0.path("folder/inner").exists() && running.0.path("new/mine").exists());
    assert!(!running.0.path("new/deep").exists() && !running.0.path("gone").exists());
    running.0.bottle(&["undo", "--yes"]).assert().success();
    fs::remove_dir_all(running.0.path("new")).unwrap();
    assert_eq!(tree(running.0.folder()), before);
    assert_eq!(running.changes(), changed);
    running.0.bottle(&["undo", "--yes"]).assert().code(66);
}
