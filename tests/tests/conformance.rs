//! The conformance check with stand-in guests, that it finds a hole, and its page.

use bottle_tests::checkout;
use serde_json::Value;
use std::fs;
use std::process::{Command, Output};

/// How many attacks every run makes at least.
const LEAST_ATTACKS: usize = 60;

fn conformance(words: &[&str]) -> Output {
    let program = checkout().program("bottle-harness").unwrap();
    Command::new(program).args(["conformance", "--guest", "namespace"]).args(words).output().unwrap()
}

/// Checks that every port was tried, by TCP and by hand, and that only the one door answered.
fn every_port_was_tried(bottle: &Value) {
    for way in ["tcp proxy 1-65535", "syn proxy 1-65535"] {
        let sweep = bottle["probes"].as_array().unwrap().iter().find(|probe| probe["id"] == way).unwrap();
        assert_eq!(sweep["accepted"], bottle["doors"], "{way}");
        assert_eq!(sweep["refused"].as_u64().unwrap() + 1, 65_535, "{way}");
    }
    for whom in ["gateway", "proxy"] {
        let id = format!("udp {whom} 1-65535");
        let sweep = bottle["probes"].as_array().unwrap().iter().find(|probe| probe["id"] == id).unwrap();
        assert!(sweep["refused"].as_u64().unwrap() >= 65_534, "{sweep}");
    }
    assert_eq!(bottle["hangs"], 0);
}

#[test]
fn every_network_gives_the_expected_result_and_sabotage_is_found() {
    let output = conformance(&["--quick"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let folder = checkout().root().join("target/conformance");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("report.json")).unwrap()).unwrap();
    let verdicts: Vec<(&str, &str)> = report["subjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subject| (subject["subject"].as_str().unwrap(), subject["verdict"].as_str().unwrap()))
        .collect();
    let wanted = [
        ("bottle", "isolated"),
        ("sockets", "isolated"),
        ("sockets-by-hand", "isolated"),
        ("published", "isolated"),
        ("by-hand", "isolated"),
        ("guard-only", "isolated"),
        ("jail-only", "isolated"),
        ("keeper-dies", "isolated"),
        ("gvproxy-dies", "isolated"),
        ("sidecar-dies", "isolated"),
        ("neither", "leaks"),
    ];
    assert_eq!(verdicts, wanted);
    every_port_was_tried(&report["subjects"][0]);
    let ways = report["ways_back"].as_array().unwrap();
    assert!(ways.len() >= LEAST_ATTACKS, "{} attacks", ways.len());
    assert!(
        said.contains(&format!("ways-back: {0} attacks, {0} held, {0} witnesses seen", ways.len())),
        "{said}"
    );
    browse(&fs::read_to_string(folder.join("report.html")).unwrap());

    // Without both walls, the check fails and reports what was reached.
    let output = conformance(&["--only", "bottle", "--sabotage"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("unexpected: bottle") && said.contains("leaks"), "{said}");
}

/// A script with which the page measures itself in a browser, and puts the result into its title.
const MEASURE: &str = "<script>
const all = (selector) => [...document.querySelectorAll(selector)];
const color = (selector) => new Set(all(selector).map((e) => getComputedStyle(e).backgroundColor));
document.title = JSON.stringify({
  cells: all('.matrix td').length,
  reached: all('.matrix td.reached').length,
  red: [...color('.matrix td.reached > i')],
  green: [...color('.matrix td.door > i')],
  strips: all('.strip').map((e) => Math.round(e.getBoundingClientRect().width)),
  doors: all('.strip i.door').length,
  open: all('.strip i.open').length,
  overflow: document.documentElement.scrollWidth > innerWidth,
});
</script>";

fn browse(page: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    fs::write(&path, format!("{page}{MEASURE}")).unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--disable-component-update", "--disable-sync", "--window-size=1200,900", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .expect("chromium: run `make setup`");
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    let measured: Value = serde_json::from_str(title.expect(&dom)).expect("the page measured itself");
    // Seventeen destinations, eleven networks. Only the control reached anything.
    assert_eq!(measured["cells"], 17 * 11, "{measured}");
    assert!(measured["reached"].as_u64().unwrap() >= 4, "{measured}");
    assert_eq!(measured["red"], serde_json::json!(["rgb(179, 20, 44)"]), "{measured}");
    assert_eq!(measured["green"], serde_json::json!(["rgb(17, 99, 41)"]), "{measured}");
    assert!(
        measured["strips"].as_array().unwrap().iter().all(|width| width.as_u64() > Some(500)),
        "{measured}"
    );
    assert!(measured["doors"].as_u64().unwrap() >= 2, "{measured}");
    assert_eq!(
        (&measured["open"], &measured["overflow"]),
        (&Value::from(0), &Value::from(false)),
        "{measured}"
    );
}
