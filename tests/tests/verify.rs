//! `bottle verify`: it finds an isolated bottle isolated, and finds a hole.

use bottle_tests::{
    Project, ProjectExt, RunningBottle, RunningBottleExt, alone, answer, eventually, project_with, up,
    up_with,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Command;

/// An address of the test's own host, from the ranges for documentation.
const HOST: &str = "192.0.2.1";

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

fn verify(project: &Project) -> (Option<i32>, Value) {
    let output = project.bottle(&["-q", "verify", "--json"]).output().unwrap();
    let report = answer(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

#[test]
fn a_bottle_is_isolated_until_somebody_makes_a_hole() {
    if !alone(module_path!(), "a_bottle_is_isolated_until_somebody_makes_a_hole") {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    ip(&["addr", "add", &format!("{HOST}/32"), "dev", "lo"]);
    let project = up("slug = \"t\"\n");

    let (status, report) = verify(&project);
    assert_eq!((status, &report["verdict"]), (Some(0), &Value::from("isolated")), "{report:#}");
    assert!(report["canaries"].as_array().unwrap().iter().any(|canary| canary["name"] == HOST), "{report:#}");
    for half in ["host", "inside"] {
        assert_eq!(report[half]["verdict"], "isolated", "{report:#}");
    }
    assert!(report["host"]["frames"].as_u64().unwrap() > 4 * 65_535, "{report:#}");
    assert!(report["inside"]["attempts"].as_u64().unwrap() > 200, "{report:#}");
    assert!(!project.on_host("state/t/verify.canary").exists());
    let said = project.said(&["-q", "verify"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("from the host: isolated; every TCP and UDP port, "), "{said}");
    assert!(lines[1].starts_with("from inside, the guest's word: isolated; "), "{said}");
    assert!(lines[2].starts_with("t: isolated: nothing answers but the doors (proxy.internal:"), "{said}");

    // Make a hole: a cable from the host into the guest, and a route over it.
    let machines: Value = serde_json::from_slice(
        &project.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap().stdout,
    )
    .unwrap();
    let guest = machines[0]["pid"].to_string();
    ip(&["link", "add", "cable", "type", "veth", "peer", "name", "hole", "netns", &guest]);
    ip(&["addr", "add", "198.51.100.1/30", "dev", "cable"]);
    ip(&["link", "set", "cable", "up"]);
    let inside = |words: &[&str]| {
        let entered = ["-t", &guest, "--net", "ip"];
        assert!(Command::new("nsenter").args(entered).args(words).status().unwrap().success(), "{words:?}");
    };
    inside(&["addr", "add", "198.51.100.2/30", "dev", "hole"]);
    inside(&["link", "set", "hole", "up"]);
    inside(&["route", "add", HOST, "via", "198.51.100.1"]);
    let (status, report) = verify(&project);
    assert_eq!((status, &report["verdict"]), (Some(1), &Value::from("leaks")), "{report:#}");
    let has = |half: &str, start: &str| {
        let leaks = report[half]["leaks"].as_array().unwrap();
        leaks.iter().any(|found| found.as_str().unwrap().starts_with(start))
    };
    // The guest reports it, and a canary on the host has seen it.
    assert!(has("inside", &format!("tcp canary {HOST}: ")), "{report:#}");
    assert!(has("inside", &format!("udp canary {HOST}: ")), "{report:#}");
    assert!(has("host", &format!("canary {HOST} was reached")), "{report:#}");
    assert_eq!(report["by_the_guests_word"], false, "{report:#}");

    inside(&["route", "del", HOST]);
    inside(&["link", "set", "hole", "down"]);

    // A bottle with a frozen keeper shows nothing either way.
    let keeper = Pid::from_raw(project.keeper().try_into().unwrap()).unwrap();
    kill_process(keeper, Signal::STOP).unwrap();
    let (status, report) = verify(&project);
    kill_process(keeper, Signal::CONT).unwrap();
    assert_eq!(report["verdict"], "inconclusive", "{report:#}");
    assert_eq!(report["inside"], Value::Null, "{report:#}");
    assert_eq!(status, Some(75));
    project.bottle(&["-q", "rm", "--force"]).assert().success();
    project.bottle(&["-q", "verify"]).assert().code(66);
}

/// Brings up a bottle whose keeper lacks these walls.
fn without(walls: &str, config: &str) -> RunningBottle {
    let project = project_with(&format!("slug = \"t\"\n{config}"));
    let variables = [("BOTTLE_WITHOUT", walls)];
    up_with(project, if walls.is_empty() { &[] } else { &variables })
}

fn from_host(project: &Project) -> (Option<i32>, Value) {
    let output = project.bottle(&["-q", "verify", "--host-only", "--json"]).output().unwrap();
    let report =
        answer(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["inside"], Value::Null);
    (output.status.code(), report)
}

fn leaks(report: &Value) -> Vec<&str> {
    report["host"]["leaks"].as_array().unwrap().iter().map(|leak| leak.as_str().unwrap()).collect()
}

#[test]
fn the_host_alone_finds_each_network_stack_isolated() {
    for stack in ["gvproxy", "sockets"] {
        let project = without("", &format!("[network]\nstack = \"{stack}\"\n[supervise]\n"));
        // A run does not get in the way of the next one.
        for _ in 0..3 {
            let (status, report) = from_host(&project);
            assert_eq!(status, Some(0), "{stack}: {report:#}");
            assert_eq!(report["host"]["doors"].as_array().unwrap().len(), 2, "{stack}: {report:#}");
            assert_eq!(report["host"]["hangs"], 0, "{stack}: {report:#}");
            assert!(report["host"]["seconds"].as_f64().unwrap() < 10.0, "{stack}: {report:#}");
        }
    }
}

#[test]
fn without_the_guard_the_host_reports_what_passed() {
    let project = without("guard", "");
    let (status, report) = from_host(&project);
    assert_eq!((status, &report["verdict"]), (Some(1), &Value::from("leaks")), "{report:#}");
    let leaks = leaks(&report);
    for start in ["tcp gateway ", "udp proxy ", "dns ", "IPv6 passed", "VLAN passed", "from loopback passed"]
    {
        assert!(leaks.iter().any(|leak| leak.starts_with(start)), "{start}: {leaks:#?}");
    }
    // The second wall holds: no canary on this machine was reached.
    assert!(!leaks.iter().any(|leak| leak.starts_with("canary ")), "{leaks:#?}");
}

#[test]
fn without_either_wall_the_canaries_see_the_guest() {
    if !alone(module_path!(), "without_either_wall_the_canaries_see_the_guest") {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    ip(&["addr", "add", &format!("{HOST}/32"), "dev", "lo"]);
    let project = without("guard,jail", "");
    let (status, report) = from_host(&project);
    assert_eq!((status, &report["verdict"]), (Some(1), &Value::from("leaks")), "{report:#}");
    let leaks = leaks(&report);
    for canary in ["127.0.0.1", HOST] {
        let start = format!("canary {canary} was reached");
        assert!(leaks.iter().any(|leak| leak.starts_with(&start)), "{canary}: {leaks:#?}");
    }
    assert!(leaks.iter().any(|leak| leak.ends_with("answered, but is not a door")), "{leaks:#?}");
}

#[test]
fn without_the_jail_the_guard_holds() {
    if !alone(module_path!(), "without_the_jail_the_guard_holds") {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    let project = without("jail", "");
    let (status, report) = from_host(&project);
    assert_eq!((status, &report["verdict"]), (Some(0), &Value::from("isolated")), "{report:#}");
}

#[test]
fn a_guest_that_floods_or_has_no_helper_cannot_cause_a_false_leak() {
    let project = without("", "");
    let plan = std::fs::read(project.on_host("state/t/plan.json")).unwrap();
    let port = serde_json::from_slice::<Value>(&plan).unwrap()["doors"]["pipelock"].as_u64().unwrap();
    // The guest sends frames with the ports that the examination uses.
    let connect = format!(
        "import socket\nwhile True:\n  for port in range(61440, 65536):\n    s = socket.socket()\n    s.setblocking(False)\n    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n    try:\n      s.bind((\"\", port))\n      s.connect_ex((\"proxy.internal\", {port}))\n    except OSError: pass\n    s.close()\n"
    );
    let write = ["-q", "exec", "--", "sh", "-c", "cat > flood.py"];
    project.bottle(&write).write_stdin(connect).assert().success();
    let start = "setsid timeout 60 /usr/bin/python3 /workspace/flood.py > /dev/null 2>&1 < /dev/null &";
    project.bottle(&["-q", "exec", "--", "sh", "-c", start]).assert().success();
    let (status, report) = from_host(&project);
    // At most it can keep the doors from answering.
    assert_ne!(status, Some(1), "{report:#}");
    assert_eq!(report["host"]["leaks"], Value::Array(Vec::new()), "{report:#}");
    let _ = project.bottle(&["-q", "exec", "--", "sh", "-c", "kill -9 $(pidof python3)"]).output();

    // Without a helper the walls and the doors are still there.
    kill_helper(&project);
    // With gvproxy, the ports that the guest has just used may be unusable for a minute.
    let (status, report) = from_host(&project);
    assert_ne!(status, Some(1), "{report:#}");
    // The witness: a guest that was quiet before it lost its helper.
    let quiet = up("slug = \"quiet\"\n");
    kill_helper(&quiet);
    let (status, report) = from_host(&quiet);
    assert_eq!(status, Some(0), "{report:#}");
}

fn kill_helper(running: &RunningBottle) {
    let kill = "for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in */bottle-guest) pid=${exe#/proc/}; kill -9 ${pid%/exe};; esac; done; :";
    running.exec(kill).success();
    eventually("the helper is gone", || running.json(&["status", "--json"])["guest"] == false);
}
