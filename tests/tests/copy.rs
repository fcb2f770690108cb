//! `bottle cp`: files go in and come out, and whatever comes out stays under the name that was given.

use bottle_tests::{ProjectExt, up};
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

const NONE: &str = "slug = \"t\"\n[workspace]\nmode = \"none\"\n";

#[test]
fn files_keep_their_bytes_and_modes_both_ways() {
    let project = up(NONE);
    let binary: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let here = project.folder();
    fs::create_dir_all(here.join("tree/empty")).unwrap();
    fs::write(here.join("tree/binary"), &binary).unwrap();
    fs::write(here.join("tree/run.sh"), "#!/bin/sh\necho it runs\n").unwrap();
    fs::set_permissions(here.join("tree/run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("binary", here.join("tree/link")).unwrap();
    project.bottle(&["-q", "cp", "tree", "t:/tmp"]).assert().success();
    let exec = |script: &str| project.bottle(&["-q", "exec", "--", "sh", "-c", script]).output().unwrap();
    let said = exec("cd /tmp/tree && ./run.sh && readlink link && ls -d empty && cksum < binary").stdout;
    let sum = std::process::Command::new("cksum")
        .stdin(fs::File::open(here.join("tree/binary")).unwrap())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said),
        format!("it runs\nbinary\nempty\n{}", String::from_utf8_lossy(&sum.stdout))
    );
    // Into a folder, under another name, over a file.
    project.bottle(&["-q", "cp", "t:/tmp/tree", "back"]).assert().success();
    assert_eq!(fs::read(here.join("back/binary")).unwrap(), binary);
    assert_eq!(fs::read_link(here.join("back/link")).unwrap(), PathBuf::from("binary"));
    project.bottle(&["-q", "cp", "t:/tmp/tree/run.sh", "back/binary"]).assert().success();
    assert_eq!(fs::read_to_string(here.join("back/binary")).unwrap(), "#!/bin/sh\necho it runs\n");
    project.bottle(&["-q", "cp", "bottle.toml", "t:/tmp/other.toml"]).assert().success();
    assert!(exec("cat /tmp/other.toml").stdout.starts_with(b"slug"));

    for (words, code, wanted) in [
        (["cp", "missing", "t:/tmp"], 2, "missing: No such file"),
        (["cp", "t:/tmp/missing", "."], 72, "in the guest: /tmp/missing: No such file"),
        (["cp", "tree", "t:/no/such/place"], 72, "in the guest: /no/such: No such file"),
        (["cp", "tree", "back"], 2, "exactly one of the two paths has to be in a bottle"),
        (["cp", "t:/a", "t:/b"], 2, "exactly one of the two paths has to be in a bottle"),
        (["cp", "tree", "T!:/b"], 2, "is not a bottle's name"),
        (["cp", "tree", "t:"], 2, "a path belongs after the colon"),
        (["cp", "tree", "other:/b"], 66, "bottle other is not running"),
    ] {
        project.bottle(&words).assert().code(code).stderr(contains(wanted));
    }
}

#[test]
fn a_copy_out_brings_only_what_was_named_and_nothing_harmful() {
    let project = up(NONE);
    let here = project.folder();
    let exec = |script: &str| project.bottle(&["-q", "exec", "--", "sh", "-ec", script]).assert().success();
    exec(
        "mkdir -p /tmp/tree/.git/hooks /tmp/tree/sub; cd /tmp/tree; echo x > .git/config; echo x > bottle.toml; echo x > sub/file
         ln -s sub fine; ln -s /etc/passwd out; mkfifo pipe; chmod 4777 sub/file; echo x > \"$(printf 'a\\033[2Jb')\"
         mkdir -p /tmp/bare/objects /tmp/bare/refs; echo x > /tmp/bare/HEAD; ln -s tree/sub/file /tmp/named",
    );
    let left = contains("left out: tree/.git: git would take it")
        .and(contains("left out: tree/bottle.toml: bottle would read it"))
        .and(contains("left out: tree/out: a link that leads out"))
        .and(contains("left out, neither").not());
    project.bottle(&["cp", "t:/tmp/tree", "."]).assert().success().stderr(left);
    assert!(here.join("tree/sub/file").exists() && here.join("tree/a\u{1b}[2Jb").exists());
    assert_eq!(fs::read_link(here.join("tree/fine")).unwrap(), PathBuf::from("sub"));
    for name in [".git", "bottle.toml", "out", "pipe"] {
        assert!(fs::symlink_metadata(here.join("tree").join(name)).is_err(), "{name}");
    }
    assert_eq!(fs::metadata(here.join("tree/sub/file")).unwrap().permissions().mode() & 0o7022, 0);
    // A link given by name stands for its target.
    project.bottle(&["-q", "cp", "t:/tmp/named", "."]).assert().success();
    assert!(fs::symlink_metadata(here.join("named")).unwrap().is_file());
    // Repositories come only with --all.
    let all = contains("--all");
    project.bottle(&["cp", "t:/tmp/bare", "."]).assert().code(2).stderr(all.clone());
    project.bottle(&["cp", "t:/tmp/tree/.git", "."]).assert().code(2).stderr(all);
    assert!(!here.join("bare").exists() && !here.join(".git").exists());
    project.bottle(&["-q", "cp", "--all", "t:/tmp/bare", "."]).assert().success();
    project.bottle(&["-q", "cp", "--all", "t:/tmp/tree", "whole"]).assert().success();
    assert!(here.join("bare/HEAD").exists() && here.join("whole/.git/config").exists());
    // Over existing files: a folder is merged, a file is replaced, and a link is not followed.
    fs::write(project.on_host("outside"), "mine").unwrap();
    fs::remove_file(here.join("tree/sub/file")).unwrap();
    symlink(project.on_host("outside"), here.join("tree/sub/file")).unwrap();
    fs::write(here.join("tree/mine"), "mine").unwrap();
    project.bottle(&["-q", "cp", "t:/tmp/tree", "."]).assert().success();
    assert_eq!(fs::read_to_string(project.on_host("outside")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(here.join("tree/sub/file")).unwrap(), "x\n");
    assert!(here.join("tree/mine").exists());
    for (words, wanted) in [
        (&["cp", "--max-size", "10", "t:/etc/passwd", "."][..], "more than 10 bytes"),
        (&["cp", "t:/tmp/tree", "named"], "named is a folder in the guest, and none here"),
        (&["cp", "t:/etc/passwd", "tree/sub"], ""),
        (&["cp", "t:/etc/..", "."], "does not end in a name"),
        (&["cp", "--max-size", "lots", "t:/a", "."], "has the form 500M"),
    ] {
        let done = project.bottle(words).assert();
        if wanted.is_empty() {
            done.success()
        } else {
            done.failure().stderr(contains(wanted))
        };
    }
    // Nothing half-written is left, not even by a copy that was killed.
    fs::create_dir_all(here.join(".bottle-cp.999999999/x")).unwrap();
    project.bottle(&["-q", "cp", "t:/tmp/tree/sub/file", "."]).assert().success();
    assert!(
        fs::read_dir(here)
            .unwrap()
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with(".bottle-cp"))
    );
}

#[test]
fn a_helper_that_ends_early_leaves_nothing_behind() {
    let project = up(NONE);
    let exec = |script: &str| project.bottle(&["-q", "exec", "--", "sh", "-ec", script]).assert().success();
    exec(
        "mkdir /tmp/tree; head -c 300000 /dev/zero > /tmp/tree/a; echo x > /tmp/tree/b; cd /tmp; tar cf /tmp/half tree; head -c 200000 /tmp/half > /tmp/cut",
    );
    exec(
        "cat > /tmp/helper <<'END'
#!/bin/sh
printf 'bottle-guest: \\033[2Jevil\\n' >&2; cat /tmp/cut; exit 1
END
         chmod 755 /tmp/helper; mount --bind /tmp/helper /opt/bottle/bottle-guest",
    );
    let said = project.bottle(&["cp", "t:/tmp/tree", "."]).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && text.contains("what comes from the guest: tree/a"), "{text}");
    // Its complaint explains the failure, and cannot steer the terminal.
    exec(": > /tmp/cut");
    let said = project.bottle(&["cp", "t:/tmp/tree", "."]).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("in the guest: \\u{1b}[2Jevil"), "{text}");
    let left: Vec<_> =
        fs::read_dir(project.folder()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["bottle.toml"]);
}
