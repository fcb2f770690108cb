//! A crash at every fail point: `ls` tells the truth, `cleanup` leaves nothing behind, and a fresh `up`
//! works. Also twenty bottles at once, none mixed up with another.

use bottle_harness::page::Page;
use bottle_harness::processes::naming;
use bottle_host::fail_point::FailPoint;
use bottle_tests::{Project, ProjectExt, allowing, command_line, empty_project, eventually, project_with};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

const CONFIG: &str = "slug = \"t\"\n[workspace]\nmode = \"copy\"\n";
const KILLED: i32 = 9;

/// Returns the fail points whose names begin with one of these prefixes.
fn steps(of: &[&str]) -> Vec<FailPoint> {
    let belongs = |step: &&FailPoint| of.iter().any(|who| step.name().starts_with(who));
    let steps: Vec<FailPoint> = FailPoint::ALL.iter().filter(belongs).copied().collect();
    assert!(!steps.is_empty());
    steps
}

/// Runs `bottle` until a process dies at this fail point, and returns whether it was the command itself.
fn die(project: &Project, words: &[&str], step: FailPoint) -> bool {
    let mut command = project.command(words);
    // No pipe, so that a process left behind blocks nothing.
    command
        .env("BOTTLE_DIE_AFTER", step.name())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().unwrap().signal() == Some(KILLED)
}

/// Returns the command lines of the processes whose arguments or environment name the project's
/// environment.
fn processes(project: &Project) -> Vec<String> {
    let pids = naming(project.environment().folder()).into_iter();
    pids.map(|pid| command_line(pid.into())).collect()
}

fn rows(project: &Project) -> Vec<Value> {
    serde_json::from_value(project.json(&["ls", "--all", "--json"])).unwrap()
}

fn machine_runs(project: &Project) -> bool {
    let said = project.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap();
    let machines: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
    machines.iter().any(|machine| machine["state"] == "running")
}

/// Checks that `ls` tells the truth.
fn check_ls(project: &Project, at: &str) {
    for row in rows(project) {
        let state = row["state"].as_str().unwrap();
        let keeper = processes(project).iter().any(|words| words.contains(" keeper t "));
        let runs = machine_runs(project);
        match state {
            "running" => {
                assert!(keeper && runs, "{at}: {row}");
                // After a crash between the machine's start and its helper's, it is up but not connected.
                let status = project.bottle(&["status", "--json"]).output().unwrap();
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

/// Checks the truth, a clean-up, a fresh start, and that nothing is left, from whatever a crash left.
fn check_recovery(project: &Project, at: &str) {
    // The dead process's children end, too, unless a machine has adopted them. That of a run ends itself.
    eventually(&format!("{at}: something goes on"), || {
        let (runs, is_quiet) = (machine_runs(project), processes(project).is_empty());
        if at.starts_with("run-") { is_quiet && !runs } else { is_quiet || runs }
    });
    check_ls(project, at);
    project.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    for row in rows(project) {
        assert!(["running", "stopped"].contains(&row["state"].as_str().unwrap()), "{at}: {row}");
    }
    if !machine_runs(project) {
        assert_eq!(processes(project), [""; 0], "{at}");
        assert!(!project.on_host("run/t").exists(), "{at}");
    }
    project.bottle(&["-q", "up"]).assert().success();
    project.bottle(&["-q", "exec", "--", "cat", "file"]).assert().success().stdout("content");
    project.bottle(&["-q", "rm", "--force"]).assert().success();
    assert_eq!(rows(project), [Value::Null; 0], "{at}");
    eventually(&format!("{at}: something is left"), || processes(project).is_empty());
    let left: Vec<_> =
        ["run/t", "run/.copies/t", "state/t"].iter().filter(|name| project.on_host(name).exists()).collect();
    assert!(left.is_empty(), "{at}: {left:?}");
}

fn small_project() -> Project {
    let project = project_with(CONFIG);
    project.put("file", "content");
    project
}

#[test]
fn a_crash_anywhere_in_up_is_recoverable() {
    for step in steps(&["up-", "files-"]) {
        let project = small_project();
        if step == FailPoint::UpFollowed {
            project.bottle(&["-q", "up"]).assert().success();
            project.bottle(&["-q", "stop"]).assert().success();
            project.put("bottle.toml", &format!("{CONFIG}[supervise]\n"));
        }
        assert!(die(&project, &["up"], step), "{} was not reached", step.name());
        check_recovery(&project, step.name());
    }
}

#[test]
fn a_crash_anywhere_in_the_keeper_is_recoverable() {
    for step in steps(&["keeper-"]) {
        let project = small_project();
        if step == FailPoint::KeeperStopped {
            project.bottle(&["-q", "up"]).env("BOTTLE_DIE_AFTER", step.name()).assert().success();
            project.bottle(&["-q", "stop"]).assert().success();
        } else {
            // The command notices the death, or has finished by then.
            die(&project, &["up"], step);
            eventually(&format!("{} was not reached", step.name()), || {
                let log =
                    fs::read_to_string(project.on_host("state/t/log/decisions.jsonl")).unwrap_or_default();
                !processes(&project).iter().any(|words| words.contains(" keeper t "))
                    && !log.contains("\"stopped\"")
            });
        }
        check_recovery(&project, step.name());
    }
}

#[test]
fn a_crash_anywhere_in_run_is_recoverable() {
    for step in steps(&["run-", "files-"]) {
        let project = small_project();
        assert!(die(&project, &["run", "--", "true"], step), "{} was not reached", step.name());
        check_recovery(&project, step.name());
    }
}

#[test]
fn a_crash_anywhere_in_stop_or_rm_is_recoverable() {
    for (words, of) in [(&["stop"][..], &["stop-", "end-"][..]), (&["rm", "--force"], &["rm-", "end-"])] {
        for step in steps(of) {
            let project = small_project();
            project.bottle(&["-q", "up"]).assert().success();
            assert!(die(&project, words, step), "{} was not reached", step.name());
            check_recovery(&project, step.name());
        }
    }
}

#[test]
fn fail_points_are_many_and_have_unique_names() {
    let names: BTreeSet<&str> = FailPoint::ALL.iter().map(|step| step.name()).collect();
    assert!(names.len() == FailPoint::ALL.len() && names.len() >= 30, "{}", names.len());
}

#[test]
fn twenty_bottles_at_once_are_not_mixed_up() {
    const BOTTLES: usize = 20;
    let project = empty_project();
    let pages: Vec<Page> = (0..BOTTLES).map(|n| Page::serve(&format!("page {n}")).unwrap()).collect();
    for (n, page) in pages.iter().enumerate() {
        // Without a workspace, so that no guest can write the file and nobody is asked about it.
        let config = allowing(page).replace("\"t\"", &format!("\"many-{n}\""));
        project.put(&format!("{n}.toml"), &format!("{config}[workspace]\nmode = \"none\"\n"));
    }
    thread::scope(|scope| {
        let lives: Vec<_> = pages
            .iter()
            .enumerate()
            .map(|(n, page)| {
                let project = &project;
                scope.spawn(move || {
                    let (file, slug) = (format!("{n}.toml"), format!("many-{n}"));
                    let bottle = |words: &[&str]| {
                        let mut command = project.bottle(&[&["-q", "-c", &file], words].concat());
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
    let all = rows(&project);
    assert!(all.len() == BOTTLES && all.iter().all(|row| row["state"] == "running"), "{all:?}");
    assert!(pages.iter().all(|page| page.connections() == 1));
    thread::scope(|scope| {
        for n in 0..BOTTLES {
            let project = &project;
            scope.spawn(move || {
                let slug = format!("many-{n}");
                let mut rm = project.bottle(&["-q", "rm", "--force", &slug]);
                rm.timeout(Duration::from_secs(120)).assert().success();
            });
        }
    });
    assert_eq!(rows(&project), [Value::Null; 0]);
    eventually("something is left", || processes(&project).is_empty());
}

#[test]
fn of_two_simultaneous_ups_one_wins_and_the_other_names_it() {
    let project = small_project();
    let first = project.command(&["-q", "up"]).spawn().unwrap();
    let second = project.command(&["up"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut first, second) = (first, second.wait_with_output().unwrap());
    let first = first.wait().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    match (first.code(), second.status.code()) {
        // Either may come first, and the later one may come when everything is done.
        (Some(0), Some(73)) => assert!(said.contains("`bottle up` (process "), "{said}"),
        (Some(0 | 73), Some(0)) => {}
        other => panic!("{other:?}: {said}"),
    }
    project.bottle(&["-q", "exec", "--", "true"]).assert().success();
}
