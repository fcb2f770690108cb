//! Hostile text in every field that a guest can write, and every command that shows one: nothing
//! that steers a terminal comes out, and no line that looks like one of bottle's own.
//!
//! What a guest's own program prints (`run`, `exec`, `shell`) is not bottle's, and is not looked at.

use bottle_core::visible::is_hidden;
use bottle_tests::{World, eventually};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Clears the screen, writes the clipboard, makes a link, colours (C1), deletes, goes back, overwrites,
/// reorders, hides, breaks the line in ways of its own, and tags.
const HOSTILE: &str = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x1b]8;;x:y\x1b\\\u{9b}31m\x7f\x08\rover\u{202e}b\u{2066}\u{200b}\u{2028}\u{2029}\u{e0041}\u{85}";
/// Looks like a line of its own, wherever a newline gets through.
const FORGED: &str = "FORGED";

/// What a command shows, and whether hostile text is in it at all.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    /// It has a field of the guest's: without the defence it steers the terminal.
    Hostile,
    /// Nothing of the guest's should be in it.
    Nothing,
}

/// What of this steers a terminal, or is forged.
fn fault(bytes: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Some(format!("no UTF-8: {error}")),
    };
    if let Some(c) = text.chars().find(|c| is_hidden(*c) && !matches!(c, '\n' | '\t')) {
        return Some(format!("{c:?} comes out"));
    }
    // Rows of bottle's own begin at once, or after two spaces; a commit's message stands after four.
    let forged = text.lines().find(|line| line.strip_prefix("  ").unwrap_or(line).starts_with(FORGED))?;
    Some(format!("a line is forged: {forged}"))
}

struct Up(World);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force"]).output();
    }
}

impl Up {
    fn exec(&self, script: &str) {
        self.0.bottle(&["-q", "exec", "--", "bash", "-ec", script]).assert().success();
    }

    /// Both streams of a command, raw; with the defence or without it.
    fn said(&self, words: &[&str], is_defended: bool) -> Vec<u8> {
        let mut command = self.0.bottle(words);
        if !is_defended {
            command.env("BOTTLE_WITHOUT", "visible");
        }
        let output = command.output().unwrap();
        [output.stdout, output.stderr].concat()
    }

    /// Checks each of these commands, both ways.
    fn check(&self, commands: &[(Shows, &[&str])]) {
        let mut faults = Vec::new();
        for (shows, words) in commands {
            let said = self.said(words, true);
            if let Some(fault) = fault(&said) {
                faults.push(format!("{words:?}: {fault}\n{}", String::from_utf8_lossy(&said).escape_debug()));
            }
            // A command that shows nothing is no proof of anything.
            if *shows == Shows::Hostile && fault(&self.said(words, false)).is_none() {
                let said = String::from_utf8_lossy(&said).into_owned();
                faults.push(format!("{words:?}: its field is not seen without the defence either\n{said}"));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

fn git(dir: &Path, words: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let output = Command::new("git").args(identity).args(words).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A bottle with everything that a guest can say something through; what it will say is in files of
/// the project, which its copy has.
fn up() -> Up {
    let world = World::with(
        "slug = \"t\"\n[workspace]\nmode = \"copy\"\n[supervise]\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n",
    );
    let project = world.path("project");
    git(&project, &["init", "-q", "-b", "main"]);
    world.write(".gitignore", "bottle.toml\n");
    world.write("kept", "one\n");
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let line = format!("{HOSTILE}\n{FORGED} row");
    world.write("report.json", &format!("{{\"status\": {}}}", json(&line)));
    world.write("ask.json", &format!("{{\"question\": {}, \"wait_seconds\": 200}}", json(&line)));
    world.write(
        "host.json",
        &format!("{{\"host\": \"x.test\", \"reason\": {}, \"wait_seconds\": 200}}", json(&line)),
    );
    world.write("text", &line);
    world.write(
        "request",
        &format!("GET http://x{HOSTILE}.test/{HOSTILE} HTTP/1.1\r\nHost: {HOSTILE}\r\n\r\n")
            .replace("\x08\rover", ""),
    );
    world.write(
        "url",
        "GET http://x.test/\u{9b}31m\u{202e}\u{200b}?a=\u{e0041} HTTP/1.1\r\nHost: x.test\r\n\r\n",
    );
    git(&project, &["add", "kept", ".gitignore"]);
    git(&project, &["commit", "-q", "-m", "first"]);
    git(world.path(".").as_path(), &["clone", "-q", "--bare", "project", "upstream.git"]);
    git(&project, &["remote", "add", "origin", "../upstream.git"]);
    world.bottle(&["-q", "up"]).assert().success();
    Up(world)
}

/// Asks, and waits for an answer that does not come.
fn asking(up: &Up, tool: &str, body: &str) -> Child {
    let script = format!("curl -sS -m 200 -d @/workspace/{body} $BOTTLE_SUPERVISE/{tool}");
    let words = ["-q", "exec", "--", "sh", "-c", &script];
    let mut command = up.0.process(&words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn whatever_a_guest_writes_no_command_lets_it_steer_the_terminal_or_forge_a_line() {
    use Shows::{Hostile, Nothing};
    let up = up();
    // Files: names, links, kinds, content, a long line; and names that are no text.
    up.exec(
        "cd /workspace; text=$(cat text); name=$(printf %s \"$text\" | tr -d /)
         echo x > \"a$name\"; ln -s \"$name\" link; mkdir \"d$name\"; echo y > \"d$name/inner\"
         mkfifo \"f$name\"; ln -s \"/etc/$name\" out; { cat text; echo; } >> kept
         head -c 100000 /dev/zero | tr '\\0' a > long; { echo; cat text; } >> long
         echo z > \"$(printf 'n\\2331m\\377')\"",
    );
    // What it asks and reports, and what it wants of the proxy, in names and in paths.
    up.exec("curl -sS -m 20 -d @/workspace/report.json $BOTTLE_SUPERVISE/report");
    let mut asking = [asking(&up, "ask", "ask.json"), asking(&up, "request_host", "host.json")];
    up.exec(
        "cd /workspace; port=${HTTP_PROXY##*:}; for file in request url; do
           exec 3<>/dev/tcp/proxy.internal/$port; cat $file >&3; timeout 5 head -c 100 <&3 > /dev/null || :; done",
    );
    // A push: the commit's subject and author, a file's name, content.
    up.exec(
        "export HOME=/root; cd /tmp; git config --global user.email a@example.com
         git config --global user.name \"$(tr -d '\\n' < /workspace/text)\"
         git clone -q $BOTTLE_GIT_GATE/project.git work; cd work
         git checkout -q -b w
         cat /workspace/text >> kept; name=$(tr -d / < /workspace/text); echo x > \"n$name\"
         git add .; git commit -q -m \"s$(cat /workspace/text)\"; git push -q origin HEAD 2>&1",
    );
    eventually("both requests wait", || {
        let said = up.0.bottle(&["inbox", "--json"]).output().unwrap().stdout;
        serde_json::from_slice::<Vec<serde_json::Value>>(&said).unwrap().len() == 2
    });
    up.check(&[
        (Hostile, &["diff"]),
        (Hostile, &["diff", "--names"]),
        (Hostile, &["diff", "--json"]),
        (Hostile, &["apply", "--dry-run"]),
        (Hostile, &["status"]),
        (Hostile, &["status", "--json"]),
        (Hostile, &["inbox"]),
        (Hostile, &["inbox", "--json"]),
        (Hostile, &["git", "t", "list"]),
        (Hostile, &["git", "t", "list", "--json"]),
        (Hostile, &["logs"]),
        (Hostile, &["logs", "--denied"]),
        (Hostile, &["audit"]),
        (Hostile, &["git", "t", "diff"]),
        // A shell puts a guest's file names on the command line.
        (Hostile, &["git", "t", "diff", "project", HOSTILE, HOSTILE]),
        (Hostile, &["cp", HOSTILE]),
        (Nothing, &["git", "t", "approve", HOSTILE]),
        (Nothing, &["check", HOSTILE]),
        (Nothing, &["audit", "--check"]),
        (Nothing, &["plan"]),
        (Nothing, &["plan", "--json"]),
        (Nothing, &["plan", "--diff"]),
        (Nothing, &["ls"]),
        (Nothing, &["ls", "--all", "--json"]),
        (Nothing, &["cleanup", "--dry-run"]),
        (Nothing, &["doctor"]),
        (Nothing, &["doctor", "--json"]),
        (Nothing, &["verify", "--host-only"]),
    ]);
    for asking in &mut asking {
        let _ = asking.kill();
        let _ = asking.wait();
    }

    // Its helper says it: as a complaint, as an answer, as the reason why a copy failed.
    up.exec(
        "printf '#!/bin/sh\\n{ printf \"bottle-guest: \"; tr -d \"\\\\n\" < /workspace/text; echo; } >&2\\nexit 1\\n' > /tmp/helper
         chmod 755 /tmp/helper; mount --bind /tmp/helper /opt/bottle/bottle-guest",
    );
    up.check(&[
        (Hostile, &["verify"]),
        (Hostile, &["verify", "--json"]),
        (Hostile, &["cp", "t:/etc/hosts", "."]),
        (Hostile, &["cp", "kept", "t:/tmp/x"]),
    ]);
    up.exec("printf '#!/bin/sh\\ncat /workspace/text\\n' > /tmp/helper");
    up.check(&[(Hostile, &["verify"])]);

    // What is taken back, and what is decided, is said with the names in it.
    up.check(&[(Hostile, &["apply", "--yes", "--overwrite"]), (Nothing, &["git", "t", "reject"])]);
}

#[test]
fn a_configuration_and_a_sidecar_that_a_guest_wrote_are_quoted() {
    use Shows::Hostile;
    let world = World::with("slug = \"t\"\n");
    let up = Up(world);
    let toml = |text: &str| serde_json::to_string(text).unwrap();
    let line = format!("{HOSTILE}\n{FORGED} row").replace('\u{85}', "");
    for config in [
        // Keys, values, the text around a mistake.
        format!("slug = \"t\"\n{} = 1\n", toml(&line)),
        format!("slug = {}\n", toml(&line)),
        format!("slug = \"t\"\n[guest]\nimage = {}\n", toml(&line)),
        format!("slug = \"t\"\n[egress]\nallow = [{}]\n", toml(&line)),
        "slug = \"t\"\n[guest \u{202e}\u{2066}\u{200b}\u{e0041}\u{9b}31m\n".to_owned(),
    ] {
        up.0.write("bottle.toml", &config);
        up.check(&[(Hostile, &["plan"]), (Hostile, &["up"])]);
    }
    // A sidecar's last words, as the reason why nothing started.
    fs::write(up.0.path("text"), &line).unwrap();
    up.0.write(
        "bottle.toml",
        &format!(
            "slug = \"t\"\n[pipelock]\ncommand = [\"sh\", \"-c\", \"cat {} >&2; exit 1\", \"{{port}}\"]\n",
            up.0.path("text").display()
        ),
    );
    up.check(&[(Hostile, &["up"])]);
}
