//! `bottle run`, with a stand-in guest: what it reaches, and how it ends.

use bottle_harness::page::Page;
use bottle_tests::{World, allowing};
use predicates::prelude::*;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
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

/// What smolvm has, running or not.
fn machines(world: &World) -> serde_json::Value {
    let said = world.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap()
}

/// A run that is refused while its machine boots: nothing of it was run, and nothing of it is left.
fn refused_meanwhile(world: &World, code: i32, why: &str) {
    let before = machines(world);
    let ran = world.path("project/ran");
    let since = Instant::now();
    world
        .bottle(&["-q", "run", "--", "sh", "-c", "touch ran; sleep 60"])
        .assert()
        .code(code)
        .stderr(predicate::str::contains(why));
    assert!(since.elapsed() < Duration::from_secs(20), "it took {:?}", since.elapsed());
    assert!(!ran.exists(), "the guest's command was run");
    assert!(!world.path("run/t").exists());
    assert_eq!(machines(world), before);
}

#[test]
fn a_run_whose_keeper_does_not_come_up_is_taken_down() {
    let config =
        |command: &str| format!("slug = \"t\"\n[supervise]\ncommand = [\"sh\", \"-c\", \"{command}\"]\n");
    let world = World::with(&config("sleep 2; echo no licence; exit 3"));
    refused_meanwhile(&world, 69, "it said last:\n  | no licence");
    world.write("bottle.toml", "slug = \"t\"\n");
    world.bottle(&["-q", "run", "--trust", "--", "touch", "ran"]).assert().success();
    assert!(world.path("project/ran").exists(), "a run that is not refused runs its command");
}

#[test]
fn a_run_does_not_share_its_keeper_with_a_machine_that_nobody_remembers() {
    let world = World::with("slug = \"t\"\n");
    world.write("smolfile.toml", "cpus = 1\nmemory = 256\nnet = false\nvolumes = []\nenv = []\n");
    let (smolfile, socket) =
        (world.path("project/smolfile.toml"), world.path("run/t/guest.sock:/run/bottle.sock"));
    let (smolfile, socket) = (smolfile.to_str().unwrap(), socket.to_str().unwrap());
    let words = [
        "machine",
        "create",
        "--name",
        "bottle-t",
        "--label",
        "bottle=t",
        "--smolfile",
        smolfile,
        "--mount-socket",
        socket,
    ];
    world.tool("smolvm", &words).assert().success();
    refused_meanwhile(&world, 73, "there is a bottle t already");
    world.tool("smolvm", &["machine", "delete", "--name", "bottle-t", "-f"]).assert().success();
    world.run("true");
}

#[test]
fn where_no_namespace_may_be_made_it_is_said_and_nothing_is_left() {
    let world = World::with("slug = \"t\"\n");
    let fake = world.path("bin/bwrap");
    std::fs::write(&fake, "#!/bin/sh\necho 'setting up uid map: Permission denied' >&2; exit 1\n").unwrap();
    std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();
    for words in [["-q", "run", "--", "true"].as_slice(), &["-q", "up"]] {
        world.bottle(words).assert().code(69).stderr(predicate::str::contains(
            "bwrap may not make namespaces here: setting up uid map: Permission denied",
        ));
        assert!(!world.path("run/t").exists());
    }
    std::fs::remove_file(&fake).unwrap();
    world.run("true");
}

fn keeper_runs(world: &World) -> bool {
    let listed = world.bottle(&["ls", "--json"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains("\"ephemeral\"")
}
