//! `bottle watch` in a terminal: `script` makes one, and a terminal's screen is read back from what it prints.

use bottle_harness::processes::descendants;
use bottle_tests::{ProjectExt, RunningBottle, RunningBottleExt, eventually, project_with, up_with};
use serde_json::json;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// The size of the terminal.
const SIZE: (u16, u16) = (40, 120);

/// A terminal in which `bottle watch` runs.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(running: &RunningBottle) -> Self {
        let bottle = running.environment().checkout().program("bottle").unwrap();
        let (rows, columns) = SIZE;
        let line = format!("stty rows {rows} cols {columns}; exec {} watch", bottle.display());
        let mut command = running.environment().command("script");
        command.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        command.current_dir(running.folder()).env("TERM", "xterm-256color");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let printed = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&printed);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                to.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        Self { child, keys, printed }
    }

    fn screen(&self) -> String {
        let mut parser = vt100::Parser::new(SIZE.0, SIZE.1, 0);
        parser.process(&self.printed.lock().unwrap());
        parser.screen().contents()
    }

    fn until(&self, text: &str) {
        eventually(text, || {
            let screen = self.screen();
            let is_there = screen.contains(text);
            if !is_there && std::env::var_os("SHOW_SCREEN").is_some() {
                eprintln!("{screen}\n");
            }
            is_there
        });
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn bells(&self) -> usize {
        self.printed.lock().unwrap().iter().filter(|byte| **byte == 0x07).count()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let mut terminal = Terminal::start(&running);
    terminal.until("May it reach docs.example.com?");
    terminal.until("+ allow docs.example.com");
    terminal.until("3x pypi.example.com");
    terminal.until("Log of t");
    assert!(terminal.screen().contains("to read \\u{1b}[31m it"), "{}", terminal.screen());
    assert_eq!(terminal.bells(), 1);

    let question = json!({ "question": "Tabs or spaces?", "wait_seconds": 0 });
    asks(&running, "ask", &question);
    terminal.until("Tabs or spaces?");
    eventually("the bell", || terminal.bells() == 2);
    terminal.press("a");
    terminal.until("approved: may it reach docs.example.com");
    let allowed = running.json(&["status", "t", "--json"])["rules"]["allow"].clone();
    assert!(allowed.to_string().contains("docs.example.com"), "{allowed}");
    // A question needs words, in which `q` is a letter.
    eventually("the question alone", || !terminal.screen().contains("+ allow docs.example.com"));
    terminal.press("aquiet spaces\r");
    terminal.until("approved: it asks");
    assert!(asks(&running, "ask", &question).contains("quiet spaces"));
    // Two parts on: the refused hosts.
    terminal.press("\t\tai");
    terminal.until("allowed now");
    let allowed = running.json(&["status", "t", "--json"])["rules"]["allow"].clone();
    assert!(allowed.to_string().contains("pypi.example.com"), "{allowed}");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
    eventually("the screen is given back", || {
        String::from_utf8_lossy(&terminal.printed.lock().unwrap()).contains("\u{1b}[?1049l")
    });
    assert_eq!(terminal.bells(), 2);

    // It ends with its terminal, however that ends.
    let mut terminal = Terminal::start(&running);
    terminal.until("Log of t");
    let watching = descendants(terminal.child.id());
    assert!(!watching.is_empty());
    terminal.child.kill().unwrap();
    eventually("the end", || watching.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));

    // Off a terminal it says what it needs.
    running
        .bottle(&["watch"])
        .assert()
        .code(2)
        .stderr(predicates::str::contains("`bottle watch` needs a terminal"));
}
