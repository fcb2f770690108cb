//! The log: who decided what, in an order that cannot be changed unseen, and a full disk.

use bottle_harness::page::Page;
use bottle_tests::{World, allowing, alone, eventually};
use predicates::prelude::*;
use serde_json::Value;
use std::fs;
use std::process::Command;

fn logs(world: &World, words: &[&str]) -> String {
    let output = world.bottle(&[&["logs"], words].concat()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn fetch(world: &World, url: &str) -> String {
    let script = format!("curl -sS -m 20 -w '%{{http_code}}' {url} 2>&1");
    let output = world.bottle(&["-q", "exec", "--", "sh", "-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_log_says_what_was_decided_and_shows_what_is_asked_for() {
    let page = Page::serve("the page").unwrap();
    let world = World::with(&allowing(&page));
    world.bottle(&["-q", "up"]).assert().success();
    assert_eq!(fetch(&world, &format!("http://page.test:{}/a", page.port())), "the page200");
    assert!(fetch(&world, "http://other.test/x").contains("403"));
    let (all, denied) = (logs(&world, &[]), logs(&world, &["--denied"]));
    assert!(all.contains("keeper    started") && all.contains("pipelock  allowed"), "{all}");
    assert!(denied.contains("pipelock  refused") && !denied.contains("allowed"), "{denied}");
    // No colours where it is no terminal, and no control characters of the guest's anywhere.
    assert!(!all.contains('\x1b'), "{all:?}");
    assert!(logs(&world, &["--since", "1h"]).contains("started"));
    assert!(logs(&world, &["--since", "2999-01-01T00:00:00Z"]).is_empty());
    world
        .bottle(&["logs", "--since", "soon"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("neither a while"));

    // Raw, it is the lines of both files; each is JSON with what docs/audit.md promises.
    let raw = world.bottle(&["audit"]).output().unwrap().stdout;
    let raw = String::from_utf8(raw).unwrap();
    let file = |name: &str| fs::read_to_string(world.path(name)).unwrap();
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
    world.bottle(&["-q", "rm", "--force"]).assert().success();
    world.bottle(&["logs"]).assert().code(66);
}

#[test]
fn on_a_terminal_a_refusal_is_red() {
    let world = World::with("slug = \"t\"\n");
    world.bottle(&["-q", "up"]).assert().success();
    fetch(&world, "http://other.test/");
    // `script` gives it a terminal.
    let mut command = world.process(&["logs", "--denied"]);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let on_a_terminal = |no_color: &str| {
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
        script.current_dir(world.path("project")).env_remove("NO_COLOR").env("TERM", "xterm");
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if !no_color.is_empty() {
            script.env("NO_COLOR", no_color);
        }
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    assert!(on_a_terminal("").contains("\x1b[31mrefused"), "{:?}", on_a_terminal(""));
    assert!(!on_a_terminal("1").contains('\x1b'));
    let _ = command.env_clear();
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}

#[test]
fn a_full_disk_is_reported_and_closes_what_requires_the_log() {
    if !alone("a_full_disk_is_reported_and_closes_what_requires_the_log") {
        return;
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let page = Page::serve("the page").unwrap();
    let url = format!("http://page.test:{}/", page.port());
    for (need, while_full) in [("best-effort", "the page200"), ("required", "503")] {
        let world = World::with(&format!("audit = \"{need}\"\n{}", allowing(&page)));
        fs::create_dir_all(world.path("state")).unwrap();
        let state = world.path("state");
        let mount = ["-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", state.to_str().unwrap()];
        assert!(Command::new("mount").args(mount).status().unwrap().success());
        world.bottle(&["-q", "up"]).assert().success();
        assert_eq!(fetch(&world, &url), "the page200");

        let filler = world.path("state/filler");
        let _ = fs::write(&filler, vec![0; 1 << 20]);
        // The file's last block has room for some lines; and a line is written after its answer.
        let mut answers = Vec::new();
        for at in 0..20 {
            // Each name has a line of its own; the same one again and again would be counted.
            fetch(&world, &format!("http://n{at}.{}.test/", "x".repeat(60)));
            answers.push(fetch(&world, &url));
        }
        assert!(answers.last().unwrap().contains(while_full), "{need}: {answers:?}");
        let status = world.bottle(&["status"]).output().unwrap();
        assert!(String::from_utf8_lossy(&status.stdout).contains("cannot be written: is the disk full?"));
        let keeper = fs::read_to_string(world.path("state/t/keeper.log")).unwrap();
        assert!(keeper.is_empty() || keeper.contains("cannot write the log"), "{keeper}");
        if need == "required" {
            world
                .bottle(&["-q", "allow", "t", "new.test"])
                .assert()
                .failure()
                .stderr(predicate::str::contains("the log cannot be written, and this bottle requires it"));
        }

        fs::remove_file(&filler).unwrap();
        fetch(&world, &url);
        eventually("it heals", || fetch(&world, &url) == "the page200");
        eventually("what was lost is counted", || logs(&world, &[]).contains("lost       lines="));
        assert!(logs(&world, &[]).contains("lost       lines="), "{}", logs(&world, &[]));
        world.bottle(&["audit", "--check"]).assert().success();
        world.bottle(&["-q", "rm", "--force"]).assert().success();
        assert!(Command::new("umount").args(["-l", state.to_str().unwrap()]).status().unwrap().success());
    }
}
