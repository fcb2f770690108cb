//! The log: what it records, how it is shown, and what happens on a full disk.

use bottle_harness::page::Page;
use bottle_tests::{Project, ProjectExt, allowing, alone, eventually, project_with, up};
use predicates::prelude::*;
use serde_json::Value;
use std::fs;
use std::process::Command;

fn logs(project: &Project, words: &[&str]) -> String {
    project.said(&[&["logs"], words].concat())
}

fn fetch(project: &Project, url: &str) -> String {
    let script = format!("curl -sS -m 20 -w '%{{http_code}}' {url} 2>&1");
    project.said(&["-q", "exec", "--", "sh", "-c", &script])
}

#[test]
fn the_log_records_decisions_and_filters_by_kind_and_time() {
    let page = Page::serve("the page").unwrap();
    let project = up(&allowing(&page));
    assert_eq!(fetch(&project, &format!("http://page.test:{}/a", page.port())), "the page200");
    assert!(fetch(&project, "http://other.test/x").contains("403"));
    let (all, denied) = (logs(&project, &[]), logs(&project, &["--denied"]));
    assert!(all.contains("keeper    started") && all.contains("pipelock  allowed"), "{all}");
    assert!(denied.contains("pipelock  refused") && !denied.contains("allowed"), "{denied}");
    // Without a terminal there are no colours.
    assert!(!all.contains('\x1b'), "{all:?}");
    assert!(logs(&project, &["--since", "1h"]).contains("started"));
    assert!(logs(&project, &["--since", "2999-01-01T00:00:00Z"]).is_empty());
    project
        .bottle(&["logs", "--since", "soon"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("expected a while, like 10m or 2h, a day"));

    // `audit` prints the lines of both files. Each is JSON with the fields that docs/audit.md promises.
    let raw = project.said(&["audit"]);
    let file = |name: &str| fs::read_to_string(project.on_host(name)).unwrap();
    let both = file("state/t/log/audit.jsonl") + &file("state/t/log/decisions.jsonl");
    let (mut raw_lines, mut lines): (Vec<&str>, Vec<&str>) = (raw.lines().collect(), both.lines().collect());
    raw_lines.sort_unstable();
    lines.sort_unstable();
    assert_eq!(raw_lines, lines);
    let mut last = 0;
    for line in raw.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["time_ms"].as_u64().unwrap() >= last, "{raw}");
        last = line["time_ms"].as_u64().unwrap();
        assert!(line["time_ms"].is_u64() && line["part"].is_string() && line["event"].is_string(), "{line}");
    }
    project.bottle(&["-q", "rm", "--force"]).assert().success();
    project.bottle(&["logs"]).assert().code(66);
}

#[test]
fn a_refusal_is_red_on_a_terminal() {
    let project = up("slug = \"t\"\n");
    fetch(&project, "http://other.test/");
    // `script` gives it a terminal.
    let command = project.command(&["logs", "--denied"]);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let on_a_terminal = |no_color: &str| {
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
        script.current_dir(project.folder()).env_remove("NO_COLOR").env("TERM", "xterm");
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if !no_color.is_empty() {
            script.env("NO_COLOR", no_color);
        }
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    assert!(on_a_terminal("").contains("\x1b[31mrefused"), "{:?}", on_a_terminal(""));
    assert!(!on_a_terminal("1").contains('\x1b'));
}

#[test]
fn a_full_disk_is_reported_and_closes_doors_that_require_the_log() {
    if !alone(module_path!(), "a_full_disk_is_reported_and_closes_doors_that_require_the_log") {
        return;
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let page = Page::serve("the page").unwrap();
    let url = format!("http://page.test:{}/", page.port());
    for (need, while_full) in [("best-effort", "the page200"), ("required", "503")] {
        let project = project_with(&format!("audit = \"{need}\"\n{}", allowing(&page)));
        fs::create_dir_all(project.on_host("state")).unwrap();
        let state = project.on_host("state");
        let mount = ["-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", state.to_str().unwrap()];
        assert!(Command::new("mount").args(mount).status().unwrap().success());
        project.bottle(&["-q", "up"]).assert().success();
        assert_eq!(fetch(&project, &url), "the page200");

        let filler = project.on_host("state/filler");
        let _ = fs::write(&filler, vec![0; 1 << 20]);
        // The file's last block has room for some lines, and a line is written after its answer.
        let mut answers = Vec::new();
        for at in 0..20 {
            // Each name has a line of its own. Repetitions of one name would only be counted.
            fetch(&project, &format!("http://n{at}.{}.test/", "x".repeat(60)));
            answers.push(fetch(&project, &url));
        }
        assert!(answers.last().unwrap().contains(while_full), "{need}: {answers:?}");
        assert!(project.said(&["status"]).contains("cannot be written: is the disk full?"));
        let keeper = fs::read_to_string(project.on_host("state/t/keeper.log")).unwrap();
        assert!(keeper.is_empty() || keeper.contains("cannot write the log"), "{keeper}");
        if need == "required" {
            project
                .bottle(&["-q", "allow", "t", "new.test"])
                .assert()
                .failure()
                .stderr(predicate::str::contains("the log cannot be written, and this bottle requires it"));
        }

        fs::remove_file(&filler).unwrap();
        fetch(&project, &url);
        eventually("it recovers", || fetch(&project, &url) == "the page200");
        eventually("lost lines are counted", || logs(&project, &[]).contains("lost       lines="));
        assert!(logs(&project, &[]).contains("lost       lines="), "{}", logs(&project, &[]));
        project.bottle(&["audit", "--check"]).assert().success();
        project.bottle(&["-q", "rm", "--force"]).assert().success();
        assert!(Command::new("umount").args(["-l", state.to_str().unwrap()]).status().unwrap().success());
    }
}
