//! Tests of logs as they are written, and of what the check says about them.

use super::check::{Chain, Checked, check};
use super::decisions::{Decisions, LastDecision};
use super::log::{KEPT, Log, SEGMENT};
use super::segments::{aside, number, segments};
use serde_json::{Map, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;

const LIMIT: u64 = 1500;

fn line(log: &mut Log, number: u32) {
    log.append("test", "line", &Map::from_iter([("number".to_owned(), number.into())])).unwrap();
}

fn checked(path: &Path) -> Chain {
    check(path, &path.with_file_name("decisions.jsonl")).unwrap()
}

fn whole(path: &Path) -> Checked {
    match checked(path) {
        Chain::Whole(checked) => checked,
        broken @ Chain::Broken { .. } => panic!("{broken:?}"),
    }
}

#[test]
fn the_chain_goes_on_through_files_that_are_put_aside_and_what_was_dropped_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut gone = None;
    for number in 0..250 {
        // Open the log anew each time: a keeper that is restarted continues the chain.
        line(&mut Log::open(&path, LIMIT).unwrap(), number);
        gone = whole(&path).gone;
    }
    let older = segments(&path).unwrap();
    assert_eq!(older.len(), KEPT);
    assert!(!aside(&path, 1).exists());
    let files = older.iter().chain([&path]);
    let text: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let left = text.concat().matches("\"event\":\"line\"").count();
    let begun = usize::try_from(number(&path, older.last().unwrap()).unwrap()).unwrap();
    let gone = gone.unwrap();
    // Every line is either there or known to be gone: ours, and one per file except the first.
    let lines = whole(&path).lines;
    assert_eq!(usize::try_from(gone.lines).unwrap() + lines, 250 + begun);
    assert!(left < 250 && gone.from_ms > 0 && gone.from_ms <= gone.until_ms, "{gone:?}");
    assert!(older.iter().all(|path| fs::metadata(path).unwrap().len() <= LIMIT));

    // A missing file in the middle is detected, and so is a swapped one.
    let middle = fs::read(&older[5]).unwrap();
    fs::remove_file(&older[5]).unwrap();
    assert!(matches!(checked(&path), Chain::Broken { .. }));
    fs::write(&older[5], fs::read(&older[4]).unwrap()).unwrap();
    assert!(matches!(checked(&path), Chain::Broken { .. }));
    fs::write(&older[5], middle).unwrap();
    assert_eq!(whole(&path).lines, lines);
    // Removing the oldest file looks like a rotation, but is detected as well.
    let oldest = fs::read(&older[0]).unwrap();
    fs::remove_file(&older[0]).unwrap();
    assert!(matches!(checked(&path), Chain::Broken { line: 1, .. }));
    fs::write(&older[0], oldest).unwrap();
    // Removing all older files is detected, too.
    for path in &older {
        fs::remove_file(path).unwrap();
    }
    assert!(matches!(checked(&path), Chain::Broken { line: 1, .. }));
}

#[test]
fn a_crash_while_the_oldest_file_is_dropped_leaves_a_log_that_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut log = Log::open(&path, LIMIT).unwrap();
    let (mut number, mut dropped) = (0, Vec::new());
    while dropped.is_empty() {
        let first = fs::read(aside(&path, 1)).unwrap_or_default();
        line(&mut log, number);
        number += 1;
        if !aside(&path, 1).exists() && aside(&path, 2).exists() {
            dropped = first;
        }
    }
    fs::write(aside(&path, 1), dropped).unwrap();
    let before = whole(&path);
    line(&mut Log::open(&path, LIMIT).unwrap(), number);
    assert!(!aside(&path, 1).exists());
    assert_eq!(whole(&path).gone, before.gone);
}

#[test]
fn a_line_that_a_crash_cut_off_is_taken_back_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    line(&mut Log::open(&path, SEGMENT).unwrap(), 1);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time_ms\":1,\"pa").unwrap();
    line(&mut Log::open(&path, SEGMENT).unwrap(), 2);
    assert_eq!(whole(&path).lines, 3);
    assert!(fs::read_to_string(&path).unwrap().contains("\"event\":\"torn\",\"bytes\":16"));
}

#[test]
fn a_decision_that_is_cut_off_or_exchanged_is_missed_by_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (path, decisions) = (dir.path().join("audit.jsonl"), dir.path().join("decisions.jsonl"));
    let mut log = Log::open(&path, SEGMENT).unwrap();
    for rule in ["a.test", "b.test"] {
        let details = Map::from_iter([("rule".to_owned(), rule.into())]);
        let mut decided = Decisions::open(&decisions).unwrap();
        log.refer_to(&decided.append("rules", "allowed", &details).unwrap()).unwrap();
    }
    assert_eq!((whole(&path).lines, whole(&path).decisions), (2, 2));
    let text = fs::read_to_string(&decisions).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(&decisions, format!("{first}\n")).unwrap();
    assert!(matches!(checked(&path), Chain::Broken { line: 2, .. }));
    fs::remove_file(&decisions).unwrap();
    assert!(matches!(checked(&path), Chain::Broken { line: 1, .. }));
}

fn decide(path: &Path, what: &str) -> LastDecision {
    let details = Map::from_iter([("rule".to_owned(), json!(what))]);
    Decisions::open(path).unwrap().append("rules", "allowed", &details).unwrap()
}

#[test]
fn several_writers_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("decisions.jsonl");
    thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || (0..25).for_each(|at| drop(decide(path, &format!("{writer}.{at}")))));
        }
    });
    assert_eq!(Decisions::open(&path).unwrap().last().unwrap().count, 100);
    let Chain::Whole(checked) = check(&dir.path().join("audit.jsonl"), &path).unwrap() else { panic!() };
    assert_eq!((checked.decisions, checked.lines), (100, 0));
    // A changed or removed line is detected.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"rule\":\"", "\"rule\":\"x", 1)).unwrap();
    assert!(matches!(check(&path, &path).unwrap(), Chain::Broken { .. }));
    let without: Vec<&str> = text.lines().skip(1).collect();
    fs::write(&path, without.join("\n") + "\n").unwrap();
    assert!(matches!(check(&path, &path).unwrap(), Chain::Broken { line: 1, .. }));
}

#[test]
fn what_a_crash_cut_off_is_no_decision() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("decisions.jsonl");
    decide(&path, "a.test");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time_ms\":1,\"pa").unwrap();
    assert_eq!(decide(&path, "b.test").count, 2);
    assert!(matches!(check(&dir.path().join("none.jsonl"), &path).unwrap(), Chain::Whole(_)));
}
