//! `bottle verify`, with a stand-in guest in a network of the test's own: what is isolated is found
//! so, and a hole that somebody made is found.

use bottle_tests::{World, alone};
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
    assert!(report["attempts"].as_u64().unwrap() > 200, "{report:#}");
    assert!(!world.path("state/t/verify.canary").exists());
    let said = world.bottle(&["-q", "verify"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.starts_with("t: isolated: nothing answers but the doors (proxy.internal:"), "{said}");

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
    let leaks = report["leaks"].as_array().unwrap();
    for leak in
        [format!("tcp canary {HOST}: "), format!("udp canary {HOST}: "), format!("canary {HOST} was reached")]
    {
        assert!(leaks.iter().any(|found| found.as_str().unwrap().starts_with(&leak)), "{leak}: {report:#}");
    }

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
    assert_eq!(status, Some(75));
    world.bottle(&["-q", "rm", "--force"]).assert().success();
    world.bottle(&["-q", "verify"]).assert().code(66);
}
