//! `bottle verify`, with a stand-in guest in a network of the test's own: what is isolated is found
//! so, and a hole that somebody made is found.

use bottle_tests::{World, alone, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Command;

/// An address of this network's host, from the ranges for documentation.
const HOST: &str = "192.0.2.1";

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

fn verify(world: &World) -> (Option<i32>, Value) {
    let output = world.bottle(&["-q", "verify", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&said);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

#[test]
fn a_bottle_is_isolated_until_somebody_makes_a_hole() {
    if !alone("a_bottle_is_isolated_until_somebody_makes_a_hole") {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    ip(&["addr", "add", &format!("{HOST}/32"), "dev", "lo"]);
    let world = World::with("slug = \"t\"\n");
    world.bottle(&["-q", "up"]).assert().success();

    let (status, report) = verify(&world);
    assert_eq!((status, &report["verdict"]), (Some(0), &Value::from("isolated")), "{report:#}");
    assert!(report["canaries"].as_array().unwrap().iter().any(|canary| canary["name"] == HOST), "{report:#}");
    for half in ["host", "inside"] {
        assert_eq!(report[half]["verdict"], "isolated", "{report:#}");
    }
    assert!(report["host"]["frames"].as_u64().unwrap() > 4 * 65_535, "{report:#}");
    assert!(report["inside"]["attempts"].as_u64().unwrap() > 200, "{report:#}");
    assert!(!world.path("state/t/verify.canary").exists());
    let said = world.bottle(&["-q", "verify"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("from the host: isolated; every TCP and UDP port, "), "{said}");
    assert!(lines[1].starts_with("from inside, the guest's word: isolated; "), "{said}");
    assert!(lines[2].starts_with("t: isolated: nothing answers but the doors (proxy.internal:"), "{said}");

    // A cable from the host into the guest, and a route over it.
    let machines: Value =
        serde_json::from_slice(&world.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap().stdout)
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
    let (status, report) = verify(&world);
    assert_eq!((status, &report["verdict"]), (Some(1), &Value::from("leaks")), "{report:#}");
    let has = |half: &str, start: &str| {
        let leaks = report[half]["leaks"].as_array().unwrap();
        leaks.iter().any(|found| found.as_str().unwrap().starts_with(start))
    };
    // The guest says so, and a canary on the host saw it.
    assert!(has("inside", &format!("tcp canary {HOST}: ")), "{report:#}");
    assert!(has("inside", &format!("udp canary {HOST}: ")), "{report:#}");
    assert!(has("host", &format!("canary {HOST} was reached")), "{report:#}");
    assert_eq!(report["by_the_guests_word"], false, "{report:#}");

    inside(&["route", "del", HOST]);
    inside(&["link", "set", "hole", "down"]);

    // A bottle whose keeper is frozen says nothing either way.
    let status = world.bottle(&["status", "--json"]).output().unwrap();
    let keeper = serde_json::from_slice::<Value>(&status.stdout).unwrap()["pid"].as_i64().unwrap();
    let keeper = Pid::from_raw(i32::try_from(keeper).unwrap()).unwrap();
    kill_process(keeper, Signal::STOP).unwrap();
    let (status, report) = verify(&world);
    kill_process(keeper, Signal::CONT).unwrap();
    assert_eq!(report["verdict"], "inconclusive", "{report:#}");
    assert_eq!(report["inside"], Value::Null, "{report:#}");
    assert_eq!(status, Some(75));
    world.bottle(&["-q", "rm", "--force"]).assert().success();
    world.bottle(&["-q", "verify"]).assert().code(66);
}

/// A bottle that is up, without these walls. They are taken away from its keeper alone.
fn without(walls: &str, config: &str) -> World {
    let world = World::with(&format!("slug = \"t\"\n{config}"));
    let mut up = world.bottle(&["-q", "up"]);
    if !walls.is_empty() {
        up.env("BOTTLE_WITHOUT", walls);
    }
    up.assert().success();
    world
}

fn from_host(world: &World) -> (Option<i32>, Value) {
    let output = world.bottle(&["-q", "verify", "--host-only", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["inside"], Value::Null);
    (output.status.code(), report)
}

fn leaks(report: &Value) -> Vec<&str> {
    report["host"]["leaks"].as_array().unwrap().iter().map(|leak| leak.as_str().unwrap()).collect()
}

#[test]
fn each_network_stack_is_found_isolated_from_the_host_alone() {
    for stack in ["gvproxy", "kernel"] {
        let world = without("", &format!("[network]\nstack = \"{stack}\"\n[supervise]\n"));
        // Again and again: what one run leaves behind is in no other one's way.
        for _ in 0..3 {
            let (status, report) = from_host(&world);
            assert_eq!(status, Some(0), "{stack}: {report:#}");
            assert_eq!(report["host"]["doors"].as_array().unwrap().len(), 2, "{stack}: {report:#}");
            assert_eq!(report["host"]["hangs"], 0, "{stack}: {report:#}");
            assert!(report["host"]["seconds"].as_f64().unwrap() < 10.0, "{stack}: {report:#}");
        }
        world.bottle(&["-q", "rm", "--force"]).assert().success();
    }
}

#[test]
fn without_the_guard_the_host_says_what_passed() {
    let world = without("guard", "");
    let (status, report) = from_host(&world);
    assert_eq!((status, &report["verdict"]), (Some(1), &Value::from("leaks")), "{report:#}");
    let leaks = leaks(&report);
    for start in ["tcp gateway ", "udp proxy ", "dns ", "IPv6 passed", "VLAN passed", "from loopback passed"]
    {
        assert!(leaks.iter().any(|leak| leak.starts_with(start)), "{start}: {leaks:#?}");
    }
    // The second wall holds: nothing on this machine saw any of it.
    assert!(!leaks.iter().any(|leak| leak.starts_with("canary ")), "{leaks:#?}");
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}

#[test]
fn without_either_wall_the_canaries_see_it() {
    if !alone("without_either_wall_the_canaries_see_it") {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    ip(&["addr", "add", &format!("{HOST}/32"), "dev", "lo"]);
    let world = without("guard,jail", "");
    let (status, report) = from_host(&world);
    assert_eq!((status, &report["verdict"]), (Some(1), &Value::from("leaks")), "{report:#}");
    let leaks = leaks(&report);
    for canary in ["127.0.0.1", HOST] {
        let start = format!("canary {canary} was reached");
        assert!(leaks.iter().any(|leak| leak.starts_with(&start)), "{canary}: {leaks:#?}");
    }
    assert!(leaks.iter().any(|leak| leak.ends_with("answered, and is no door")), "{leaks:#?}");
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}

#[test]
fn without_the_second_wall_the_first_one_holds() {
    if !alone("without_the_second_wall_the_first_one_holds") {
        return;
    }
    ip(&["link", "set", "lo", "up"]);
    let world = without("jail", "");
    let (status, report) = from_host(&world);
    assert_eq!((status, &report["verdict"]), (Some(0), &Value::from("isolated")), "{report:#}");
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}

#[test]
fn a_guest_that_is_not_connected_or_floods_is_in_nobodys_way() {
    let world = without("", "");
    let plan = std::fs::read(world.path("state/t/plan.json")).unwrap();
    let port = serde_json::from_slice::<Value>(&plan).unwrap()["doors"]["pipelock"].as_u64().unwrap();
    // Frames of the guest's with the ports that an examination has, and a download beside it.
    let connect = format!(
        "import socket\nwhile True:\n  for port in range(61440, 65536):\n    s = socket.socket()\n    s.setblocking(False)\n    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n    try:\n      s.bind((\"\", port))\n      s.connect_ex((\"proxy.internal\", {port}))\n    except OSError: pass\n    s.close()\n"
    );
    world.write("flood.py", &connect);
    let start = "setsid timeout 60 /usr/bin/python3 /workspace/flood.py > /dev/null 2>&1 < /dev/null &";
    world.bottle(&["-q", "exec", "--", "sh", "-c", start]).assert().success();
    let (status, report) = from_host(&world);
    // It can at most keep the doors from answering.
    assert_ne!(status, Some(1), "{report:#}");
    assert_eq!(report["host"]["leaks"], Value::Array(Vec::new()), "{report:#}");
    let _ = world.bottle(&["-q", "exec", "--", "sh", "-c", "kill -9 $(pidof python3)"]).output();

    // No guest at all: the walls are there, and the doors.
    let kill = "for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in */bottle-guest) pid=${exe#/proc/}; kill -9 ${pid%/exe};; esac; done; :";
    world.bottle(&["-q", "exec", "--", "sh", "-c", kill]).assert().success();
    eventually("the helper is gone", || {
        let status = world.bottle(&["status", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&status.stdout).unwrap()["guest"] == false
    });
    // Ports that the guest has just used may be dead for a minute with gvproxy, as they are for it.
    let (status, report) = from_host(&world);
    assert_ne!(status, Some(1), "{report:#}");
    let quiet = without_guest();
    let (status, report) = from_host(&quiet);
    assert_eq!(status, Some(0), "{report:#}");
    for world in [world, quiet] {
        world.bottle(&["-q", "rm", "--force"]).assert().success();
    }
}

/// A bottle whose guest has lost its helper, and was quiet before.
fn without_guest() -> World {
    let world = World::with("slug = \"quiet\"\n");
    world.bottle(&["-q", "up"]).assert().success();
    world
        .bottle(&[
            "-q",
            "exec",
            "--",
            "sh",
            "-c",
            "for pid in $(pidof bottle-guest); do kill -9 $pid; done; :",
        ])
        .assert()
        .success();
    eventually("the helper is gone", || {
        let status = world.bottle(&["status", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&status.stdout).unwrap()["guest"] == false
    });
    world
}
