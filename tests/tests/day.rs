//! Everyday use: the examples, `plan`, `doctor`, a changed configuration. `init` and the manual are in
//! `tests/cases/`.

use bottle_tests::{ProjectExt, answer, empty_project, git, project_with};
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::process::{Command, Output};

#[test]
fn examples_are_valid() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut read = 0;
    for entry in fs::read_dir(examples).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let project = empty_project();
        let file = entry.path().join("bottle.toml");
        fs::copy(&file, project.path("bottle.toml")).unwrap();
        git(project.folder(), &["init", "-q"]);
        git(project.folder(), &["remote", "add", "origin", "https://git.example.com/x.git"]);
        let mut plan = project.bottle(&["plan"]);
        plan.env("ANTHROPIC_API_KEY", "x").env("OPENAI_API_KEY", "x");
        plan.assert().success().stdout(contains("door      pipelock"));
        read += 1;
    }
    assert!(read >= 4, "{read}");
}

#[test]
fn plan_shows_a_changed_configuration_and_restart_applies_it() {
    let project = project_with("slug = \"t\"\n");
    project.bottle(&["plan", "--diff"]).assert().code(66).stderr(contains("was never started"));
    project.bottle(&["plan"]).assert().success().stderr("");
    project.bottle(&["-q", "up"]).assert().success();
    project.bottle(&["plan", "--diff"]).assert().success().stdout("");
    project.put("bottle.toml", "slug = \"t\"\n[guest]\nmemory = 1024\nenv = { NEW = \"1\" }\n[egress]\nallow = [\"a.test\"]\n[supervise]\n");
    let differs = contains("- guest     bare Alpine, 4 processors, 8192 MiB\n")
        .and(contains("+ guest     bare Alpine, 4 processors, 1024 MiB\n"))
        .and(contains("+ allowed   a.test"))
        .and(contains("+ door      supervise"));
    project.bottle(&["plan", "--diff"]).assert().code(1).stdout(differs);
    assert!(project.json(&["plan", "--diff", "--json"]).as_array().unwrap().len() >= 4);
    project.bottle(&["up"]).assert().success().stderr(
        contains("t is up already")
            .and(contains("`bottle restart` applies it"))
            .and(contains("+ allowed   a.test")),
    );
    project.bottle(&["-q", "restart", "--trust"]).assert().success();
    project.bottle(&["plan", "--diff"]).assert().success().stdout("");
    let seen = project
        .bottle(&["-q", "exec", "--", "sh", "-c", "echo $NEW; curl -s $BOTTLE_SUPERVISE/ | head -1"])
        .output()
        .unwrap();
    assert!(seen.stdout.starts_with(b"1\n") && seen.stdout.len() > 3, "{seen:?}");
    // Another image means another machine, and a person has to give up the old one's disk.
    fs::create_dir(project.on_host("rootfs")).unwrap();
    project.put("bottle.toml", "slug = \"t\"\n[guest]\nimage = \"../rootfs\"\n");
    let renewed = contains("the machine of t has another image; `bottle up --renew t` creates it again");
    project.bottle(&["plan"]).assert().success().stderr(renewed);
    project.bottle(&["plan", "--diff"]).assert().code(1).stderr(contains("`bottle up --renew t`"));
    let planned = String::from_utf8(project.bottle(&["plan", "--json"]).output().unwrap().stdout).unwrap();
    assert!(planned.contains("`bottle up --renew t`"), "{planned}");
    project.bottle(&["-q", "stop"]).assert().success();
    project.bottle(&["-q", "up", "--trust"]).assert().code(73).stderr(contains("`--renew` creates it again"));
    project.bottle(&["-q", "up", "--trust", "--renew"]).assert().success();
    project.bottle(&["plan"]).assert().success().stderr("");
}

/// Each gvproxy has an inotify instance, and a user has few. A user namespace has a limit of its own to lower.
#[test]
fn a_gvproxy_too_many_is_named_with_what_helps() {
    let project =
        project_with("slug = \"t\"\n[workspace]\nmode = \"none\"\n[network]\nstack = \"gvproxy\"\n");
    let few = |instances: u32, words: &[&str]| -> Output {
        let bottle = project.command(words);
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "sh", "-c"]);
        inside.arg(format!("echo {instances} > /proc/sys/user/max_inotify_instances && exec \"$@\""));
        inside.arg("sh").arg(bottle.get_program()).args(bottle.get_args()).current_dir(project.folder());
        for (name, value) in bottle.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside.output().unwrap()
    };
    let refused = few(0, &["-q", "run", "--", "true"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert!(said.contains("inotify instance") && said.contains("`stack = \"sockets\"`"), "{said}");
    let doctor = String::from_utf8(few(0, &["doctor"]).stdout).unwrap();
    assert!(
        doctor.contains("warning  gvproxy") && doctor.contains("fs.inotify.max_user_instances"),
        "{doctor}"
    );
    let enough = few(8, &["-q", "run", "--", "true"]);
    assert!(enough.status.success(), "{}", String::from_utf8_lossy(&enough.stderr));
}

#[test]
fn doctor_reports_tools_walls_and_remedies() {
    let project = empty_project();
    // The stand-in's machine needs no KVM, but doctor reports on it anyway.
    let output = project.bottle(&["doctor", "--json"]).output().unwrap();
    let said = answer(&output.stdout).unwrap();
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
        // A variable that would weaken the confinement is overruled, and doctor says so.
        let weak = project.bottle(&["doctor"]).env("SMOLVM_SECCOMP", "off").output().unwrap();
        let weak = String::from_utf8(weak.stdout).unwrap();
        assert!(weak.contains("; SMOLVM_SECCOMP in this environment is not followed"), "{weak}");
        assert!(!confinement["detail"].as_str().unwrap().contains("not followed"), "{said}");
    }
    assert_eq!(said["walls"], serde_json::json!({ "guard": true, "jail": true }));
    project.bottle(&["doctor"]).assert().stdout(contains("walls    two: the guard"));
    let empty = tempfile::tempdir().unwrap();
    project.bottle(&["doctor"]).env("PATH", empty.path()).assert().code(69).stdout(
        contains("MISSING  smolvm")
            .and(contains("warning  git "))
            .and(contains("walls    one: the guard"))
            .and(contains("to fix it: ")),
    );
}

#[test]
fn folders_with_keys_are_shared_only_if_a_person_insists() {
    let project = empty_project();
    let home = project.on_host("home");
    for dir in [".ssh", "project/inner", ".aws"] {
        fs::create_dir_all(home.join(dir)).unwrap();
    }
    let plan = |volume: &str, insist: bool| {
        project.put(
            "bottle.toml",
            &format!("slug = \"t\"\n[[guest.volumes]]\nhost = \"{volume}\"\nguest = \"/x\"\n"),
        );
        let words = if insist { &["--i-know", "plan"][..] } else { &["plan"] };
        project.bottle(words).env("HOME", &home).assert()
    };
    let place = |name: &str| home.join(name).display().to_string();
    for (volume, why) in [
        (place(""), "is your home folder"),
        (place(".ssh"), "is your SSH keys"),
        (project.on_host("").display().to_string(), "holds your home folder"),
        ("/".to_owned(), "is the whole machine"),
    ] {
        plan(&volume, false).code(2).stderr(contains(why).and(contains("--i-know")));
        plan(&volume, true).success();
    }
    plan(&place("project"), false).success();
    // bottle's own state, once it exists.
    project.put("bottle.toml", "slug = \"t\"\n");
    project.bottle(&["-q", "up"]).assert().success();
    let state = project.on_host("state").display().to_string();
    plan(&state, false).code(2).stderr(contains("bottle's own state"));
    plan(&format!("{state}/t"), false).code(2).stderr(contains("is part of bottle's own state"));
    project.put("bottle.toml", "slug = \"t\"\n");
    project.bottle(&["-q", "rm", "--force"]).assert().success();
    // The rule also covers the workspace.
    let folder = project.folder();
    project.bottle(&["plan"]).env("HOME", folder).assert().code(2).stderr(contains("is your home folder"));
}

#[test]
fn progress_is_shown_on_request_or_on_a_terminal() {
    let project = project_with("slug = \"t\"\n");
    let note = "bottle: warning: this smolvm is a stand-in without a virtual machine, for tests only\n";
    // Without a terminal, only results are shown, and no progress.
    project.bottle(&["run", "--", "true"]).assert().success().stderr(note);
    project
        .bottle(&["-v", "run", "--", "true"])
        .assert()
        .success()
        .stderr(contains("bottle: starting t ...\n").and(contains("bottle: t: starting its keeper: ")))
        .stderr(contains("bottle: t: removing it: "));
    project.bottle(&["up"]).assert().success().stderr(contains("t is up; `bottle shell t` enters it"));
    project.bottle(&["-q", "rm", "-f"]).assert().success().stderr("");
    project.bottle(&["doctor"]).env("NO_COLOR", "1").assert().stdout(contains("\u{1b}").not());
}
