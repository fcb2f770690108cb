//! `bottle run`, with a stand-in guest: what it reaches, and how it ends.

use bottle_harness::page::Page;
use bottle_tests::{World, allowing};
use predicates::prelude::*;
use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A run that has started and sleeps.
fn sleeping(world: &World) -> Child {
    let mut command = world.process(&["-q", "run", "--", "sh", "-c", "echo up; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn an_allowed_page_comes_through_the_proxy_and_nothing_else_does() {
    let (page, secret) = (Page::serve("the page").unwrap(), Page::serve("the secret").unwrap());
    let world = World::with(&allowing(&page));
    let said = world.run(&format!(
        "curl -sS http://page.test:{0}/; echo; curl -sSp http://page.test:{0}/ -p; echo
         curl -sS -o /dev/null -w '%{{http_code}}\\n' http://other.test/
         for url in http://proxy.internal:{1}/ http://192.168.127.1/ http://192.168.127.1:53/ http://127.0.0.1:{1}/ http://192.0.2.1/; do
             curl -sS -x '' -m 5 -o /dev/null $url 2>&1 | grep -o 'curl: ([0-9]*)'
         done
         getent hosts proxy.internal; getent hosts page.test || echo no such name",
        page.port(),
        secret.port()
    ));
    let refused = "curl: (7)\n".repeat(5);
    assert_eq!(
        said,
        format!("the page\nthe page\n403\n{refused}192.168.127.254 proxy.internal\nno such name\n")
    );
    assert_eq!((page.asked(), secret.asked()), (2, 0));
}

#[test]
fn the_commands_exit_status_and_its_streams_are_passed_on() {
    let world = World::new();
    world.bottle(&["-q", "run", "--", "sh", "-c", "exit 7"]).assert().code(7);
    world.bottle(&["-q", "run", "--", "no-such-program"]).assert().code(127);
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let echoed = world.bottle(&["-q", "run", "--", "cat"]).write_stdin(binary.clone()).output().unwrap();
    assert_eq!(echoed.stdout, binary);
    world
        .bottle(&["-q", "run", "--", "sh", "-c", "echo out; echo err >&2"])
        .assert()
        .success()
        .stdout("out\n")
        .stderr(predicate::str::ends_with("err\n"));
}

#[test]
fn nothing_is_left_after_a_run_however_it_ends() {
    let world = World::with("slug = \"t\"\n");
    world.run("true");
    assert!(!world.path("run/t").exists());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut child = sleeping(&world);
        let pid = rustix::process::Pid::from_child(&child);
        let since = Instant::now();
        rustix::process::kill_process(pid, signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(128 + signal.as_raw()));
        assert!(since.elapsed() < Duration::from_secs(10), "teardown took {:?}", since.elapsed());
        assert!(!world.path("run/t").exists());
        assert!(!keeper_runs(&world));
    }
}

#[test]
fn a_run_that_is_killed_takes_its_keeper_and_its_guest_along() {
    let world = World::with("slug = \"t\"\n");
    let mut child = sleeping(&world);
    assert!(keeper_runs(&world));
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while keeper_runs(&world) {
        assert!(Instant::now() < end, "the keeper outlives its run");
        thread::sleep(Duration::from_millis(20));
    }
    world.bottle(&["cleanup", "--yes"]).assert().success();
    world.run("true");
}

#[test]
fn two_runs_of_one_name_do_not_mix() {
    let world = World::with("slug = \"t\"\n");
    let mut child = sleeping(&world);
    world.bottle(&["run", "--", "true"]).assert().code(73);
    world.bottle(&["-q", "run", "other", "--", "true"]).assert().success();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    child.wait().unwrap();
}

fn keeper_runs(world: &World) -> bool {
    let listed = world.bottle(&["ls", "--json"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains("\"ephemeral\"")
}
