//! The conformance check with a stand-in guest; and that it finds what there is to find.

use bottle_harness::place::Place;
use serde_json::Value;
use std::process::{Command, Output};

fn conformance(words: &[&str]) -> Output {
    let place = Place::find().expect("a built checkout: run `make build`");
    let program = place.program("bottle-harness").unwrap();
    Command::new(program).arg("conformance").args(words).output().unwrap()
}

#[test]
fn bottle_and_each_wall_alone_isolate_and_the_control_leaks_and_sabotage_is_found() {
    let output = conformance(&[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let path = Place::find().unwrap().root().join("target/conformance");
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(path.join("report.json")).unwrap()).unwrap();
    let verdicts: Vec<(&str, &str)> = report["subjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subject| (subject["subject"].as_str().unwrap(), subject["verdict"].as_str().unwrap()))
        .collect();
    let wanted =
        [("bottle", "isolated"), ("guard-only", "isolated"), ("jail-only", "isolated"), ("neither", "leaks")];
    assert_eq!(verdicts, wanted);
    // Every port was tried, and the one door is what answered.
    let bottle = &report["subjects"][0];
    let sweep =
        bottle["probes"].as_array().unwrap().iter().find(|probe| probe["id"] == "tcp proxy 1-65535").unwrap();
    assert_eq!(sweep["accepted"], bottle["doors"]);
    assert_eq!(sweep["refused"].as_u64().unwrap() + 1, 65_535);
    assert_eq!(bottle["hangs"], 0);
    let page = std::fs::read_to_string(path.join("report.html")).unwrap();
    assert!(page.contains("class=strip") && page.contains("<td class=leaks>leaks"));

    // With both walls taken away from bottle, the check goes red and says what was reached.
    let output = conformance(&["--sabotage"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not as it must be: bottle") && said.contains("leaks"), "{said}");
}
