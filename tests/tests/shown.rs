//! Hostile text in every field that a guest can write, and every command that shows such a field: nothing
//! that steers a terminal comes out, and no line that looks like one of bottle's own.
//!
//! The output of the guest's own programs (`run`, `exec`, `shell`) is not bottle's, and is not checked.

use bottle_core::visible::is_hidden;
use bottle_tests::{Project, ProjectExt, RunningBottle, eventually, git, project_with, up_with};
use std::fs;
use std::process::{Child, Stdio};

/// Text that clears the screen, writes the clipboard, makes a link, sets a colour (C1), deletes, goes back,
/// overwrites, reorders, hides, breaks lines in unusual ways, and tags.
const HOSTILE: &str = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x1b]8;;x:y\x1b\\\u{9b}31m\x7f\x08\rover\u{202e}b\u{2066}\u{200b}\u{2028}\u{2029}\u{e0041}\u{85}";
/// Text that looks like a line of bottle's own if a newline gets through.
const FORGED: &str = "FORGED";

/// Whether a command's output contains hostile text.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    /// It shows one of the guest's fields, and steers the terminal without the defence.
    Hostile,
    /// It should show nothing of the guest's.
    Nothing,
}

/// Returns the first thing in this output that steers a terminal or is forged.
fn fault(bytes: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Some(format!("no UTF-8: {error}")),
    };
    if let Some(c) = text.chars().find(|c| is_hidden(*c) && !matches!(c, '\n' | '\t')) {
        return Some(format!("{c:?} comes out"));
    }
    // bottle's own rows are indented by up to two spaces, a commit's message by four.
    let forged = text.lines().find(|line| line.strip_prefix("  ").unwrap_or(line).starts_with(FORGED))?;
    Some(format!("a line is forged: {forged}"))
}

/// Runs a bash script in the guest. It must succeed.
fn in_guest(running: &RunningBottle, script: &str) {
    running.bottle(&["-q", "exec", "--", "bash", "-ec", script]).assert().success();
}

/// Returns both output streams of a command, raw, with the defence or without it.
fn output(project: &Project, words: &[&str], is_defended: bool) -> Vec<u8> {
    let mut command = project.bottle(words);
    if !is_defended {
        command.env("BOTTLE_WITHOUT", "visible");
    }
    let output = command.output().unwrap();
    [output.stdout, output.stderr].concat()
}

/// Checks each of these commands, with the defence and without it.
fn check(project: &Project, commands: &[(Shows, &[&str])]) {
    let mut faults = Vec::new();
    for (shows, words) in commands {
        let said = output(project, words, true);
        if let Some(fault) = fault(&said) {
            faults.push(format!("{words:?}: {fault}\n{}", String::from_utf8_lossy(&said).escape_debug()));
        }
        // A command that shows no hostile text proves nothing.
        if *shows == Shows::Hostile && fault(&output(project, words, false)).is_none() {
            let said = String::from_utf8_lossy(&said).into_owned();
            faults.push(format!("{words:?}: its field is not seen without the defence either\n{said}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Brings up a bottle with everything through which a guest can say something. The text is in files of the
/// project, and so in the guest's copy.
fn hostile_bottle() -> RunningBottle {
    let project = project_with(
        "slug = \"t\"\n[workspace]\nmode = \"copy\"\n[supervise]\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n",
    );
    let folder = project.folder();
    git(folder, &["init", "-q", "-b", "main"]);
    project.put(".gitignore", "bottle.toml\n");
    project.put("kept", "one\n");
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let line = format!("{HOSTILE}\n{FORGED} row");
    project.put("report.json", &format!("{{\"status\": {}}}", json(&line)));
    project.put("ask.json", &format!("{{\"question\": {}, \"wait_seconds\": 200}}", json(&line)));
    project.put(
        "host.json",
        &format!("{{\"host\": \"x.test\", \"reason\": {}, \"wait_seconds\": 200}}", json(&line)),
    );
    project.put("text", &line);
    project.put(
        "request",
        &format!("GET http://x{HOSTILE}.test/{HOSTILE} HTTP/1.1\r\nHost: {HOSTILE}\r\n\r\n")
            .replace("\x08\rover", ""),
    );
    project.put(
        "url",
        "GET http://x.test/\u{9b}31m\u{202e}\u{200b}?a=\u{e0041} HTTP/1.1\r\nHost: x.test\r\n\r\n",
    );
    git(folder, &["add", "kept", ".gitignore"]);
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(folder, &["remote", "add", "origin", "../upstream.git"]);
    up_with(project, &[])
}

/// Starts a request in the guest that waits for an answer.
fn asking(running: &RunningBottle, tool: &str, body: &str) -> Child {
    let script = format!("curl -sS -m 200 -d @/workspace/{body} $BOTTLE_SUPERVISE/{tool}");
    let words = ["-q", "exec", "--", "sh", "-c", &script];
    let mut command = running.command(&words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn no_command_lets_a_guests_text_steer_the_terminal_or_forge_a_line() {
    use Shows::{Hostile, Nothing};
    let running = hostile_bottle();
    // Files: names, links, kinds, content, a long line, and names that are not UTF-8.
    in_guest(
        &running,
        "cd /workspace; text=$(cat text); name=$(printf %s \"$text\" | tr -d /)
         echo x > \"a$name\"; ln -s \"$name\" link; mkdir \"d$name\"; echo y > \"d$name/inner\"
         mkfifo \"f$name\"; ln -s \"/etc/$name\" out; { cat text; echo; } >> kept
         head -c 100000 /dev/zero | tr '\\0' a > long; { echo; cat text; } >> long
         echo z > \"$(printf 'n\\2331m\\377')\"",
    );
    // Requests, reports, and the names and paths of requests to the proxy.
    in_guest(&running, "curl -sS -m 20 -d @/workspace/report.json $BOTTLE_SUPERVISE/report");
    let mut asking = [asking(&running, "ask", "ask.json"), asking(&running, "request_host", "host.json")];
    in_guest(&running,
        "cd /workspace; port=${HTTP_PROXY##*:}; for file in request url; do
           exec 3<>/dev/tcp/proxy.internal/$port; cat $file >&3; timeout 5 head -c 100 <&3 > /dev/null || :; done",
    );
    // A push: the commit's subject and author, a file's name and content.
    in_guest(
        &running,
        "export HOME=/root; cd /tmp; git config --global user.email a@example.com
         git config --global user.name \"$(tr -d '\\n' < /workspace/text)\"
         git clone -q $BOTTLE_GIT_GATE/project.git work; cd work
         git checkout -q -b w
         cat /workspace/text >> kept; name=$(tr -d / < /workspace/text); echo x > \"n$name\"
         git add .; git commit -q -m \"s$(cat /workspace/text)\"; git push -q origin HEAD 2>&1",
    );
    eventually("both requests wait", || running.json(&["inbox", "--json"]).as_array().unwrap().len() == 2);
    check(
        &running,
        &[
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
        ],
    );
    for asking in &mut asking {
        let _ = asking.kill();
        let _ = asking.wait();
    }

    // The helper's output: a complaint, an answer, the reason for a failed copy.
    in_guest(&running,
        "printf '#!/bin/sh\\n{ printf \"bottle-guest: \"; tr -d \"\\\\n\" < /workspace/text; echo; } >&2\\nexit 1\\n' > /tmp/helper
         chmod 755 /tmp/helper; mount --bind /tmp/helper /opt/bottle/bottle-guest",
    );
    check(
        &running,
        &[
            (Hostile, &["verify"]),
            (Hostile, &["verify", "--json"]),
            (Hostile, &["cp", "t:/etc/hosts", "."]),
            (Hostile, &["cp", "kept", "t:/tmp/x"]),
        ],
    );
    in_guest(&running, "printf '#!/bin/sh\\ncat /workspace/text\\n' > /tmp/helper");
    check(&running, &[(Hostile, &["verify"])]);

    // Applying changes and deciding on pushes shows their names.
    check(&running, &[(Hostile, &["apply", "--yes", "--overwrite"]), (Nothing, &["git", "t", "reject"])]);
}

#[test]
fn text_from_a_configuration_or_a_sidecar_is_quoted() {
    use Shows::Hostile;
    let running = project_with("slug = \"t\"\n");
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
        running.put("bottle.toml", &config);
        check(&running, &[(Hostile, &["plan"]), (Hostile, &["up"])]);
    }
    // A sidecar's last output, as the reason for a failed start.
    fs::write(running.on_host("text"), &line).unwrap();
    running.put(
        "bottle.toml",
        &format!(
            "slug = \"t\"\n[pipelock]\ncommand = [\"sh\", \"-c\", \"cat {} >&2; exit 1\", \"{{port}}\"]\n",
            running.on_host("text").display()
        ),
    );
    check(&running, &[(Hostile, &["up"])]);
}
