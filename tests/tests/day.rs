//! What a person meets day to day: `init`, `plan`, `doctor`, the manual, what a changed
//! configuration says and does.

use bottle_tests::World;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::fs;

#[test]
fn init_writes_a_file_for_what_it_finds_and_bottle_reads_it() {
    for (files, wanted) in [
        (&[][..], &["Found: an empty page", "# image = \"python:3-alpine\"", "# [git-gate]"][..]),
        (
            &["Cargo.toml", "CLAUDE.md"],
            &[
                "Found: Rust, and an agent, Claude Code",
                "image = \"rust:1-alpine\"",
                "\npreset = \"anthropic\"",
            ],
        ),
        (&["package.json", ".codex/x"], &["Found: JavaScript, and an agent, Codex", "\npreset = \"openai\""]),
        (&["pyproject.toml", ".git/HEAD"], &["Found: Python.", "\n[git-gate]\n"]),
    ] {
        let world = World::new();
        for file in files {
            fs::create_dir_all(world.path("project").join(file).parent().unwrap()).unwrap();
            world.write(file, "");
        }
        world.bottle(&["init"]).assert().success().stderr(contains("wrote bottle.toml"));
        let text = fs::read_to_string(world.path("project/bottle.toml")).unwrap();
        for wanted in wanted {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(text.contains("slug = \"project\"\n"), "{text}");
        world.bottle(&["plan"]).assert().success().stdout(contains("-> /workspace (read-write)"));
        // What a person wrote is not written over unasked.
        world.write("bottle.toml", "slug = \"mine\"\n");
        world.bottle(&["init"]).assert().code(73).stderr(contains("--force"));
        world.bottle(&["plan"]).assert().success().stdout(contains("bottle    mine"));
        world.bottle(&["-q", "init", "--force"]).assert().success().stderr("");
    }
}

#[test]
fn examples_are_read() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut read = 0;
    for entry in fs::read_dir(examples).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let world = World::new();
        let file = entry.path().join("bottle.toml");
        fs::copy(&file, world.path("project/bottle.toml")).unwrap();
        let git = ["init", "-q"];
        assert!(
            std::process::Command::new("git")
                .args(git)
                .current_dir(world.path("project"))
                .status()
                .unwrap()
                .success()
        );
        world.bottle(&["plan"]).assert().success().stdout(contains("door      pipelock"));
        read += 1;
    }
    assert!(read >= 4, "{read}");
}

#[test]
fn a_changed_configuration_is_shown_and_the_machine_follows_it() {
    let world = World::with("slug = \"t\"\n");
    world.bottle(&["plan", "--diff"]).assert().code(66).stderr(contains("was never started"));
    world.bottle(&["-q", "up"]).assert().success();
    world.bottle(&["plan", "--diff"]).assert().success().stdout("");
    world.write("bottle.toml", "slug = \"t\"\n[guest]\nmemory = 1024\nenv = { NEW = \"1\" }\n[egress]\nallow = [\"a.test\"]\n[supervise]\n");
    let differs = contains("- guest     bare Alpine, 4 processors, 8192 MiB\n")
        .and(contains("+ guest     bare Alpine, 4 processors, 1024 MiB\n"))
        .and(contains("+ allowed   a.test"))
        .and(contains("+ door      supervise"));
    world.bottle(&["plan", "--diff"]).assert().code(1).stdout(differs);
    let json = world.bottle(&["plan", "--diff", "--json"]).output().unwrap();
    assert!(serde_json::from_slice::<Vec<String>>(&json.stdout).unwrap().len() >= 4);
    world.bottle(&["up"]).assert().success().stderr(
        contains("t is up already")
            .and(contains("`bottle restart` applies it"))
            .and(contains("+ allowed   a.test")),
    );
    world.bottle(&["-q", "restart", "--trust"]).assert().success();
    world.bottle(&["plan", "--diff"]).assert().success().stdout("");
    let seen = world
        .bottle(&["-q", "exec", "--", "sh", "-c", "echo $NEW; curl -s $BOTTLE_SUPERVISE/ | head -1"])
        .output()
        .unwrap();
    assert!(seen.stdout.starts_with(b"1\n") && seen.stdout.len() > 3, "{seen:?}");
    // Another image is another machine, whose disk a person has to give up.
    world.write("bottle.toml", "slug = \"t\"\n[guest]\nimage = \"other:1\"\n");
    world.bottle(&["-q", "stop"]).assert().success();
    world.bottle(&["-q", "up", "--trust"]).assert().code(73).stderr(contains("--renew makes it anew"));
    world.bottle(&["-q", "up", "--trust", "--renew"]).assert().success();
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}

#[test]
fn doctor_says_what_is_there_what_is_not_and_which_walls() {
    let world = World::new();
    // The stand-in's machine needs no KVM, and doctor says how it is with that all the same.
    let output = world.bottle(&["doctor", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = |name: &str| {
        said["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name).unwrap().clone()
    };
    for name in ["smolvm", "gvproxy", "bubblewrap", "helper"] {
        assert_eq!(finding(name)["level"], "ok", "{said}");
        assert!(finding(name)["place"].as_str().unwrap().starts_with('/'), "{said}");
    }
    assert!(finding("gvproxy")["version"].as_str().unwrap().starts_with("0."), "{said}");
    let kvm = finding("kvm");
    assert!(kvm["level"] == "ok" || kvm["mend"].is_string(), "{said}");
    assert_eq!(output.status.code(), Some(if kvm["level"] == "ok" { 0 } else { 69 }));
    let confinement = finding("confinement");
    assert!(confinement["level"] == "ok" || confinement["mend"].is_string(), "{said}");
    if confinement["level"] == "ok" {
        // What an environment says is overruled, and that is said.
        let weak = world.bottle(&["doctor"]).env("SMOLVM_SECCOMP", "off").output().unwrap();
        let weak = String::from_utf8(weak.stdout).unwrap();
        assert!(weak.contains("; SMOLVM_SECCOMP in this environment is not followed"), "{weak}");
        assert!(!confinement["detail"].as_str().unwrap().contains("not followed"), "{said}");
    }
    assert_eq!(said["walls"], serde_json::json!({ "guard": true, "jail": true }));
    world.bottle(&["doctor"]).assert().stdout(contains("walls    two: the guard"));
    let empty = tempfile::tempdir().unwrap();
    world.bottle(&["doctor"]).env("PATH", empty.path()).assert().code(69).stdout(
        contains("MISSING  smolvm")
            .and(contains("warning  git "))
            .and(contains("walls    one: the guard"))
            .and(contains("to fix it: ")),
    );
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let world = World::new();
    world.bottle(&["man"]).assert().success().stdout(contains(".TH bottle 1"));
    world.bottle(&["man", "--dir", "pages"]).assert().success();
    let pages = fs::read_dir(world.path("project/pages")).unwrap().count();
    assert!(pages >= 25, "{pages}");
    let page = fs::read_to_string(world.path("project/pages/bottle-apply.1")).unwrap();
    assert!(page.contains("Take back into the project"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        world.bottle(&["completions", shell]).assert().success().stdout(contains("bottle"));
    }
}

#[test]
fn folders_with_keys_are_not_shared_unless_a_person_insists() {
    let world = World::new();
    let home = world.path("home");
    for dir in [".ssh", "project/inner", ".aws"] {
        fs::create_dir_all(home.join(dir)).unwrap();
    }
    let plan = |volume: &str, insist: bool| {
        world.write(
            "bottle.toml",
            &format!("slug = \"t\"\n[[guest.volumes]]\nhost = \"{volume}\"\nguest = \"/x\"\n"),
        );
        let words = if insist { &["--i-know", "plan"][..] } else { &["plan"] };
        world.bottle(words).env("HOME", &home).assert()
    };
    let place = |name: &str| home.join(name).display().to_string();
    for (volume, why) in [
        (place(""), "is your home folder"),
        (place(".ssh"), "is your keys"),
        (world.path("").display().to_string(), "holds your home folder"),
        ("/".to_owned(), "is the whole machine"),
    ] {
        plan(&volume, false).code(2).stderr(contains(why).and(contains("--i-know")));
        plan(&volume, true).success();
    }
    plan(&place("project"), false).success();
    // bottle's own state, once it is there.
    world.write("bottle.toml", "slug = \"t\"\n");
    world.bottle(&["-q", "up"]).assert().success();
    let state = world.path("state").display().to_string();
    plan(&state, false).code(2).stderr(contains("bottle's own state"));
    plan(&format!("{state}/t"), false).code(2).stderr(contains("is part of bottle's own state"));
    world.write("bottle.toml", "slug = \"t\"\n");
    world.bottle(&["-q", "rm", "--force"]).assert().success();
    // The workspace is a folder like any other.
    let project = world.path("project");
    world.bottle(&["plan"]).env("HOME", &project).assert().code(2).stderr(contains("is your home folder"));
}

#[test]
fn progress_is_for_who_watches() {
    let world = World::with("slug = \"t\"\n");
    let note = "bottle: warning: this smolvm is a stand-in without a virtual machine, for tests only\n";
    // No terminal: no steps, only what came of them.
    world.bottle(&["run", "--", "true"]).assert().success().stderr(note);
    world
        .bottle(&["-v", "run", "--", "true"])
        .assert()
        .success()
        .stderr(contains("bottle: starting t ...\n"));
    world.bottle(&["up"]).assert().success().stderr(contains("t is up; `bottle shell t` enters it"));
    world.bottle(&["-q", "rm", "-f"]).assert().success().stderr("");
    world.bottle(&["doctor"]).env("NO_COLOR", "1").assert().stdout(contains("\u{1b}").not());
}
