//! A crash at every boundary between two steps: `ls` tells the truth, `cleanup` leaves nothing
//! behind, and a fresh `up` works. And twenty bottles at once, none mixed up with another.

use bottle_harness::page::Page;
use bottle_host::fail_point::FailPoint;
use bottle_tests::{World, allowing, eventually};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

const CONFIG: &str = "slug = \"t\"\n[workspace]\nmode = \"copy\"\n";
const KILLED: i32 = 9;

/// Who dies, as a boundary's name begins.
fn steps(of: &[&str]) -> Vec<FailPoint> {
    let belongs = |step: &&FailPoint| of.iter().any(|who| step.name().starts_with(who));
    let steps: Vec<FailPoint> = FailPoint::ALL.iter().filter(belongs).copied().collect();
    assert!(!steps.is_empty());
    steps
}

/// Runs `bottle` with these words until somebody dies at this boundary. Whether it was the command
/// itself.
fn die(world: &World, words: &[&str], step: FailPoint) -> bool {
    let mut command = world.process(words);
    // No pipe: whoever is left behind holds up nobody.
    command
        .env("BOTTLE_DIE_AFTER", step.name())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().unwrap().signal() == Some(KILLED)
}

/// The processes of this world: they have its folder in their arguments or their environment.
fn processes(world: &World) -> Vec<String> {
    let place = world.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let read = |path: &Path, name: &str| {
        let bytes = fs::read(path.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let found = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let path = entry.path();
        let (words, env) = (read(&path, "cmdline"), read(&path, "environ"));
        // A zombie has neither.
        (words.contains(&place) || env.contains(&place)).then_some(words)
    });
    found.collect()
}

fn rows(world: &World) -> Vec<Value> {
    let said = world.bottle(&["ls", "--all", "--json"]).output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
}

fn machine_runs(world: &World) -> bool {
    let said = world.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap();
    let machines: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
    machines.iter().any(|machine| machine["state"] == "running")
}

/// What `ls` says is so.
fn tells_the_truth(world: &World, at: &str) {
    for row in rows(world) {
        let state = row["state"].as_str().unwrap();
        let keeper = processes(world).iter().any(|words| words.contains(" keeper t "));
        let runs = machine_runs(world);
        match state {
            "running" => {
                assert!(keeper && runs, "{at}: {row}");
                // A crash between the machine's start and its helper's: it is up, and not connected.
                let status = world.bottle(&["status", "--json"]).output().unwrap();
                assert!(status.status.success(), "{at}: {status:?}");
            }
            "stopped" | "ended" => assert!(!keeper && !runs, "{at}: {row}"),
            "broken" => {
                assert!(row["why"].as_str().is_some_and(|why| why.contains("bottle ")), "{at}: {row}");
            }
            other => panic!("{at}: {other}"),
        }
    }
}

/// From whatever a crash left: the truth, a clean-up, a fresh start, and nothing at the end.
fn recovers(world: &World, at: &str) {
    // Whoever lived for the dead process goes, too. One that a machine has adopted stays.
    eventually(&format!("{at}: something goes on"), || machine_runs(world) || processes(world).is_empty());
    tells_the_truth(world, at);
    world.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    for row in rows(world) {
        assert!(["running", "stopped"].contains(&row["state"].as_str().unwrap()), "{at}: {row}");
    }
    if !machine_runs(world) {
        assert_eq!(processes(world), [""; 0], "{at}");
        assert!(!world.path("run/t").exists(), "{at}");
    }
    world.bottle(&["-q", "up"]).assert().success();
    world.bottle(&["-q", "exec", "--", "cat", "file"]).assert().success().stdout("content");
    world.bottle(&["-q", "rm", "--force"]).assert().success();
    assert_eq!(rows(world), [Value::Null; 0], "{at}");
    eventually(&format!("{at}: something is left"), || processes(world).is_empty());
    let left: Vec<_> =
        ["run/t", "run/.copies/t", "state/t"].iter().filter(|name| world.path(name).exists()).collect();
    assert!(left.is_empty(), "{at}: {left:?}");
}

fn world() -> World {
    let world = World::with(CONFIG);
    world.write("file", "content");
    world
}

#[test]
fn up_may_die_anywhere() {
    for step in steps(&["up-", "files-"]) {
        let world = world();
        if step == FailPoint::UpFollowed {
            world.bottle(&["-q", "up"]).assert().success();
            world.bottle(&["-q", "stop"]).assert().success();
            world.write("bottle.toml", &format!("{CONFIG}[supervise]\n"));
        }
        assert!(die(&world, &["up"], step), "{} was not reached", step.name());
        recovers(&world, step.name());
    }
}

#[test]
fn the_keeper_may_die_anywhere() {
    for step in steps(&["keeper-"]) {
        let world = world();
        if step == FailPoint::KeeperStopped {
            world.bottle(&["-q", "up"]).env("BOTTLE_DIE_AFTER", step.name()).assert().success();
            world.bottle(&["-q", "stop"]).assert().success();
        } else {
            // The command sees it go, or has its own work done by then.
            die(&world, &["up"], step);
            eventually(&format!("{} was not reached", step.name()), || {
                let log = fs::read_to_string(world.path("state/t/log/decisions.jsonl")).unwrap_or_default();
                !processes(&world).iter().any(|words| words.contains(" keeper t "))
                    && !log.contains("\"stopped\"")
            });
        }
        recovers(&world, step.name());
    }
}

#[test]
fn run_may_die_anywhere() {
    for step in steps(&["run-", "files-"]) {
        let world = world();
        assert!(die(&world, &["run", "--", "true"], step), "{} was not reached", step.name());
        recovers(&world, step.name());
    }
}

#[test]
fn stop_and_rm_may_die_anywhere() {
    for (words, of) in [(&["stop"][..], &["stop-", "end-"][..]), (&["rm", "--force"], &["rm-", "end-"])] {
        for step in steps(of) {
            let world = world();
            world.bottle(&["-q", "up"]).assert().success();
            assert!(die(&world, words, step), "{} was not reached", step.name());
            recovers(&world, step.name());
        }
    }
}

#[test]
fn there_are_boundaries_enough_and_each_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = FailPoint::ALL.iter().map(|step| step.name()).collect();
    assert!(names.len() == FailPoint::ALL.len() && names.len() >= 30, "{}", names.len());
}

#[test]
fn twenty_bottles_at_once_are_not_mixed_up() {
    const BOTTLES: usize = 20;
    let world = World::new();
    let pages: Vec<Page> = (0..BOTTLES).map(|n| Page::serve(&format!("page {n}")).unwrap()).collect();
    for (n, page) in pages.iter().enumerate() {
        // Out of the guests' reach: a file that one of them could have written is asked about.
        let config = allowing(page).replace("\"t\"", &format!("\"many-{n}\""));
        world.write(&format!("{n}.toml"), &format!("{config}[workspace]\nmode = \"none\"\n"));
    }
    thread::scope(|scope| {
        let lives: Vec<_> = pages
            .iter()
            .enumerate()
            .map(|(n, page)| {
                let world = &world;
                scope.spawn(move || {
                    let (file, slug) = (format!("{n}.toml"), format!("many-{n}"));
                    let bottle = |words: &[&str]| {
                        let mut command = world.bottle(&[&["-q", "-c", &file], words].concat());
                        command.timeout(Duration::from_secs(120));
                        command
                    };
                    bottle(&["up"]).assert().success();
                    let fetch = format!("echo $BOTTLE_SLUG; curl -sS http://page.test:{}/", page.port());
                    bottle(&["exec", "--", "sh", "-c", &fetch])
                        .assert()
                        .success()
                        .stdout(format!("{slug}\npage {n}"));
                })
            })
            .collect();
        lives.into_iter().for_each(|life| life.join().unwrap());
    });
    let all = rows(&world);
    assert!(all.len() == BOTTLES && all.iter().all(|row| row["state"] == "running"), "{all:?}");
    assert!(pages.iter().all(|page| page.asked() == 1));
    thread::scope(|scope| {
        for n in 0..BOTTLES {
            let world = &world;
            scope.spawn(move || {
                let slug = format!("many-{n}");
                let mut rm = world.bottle(&["-q", "rm", "--force", &slug]);
                rm.timeout(Duration::from_secs(120)).assert().success();
            });
        }
    });
    assert_eq!(rows(&world), [Value::Null; 0]);
    eventually("something is left", || processes(&world).is_empty());
}

#[test]
fn of_two_ups_at_once_one_wins_and_the_other_says_who() {
    let world = world();
    let first = world.process(&["-q", "up"]).spawn().unwrap();
    let second = world.process(&["up"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut first, second) = (first, second.wait_with_output().unwrap());
    let first = first.wait().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    match (first.code(), second.status.code()) {
        // Either may come first; the later one may also come when all is done.
        (Some(0), Some(73)) => assert!(said.contains("`bottle up` (process "), "{said}"),
        (Some(0 | 73), Some(0)) => {}
        other => panic!("{other:?}: {said}"),
    }
    world.bottle(&["-q", "exec", "--", "true"]).assert().success();
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}
