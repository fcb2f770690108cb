//! A setup whose results are kept in an image: it runs once, in a machine of its own. The stand-in unpacks images as smolvm
//! does, so that what a later machine finds is what the setup made.

use bottle_harness::page::Page;
use bottle_harness::registry::{Image, Registry};
use bottle_tests::{Project, ProjectExt, checkout, eventually, project_with};
use predicates::prelude::*;
use predicates::str::contains;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

const SETUP: &str = "mkdir -p /opt/tool; date +%s%N > /opt/tool/made; rm /srv/old; ls /workspace 2>&1 || :";

fn registry() -> Registry {
    let registry = Registry::start(&checkout(), false).expect("run `make setup`");
    let files = ["srv/old", "srv/stays"].map(|name| (name.to_owned(), b"from the image".to_vec()));
    registry.push("tiny:1", &Image { layers: vec![files.to_vec()] }).unwrap();
    registry
}

fn config(registry: &Registry, slug: &str, setup: &str, rest: &str) -> String {
    let image = registry.name("tiny:1");
    format!("slug = \"{slug}\"\n[guest]\nimage = \"{image}\"\nsetup = [{setup:?}]\n{rest}")
}

/// What is in the store beside the image itself.
fn archives(project: &Project) -> usize {
    fs::read_dir(project.on_host("cache/images/archives")).into_iter().flatten().count()
}

fn left(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.on_host("cache/images/partial")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_setup_runs_once_and_every_machine_starts_from_what_it_made() {
    let (registry, page) = (registry(), Page::serve("the page").unwrap());
    let port = page.port();
    let setup = format!("{SETUP}; curl -sSf http://page.test:{port}/ > /opt/tool/page; env > /opt/tool/env");
    let rest = format!(
        "setup-allow = [\"page.test:{port}\"]\n[egress]\nallow = [\"other.test\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\" }}\n\
         allow_private = [\"page.test\"]\n"
    );
    let project = project_with(&config(&registry, "t", &setup, &rest));
    let runs = "runs at the next start, in a machine of its own";
    project.bottle(&["plan"]).assert().success().stdout(contains(runs));
    project.put("secret", "of the project");
    project
        .bottle(&["up"])
        .assert()
        .success()
        .stderr(contains("the setup made sha256:").and(contains("t is up")));
    let guest = |script: &str| project.said(&["-q", "exec", "--", "sh", "-c", script]);
    let made = guest("cat /opt/tool/made");
    assert_eq!(guest("cat /opt/tool/page"), "the page");
    assert_eq!(guest("ls /srv"), "stays\n");
    // What it could reach, nobody reaches afterwards.
    let refused = format!("curl -sS -o /dev/null -w '%{{http_code}}' http://page.test:{port}/");
    assert_eq!(guest(&refused), "403");
    assert!(guest("cat /opt/tool/env").contains("BOTTLE_SLUG=setup-"), "{}", guest("cat /opt/tool/env"));
    drop(page);
    // Another bottle, and a run, without the registry, the page or the setup.
    let plan = project.json(&["plan", "--json"]);
    let other = project.environment().project("other").unwrap();
    other.put("bottle.toml", &config(&registry, "u", &setup, &rest));
    drop(registry);
    other.bottle(&["up"]).assert().success().stderr(contains("the setup").not());
    assert_eq!(other.said(&["-q", "exec", "--", "cat", "/opt/tool/made"]), made);
    assert_eq!(other.said(&["-q", "run", "--", "cat", "/opt/tool/made"]), made);
    // It is listed, and stays as long as a bottle needs it.
    let listed = project.json(&["images", "ls", "--json"]);
    let row = listed.as_array().unwrap().iter().find(|row| row["setup"].is_array()).unwrap();
    assert_eq!((&row["digest"], &row["bottles"]), (&plan["setup"]["made"], &json!(["t", "u"])), "{listed}");
    let digest = row["digest"].as_str().unwrap();
    project.bottle(&["images", "rm", digest]).assert().code(73).stderr(contains("bottle t uses"));
    project.bottle(&["-q", "images", "prune"]).assert().success().stdout("");
    assert_eq!(archives(&project), 2);
    other.bottle(&["-q", "rm", "-f"]).assert().success();
    project.bottle(&["-q", "rm", "-f"]).assert().success();
    project.bottle(&["-q", "images", "rm", digest]).assert().success().stdout(contains(" + setup\n"));
    assert_eq!(archives(&project), 1);
    project.bottle(&["-q", "images", "prune"]).assert().success();
    assert_eq!((archives(&project), left(&project)), (0, Vec::new()));
}

/// What `--setup-allow` opens is lent for once, and no part of what the bottle is.
#[test]
fn a_host_that_is_named_once_for_a_setup_need_not_be_named_again() {
    let (registry, page) = (registry(), Page::serve("the page").unwrap());
    let port = page.port();
    let project = project_with(
        "slug = \"t\"\n[egress]\nhosts = { \"page.test\" = \"127.0.0.1\" }\nallow_private = [\"page.test\"]\n",
    );
    let image = registry.name("tiny:1");
    fs::create_dir_all(project.folder().join("own/bottle/agents")).unwrap();
    project.put(
        "own/bottle/agents/mine.toml",
        &format!(
            "name = \"M\"\nimage = \"{image}\"\nsetup = [\"curl -sSf http://page.test:{port}/ > /opt/page\"]\n\
             command = [\"cat\", \"/opt/page\"]\nsmoke = [\"cat\", \"/opt/page\"]\n"
        ),
    );
    let host = format!("page.test:{port}");
    let agent = |words: &[&str]| {
        let mut command = project.bottle(&[&["agent", "mine", "--smoke"], words].concat());
        command.env("XDG_CONFIG_HOME", project.folder().join("own"));
        command.assert()
    };
    agent(&[]).code(75).stderr(contains("the setup failed").and(contains("`setup-allow`")));
    agent(&["--setup-allow", &host]).success().stdout("the page");
    drop((page, registry));
    agent(&[]).success().stdout("the page").stderr(contains("changed").not());
    project.bottle(&["-q", "stop", "t"]).assert().success();
    agent(&[]).success().stdout("the page");
    // In another bottle, too.
    agent(&["--bottle", "u"]).success().stdout("the page");
    for slug in ["t", "u"] {
        project.bottle(&["-q", "rm", "-f", slug]).assert().success();
    }
}

/// What a machine holds is never given up because of what happened elsewhere.
#[test]
fn a_bottle_that_is_stopped_keeps_what_it_was_made_from() {
    let registry = registry();
    let project = project_with(&config(&registry, "t", SETUP, ""));
    let other = project.environment().project("other").unwrap();
    other.put("bottle.toml", &config(&registry, "u", SETUP, ""));
    project.bottle(&["-q", "up"]).assert().success();
    let made = project.said(&["-q", "exec", "--", "cat", "/opt/tool/made"]);
    project.bottle(&["-q", "exec", "--", "sh", "-c", "echo work > /srv/work"]).assert().success();
    project.bottle(&["-q", "stop"]).assert().success();
    // Another bottle's setup is carried out again, and the tag moves.
    other.bottle(&["-q", "up"]).assert().success();
    other.bottle(&["-q", "restart", "--rebuild", "--renew"]).assert().success();
    registry.push("tiny:1", &Image::with("etc/marker", "two")).unwrap();
    project.bottle(&["-q", "images", "pull", &registry.name("tiny:1")]).assert().success();
    let keeps = contains("t keeps the image that its machine was made from; `bottle up --renew t`");
    project.bottle(&["plan"]).assert().success().stderr(keeps.clone());
    // Nothing is carried out for a machine that could not have it.
    project.bottle(&["up", "--rebuild"]).assert().code(2).stderr(contains("`--rebuild --renew`"));
    project.bottle(&["up"]).assert().success().stderr(keeps);
    let kept = project.said(&["-q", "exec", "--", "sh", "-c", "cat /opt/tool/made /srv/work"]);
    assert_eq!(kept, format!("{made}work\n"));
    project.bottle(&["-q", "restart", "--renew"]).assert().success();
    assert_ne!(project.said(&["-q", "exec", "--", "cat", "/opt/tool/made"]), made);
    project.bottle(&["plan"]).assert().success().stderr("");
    for project in [&project, &other] {
        project.bottle(&["-q", "rm", "-f"]).assert().success();
    }
}

#[test]
fn a_setup_is_carried_out_again_where_a_person_says_so_or_it_has_changed() {
    let registry = registry();
    let project = project_with(&config(&registry, "t", SETUP, ""));
    let made = |project: &Project| project.said(&["-q", "exec", "--", "cat", "/opt/tool/made"]);
    project.bottle(&["-q", "up"]).assert().success();
    let first = made(&project);
    project
        .bottle(&["up", "--rebuild"])
        .assert()
        .code(73)
        .stderr(contains("`bottle restart --rebuild --renew t`"));
    let kept = project.bottle(&["restart", "--rebuild"]).assert().code(2);
    kept.stderr(contains("keeps what it was made from"));
    project.bottle(&["-q", "restart", "--rebuild", "--renew"]).assert().success();
    let second = made(&project);
    assert_ne!(second, first);
    project.bottle(&["-q", "restart"]).assert().success();
    assert_eq!(made(&project), second);
    project.put("bottle.toml", &config(&registry, "t", &format!("{SETUP}; touch /opt/more"), ""));
    project.bottle(&["plan"]).assert().success().stdout(contains("runs at the next start"));
    project.bottle(&["-q", "restart", "--renew", "--trust"]).assert().success();
    assert_eq!(project.said(&["-q", "exec", "--", "ls", "/opt"]), "bottle\nmore\ntool\n");
    project.bottle(&["-q", "rm", "-f"]).assert().success();
    // On the disk, the commands see the project.
    let on_disk = "setup-keep = \"disk\"\n[workspace]\nmode = \"copy\"\n";
    project.put("bottle.toml", &config(&registry, "d", "cp /workspace/mine /opt/", on_disk));
    project.put("mine", "of the project");
    project.bottle(&["run", "--", "true"]).assert().code(2).stderr(contains("kept on a bottle's disk"));
    project.bottle(&["-q", "up"]).assert().success();
    assert_eq!(project.said(&["-q", "exec", "--", "cat", "/opt/mine"]), "of the project");
    project.bottle(&["-q", "rm", "-f"]).assert().success();
}

#[test]
fn a_setup_that_fails_or_is_killed_leaves_nothing() {
    let registry = registry();
    let project = project_with(&config(&registry, "t", "echo the last words; touch /opt/half; false", ""));
    let failed = project.bottle(&["up"]).assert().code(75);
    failed
        .stderr(contains("the setup failed").and(contains("the last words")).and(contains("`setup-allow`")));
    assert_eq!((archives(&project), left(&project)), (1, Vec::new()));
    assert_eq!(project.json(&["ls", "--json"]), json!([]));
    // Something else than a layer, from a guest that does not use the helper's: what it says is data.
    for hostile in
        ["tr '\\0' x < /dev/zero", "cat /dev/zero", "head -c 512 /dev/zero", "head -c 99 /dev/urandom"]
    {
        let hostile = format!("{hostile} > /proc/$PPID/fd/1; kill -9 $PPID");
        project.put("bottle.toml", &config(&registry, "t", &hostile, ""));
        project.bottle(&["up"]).assert().failure().stderr(contains("t is up").not());
        assert_eq!((archives(&project), left(&project)), (1, Vec::new()), "{hostile}");
    }
    project.put("bottle.toml", &config(&registry, "t", "echo begun; sleep 600", ""));
    for signal in [Signal::INT, Signal::TERM] {
        let mut up =
            project.command(&["--verbose", "up"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Whoever runs this test may have it ignore SIGINT, which bottle does not from then on.
        eventually("the setup's machine", || {
            let listed = project.json(&["ls", "--json"]);
            listed.as_array().unwrap().iter().any(|row| row["slug"].as_str().unwrap().starts_with("setup-"))
        });
        kill_process(Pid::from_child(&up), signal).unwrap();
        assert!(!up.wait().unwrap().success());
        assert_eq!((archives(&project), left(&project)), (1, Vec::new()));
        assert_eq!(project.json(&["ls", "--json"]), json!([]));
    }
    project.bottle(&["cleanup"]).assert().success();
    // A signal after a setup is for what runs then: the run ends as it always does.
    project.put("bottle.toml", &config(&registry, "t", "true", ""));
    let mut run = project.command(&["-q", "run", "--", "sh", "-c", "echo up; sleep 600"]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(run.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert_eq!(project.json(&["ls", "--json"]), json!([]));
}

#[test]
fn starts_at_once_carry_out_one_setup() {
    let registry = registry();
    let project = project_with(&config(&registry, "t", SETUP, ""));
    let run = |number: usize| {
        let out = format!("kept/{number}");
        project.command(&["-q", "run", "--out", &out, "--", "cat", "/opt/tool/made"]).spawn().unwrap()
    };
    let mut running: Vec<std::process::Child> = (0..3).map(run).collect();
    assert!(running.iter_mut().all(|child| child.wait().unwrap().success()));
    let said = |number: usize| fs::read_to_string(project.path(format!("kept/{number}/stdout"))).unwrap();
    assert_eq!([said(1), said(2)], [said(0), said(0)]);
    assert_eq!((archives(&project), left(&project)), (2, Vec::new()));
}
