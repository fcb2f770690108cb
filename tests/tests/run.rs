//! `bottle run`: what it reaches, and how it ends.

use bottle_harness::page::Page;
use bottle_tests::{Project, ProjectExt, allowing, empty_project, project_with};
use predicates::prelude::*;
use predicates::str::contains;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Lets the guest write to the project itself.
const WRITABLE: &str = "slug = \"t\"\n[workspace]\nmode = \"read-write\"\n";

/// Starts a run that sleeps, and waits until it does.
fn sleeping(project: &Project) -> Child {
    let mut command = project.command(&["-q", "run", "--", "sh", "-c", "echo up; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn only_an_allowed_page_comes_through_the_proxy() {
    let (page, secret) = (Page::serve("the page").unwrap(), Page::serve("the secret").unwrap());
    let project = project_with(&allowing(&page));
    let said = project.run_script(&format!(
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
    assert_eq!((page.connections(), secret.connections()), (2, 0));
}

#[test]
fn every_byte_passes_through_a_run_unchanged() {
    let project = empty_project();
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let echoed = project.bottle(&["-q", "run", "--", "cat"]).write_stdin(binary.clone()).output().unwrap();
    assert_eq!(echoed.stdout, binary);
}

#[test]
fn nothing_is_left_after_a_run_however_it_ends() {
    let project = project_with("slug = \"t\"\n");
    project.run_script("true");
    assert!(!project.on_host("run/t").exists());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut child = sleeping(&project);
        let pid = rustix::process::Pid::from_child(&child);
        let since = Instant::now();
        rustix::process::kill_process(pid, signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(128 + signal.as_raw()));
        assert!(since.elapsed() < Duration::from_secs(10), "teardown took {:?}", since.elapsed());
        assert!(!project.on_host("run/t").exists());
        assert!(!keeper_runs(&project));
    }
}

#[test]
fn the_keeper_and_guest_of_a_killed_run_end_with_it() {
    let project = project_with("slug = \"t\"\n");
    let mut child = sleeping(&project);
    assert!(keeper_runs(&project));
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while keeper_runs(&project) {
        assert!(Instant::now() < end, "the keeper outlives its run");
        thread::sleep(Duration::from_millis(20));
    }
    project.bottle(&["cleanup", "--yes"]).assert().success();
    project.run_script("true");
}

#[test]
fn a_second_run_is_beside_the_first_and_one_of_the_same_name_is_refused() {
    let project = project_with("slug = \"t\"\n");
    let mut child = sleeping(&project);
    project.bottle(&["run", "t", "--", "true"]).assert().code(73);
    let beside = project.bottle(&["run", "--", "hostname"]).assert().success();
    beside.stderr(contains("this runs beside it, as t-2"));
    assert!(project.json(&["ls", "--json"]).as_array().unwrap().iter().all(|bottle| bottle["slug"] != "t-2"));
    project.bottle(&["-q", "run", "other", "--", "true"]).assert().success();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    child.wait().unwrap();
    project.bottle(&["-q", "up"]).assert().success();
    let named = project.bottle(&["run", "t", "--", "true"]).assert().code(73);
    named.stderr(contains("`bottle exec t -- COMMAND`").and(contains("`bottle run t-2 -- COMMAND`")));
    project.bottle(&["run", "--", "true"]).assert().success().stderr(contains("as t-2"));
    project.bottle(&["-q", "rm", "--force", "t"]).assert().success();
}

/// Returns smolvm's machines, running or not.
fn machines(project: &Project) -> serde_json::Value {
    let said = project.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap()
}

/// Checks that a run is refused while its machine boots, that its command did not run, and that nothing is
/// left.
fn refused_meanwhile(project: &Project, code: i32, why: &str) {
    let before = machines(project);
    let ran = project.path("ran");
    let since = Instant::now();
    project
        .bottle(&["-q", "run", "--", "sh", "-c", "touch ran; sleep 60"])
        .assert()
        .code(code)
        .stderr(contains(why));
    assert!(since.elapsed() < Duration::from_secs(20), "it took {:?}", since.elapsed());
    assert!(!ran.exists(), "the guest's command was run");
    assert!(!project.on_host("run/t").exists());
    assert_eq!(machines(project), before);
}

#[test]
fn a_run_is_removed_if_its_keeper_does_not_start() {
    let config =
        |command: &str| format!("{WRITABLE}[supervise]\ncommand = [\"sh\", \"-c\", \"{command}\"]\n");
    let project = project_with(&config("sleep 2; echo no licence; exit 3"));
    refused_meanwhile(&project, 69, "it said last:\n  | no licence");
    project.put("bottle.toml", WRITABLE);
    project.bottle(&["-q", "run", "--trust", "--", "touch", "ran"]).assert().success();
    assert!(project.path("ran").exists(), "a run that is not refused runs its command");
}

#[test]
fn a_run_is_refused_if_an_unknown_machine_has_its_name() {
    let project = project_with(WRITABLE);
    project.put("smolfile.toml", "cpus = 1\nmemory = 256\nnet = false\nvolumes = []\nenv = []\n");
    let (smolfile, socket) =
        (project.path("smolfile.toml"), project.on_host("run/t/guest.sock:/run/bottle.sock"));
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
    project.tool("smolvm", &words).assert().success();
    refused_meanwhile(&project, 73, "there is a bottle t already");
    project.tool("smolvm", &["machine", "delete", "--name", "bottle-t", "-f"]).assert().success();
    project.run_script("true");
}

#[test]
fn without_permission_for_namespaces_a_run_is_refused_and_leaves_nothing() {
    let project = project_with("slug = \"t\"\n");
    let fake = project.on_host("bin/bwrap");
    std::fs::write(&fake, "#!/bin/sh\necho 'setting up uid map: Permission denied' >&2; exit 1\n").unwrap();
    std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();
    for words in [["-q", "run", "--", "true"].as_slice(), &["-q", "up"]] {
        project.bottle(words).assert().code(69).stderr(contains(
            "bwrap is not allowed to make namespaces here: setting up uid map: Permission denied",
        ));
        assert!(!project.on_host("run/t").exists());
    }
    std::fs::remove_file(&fake).unwrap();
    project.run_script("true");
}

fn keeper_runs(project: &Project) -> bool {
    project.said(&["ls", "--json"]).contains("\"ephemeral\"")
}
