//! `bottle watch` in a terminal.

use bottle_harness::terminal::Terminal;
use bottle_tests::{ProjectExt, RunningBottle, RunningBottleExt, eventually, project_with, up_with};
use serde_json::json;
use std::time::Duration;

/// How long something may take to be on the screen.
const SOON: Duration = Duration::from_secs(20);

fn start(running: &RunningBottle) -> Terminal {
    Terminal::start(&running.command(&["watch"]), (40, 120)).unwrap()
}

fn until(terminal: &Terminal, text: &str) {
    terminal.until(text, SOON).unwrap();
}

fn bells(terminal: &Terminal) -> usize {
    terminal.bytes().iter().filter(|byte| **byte == 0x07).count()
}

fn asks(running: &RunningBottle, tool: &str, body: &serde_json::Value) -> String {
    running.guest(&format!("curl -sS -d '{body}' $BOTTLE_SUPERVISE/{tool}"))
}

#[test]
fn requests_ring_and_are_answered_in_a_terminal() {
    let running = up_with(project_with("slug = \"t\"\n[supervise]\n"), &[]);
    let host = json!({ "host": "docs.example.com", "reason": "to read \u{1b}[31m it", "wait_seconds": 0 });
    asks(&running, "request_host", &host);
    running.exec("for i in 1 2 3; do curl -sS http://pypi.example.com/; done").success();
    let mut terminal = start(&running);
    until(&terminal, "May it reach docs.example.com?");
    until(&terminal, "+ allow docs.example.com");
    until(&terminal, "3x pypi.example.com");
    until(&terminal, "Log of t");
    assert!(terminal.text().contains("to read \\u{1b}[31m it"), "{}", terminal.text());
    assert_eq!(bells(&terminal), 1);

    let question = json!({ "question": "Tabs or spaces?", "wait_seconds": 0 });
    asks(&running, "ask", &question);
    until(&terminal, "Tabs or spaces?");
    eventually("the bell", || bells(&terminal) == 2);
    terminal.press("a").unwrap();
    until(&terminal, "approved: may it reach docs.example.com");
    let allowed = running.json(&["status", "t", "--json"])["rules"]["allow"].clone();
    assert!(allowed.to_string().contains("docs.example.com"), "{allowed}");
    // A question needs words, in which `q` is a letter.
    eventually("the question alone", || !terminal.text().contains("+ allow docs.example.com"));
    terminal.press("aquiet spaces\r").unwrap();
    until(&terminal, "approved: it asks");
    assert!(asks(&running, "ask", &question).contains("quiet spaces"));
    // Two parts on: the refused hosts.
    terminal.press("\t\tai").unwrap();
    until(&terminal, "allowed now");
    let allowed = running.json(&["status", "t", "--json"])["rules"]["allow"].clone();
    assert!(allowed.to_string().contains("pypi.example.com"), "{allowed}");
    terminal.press("q").unwrap();
    assert!(terminal.wait(SOON).unwrap().success());
    eventually("the screen is given back", || {
        String::from_utf8_lossy(&terminal.bytes()).contains("\u{1b}[?1049l")
    });
    assert_eq!(bells(&terminal), 2);

    // It ends with its terminal, however that ends.
    let mut terminal = start(&running);
    until(&terminal, "Log of t");
    terminal.hang_up();
    terminal.wait(SOON).unwrap();

    // Off a terminal it says what it needs.
    running
        .bottle(&["watch"])
        .assert()
        .code(2)
        .stderr(predicates::str::contains("`bottle watch` needs a terminal"));
}
