//! What a person sees of bottles that run, and of what ran in them: `stats`, `top`, `inspect`, `events`,
//! `suggest`, `logs --workload`; and `rename`. The defaults of `bottle config` are in `tests/cases/`.

use bottle_harness::page::Page;
use bottle_host::fail_point::FailPoint;
use bottle_tests::{Project, ProjectExt, RunningBottleExt, allowing, eventually, project_with, up};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

/// Starts a command whose output is read while it runs.
fn follow(project: &Project, words: &[&str]) -> Child {
    let mut command = project.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Closes a follower's output, and returns its status and what it said.
fn closed(mut child: Child) -> (Option<i32>, String) {
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_running_bottle_shows_what_it_takes_and_no_values() {
    let bottle = up(
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n[guest]\nmemory = 512\nenv = { TOKEN = \"hunter2\" }\n",
    );
    let rows = bottle.json(&["ls", "--json"]);
    let usage = &rows[0]["usage"];
    assert!(usage["memory_bytes"].as_u64().unwrap() > 0 && usage["uptime_ms"].is_u64(), "{rows}");
    bottle.bottle(&["ls"]).assert().success().stdout(contains("UPTIME").and(contains("0.0%")));
    let stats = bottle.json(&["stats", "--json"]);
    assert_eq!(
        (&stats[0]["bottle"], &stats[0]["memory_limit_bytes"]),
        (&"t".into(), &(512_u64 << 20).into())
    );
    assert!(stats[0]["network"]["bytes_from_guest"].is_u64(), "{stats}");
    // A follower prints a line a second, and ends when nobody reads them.
    let mut child = follow(&bottle, &["stats", "t", "--json", "--follow"]);
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["bottle"], "t");
    }
    assert_eq!(closed(child), (Some(141), String::new()));
    // The variable is there, and its value is not.
    let inspected = bottle.said(&["inspect", "t"]);
    assert!(inspected.contains("\"TOKEN\"") && !inspected.contains("hunter2"), "{inspected}");
    let inspected = bottle.json(&["inspect", "t"]);
    assert_eq!(inspected["bottle"]["state"], "running");
    assert!(inspected["status"]["pid"].is_u64() && inspected["copy"].is_null(), "{inspected}");
}

#[test]
fn what_runs_in_a_guest_is_its_word_on_one_line_each() {
    let bottle = up("slug = \"t\"\n[workspace]\nmode = \"none\"\n");
    bottle.exec("exec -a \"$(printf 'evil\\033[2J\\nroot')\" sleep 300 > /dev/null 2>&1 &");
    let start = "bash -c 'exec -a \"$(printf \"evil\\\\033[2J\\\\nroot\")\" sleep 300' > /dev/null 2>&1 &";
    bottle.exec(start).success();
    eventually("the process is listed", || {
        bottle.said(&["top", "t"]).lines().any(|line| line.contains(r"evil\u{1b}[2J\nroot 300"))
    });
    let top = bottle.json(&["top", "t", "--json"]);
    let own = top["processes"].as_array().unwrap().iter().find(|process| process["pid"] == 1);
    assert_eq!(own.map(|own| &own["uid"]), Some(&0.into()), "{top}");
}

#[test]
fn events_of_all_bottles_are_one_stream_that_ends_with_its_reader() {
    let first = up("slug = \"first\"\n[workspace]\nmode = \"none\"\n");
    let mut child = follow(&first, &["events", "--json", "--follow"]);
    let second = first.environment().project("second").unwrap();
    second.put("bottle.toml", "slug = \"second\"\n[workspace]\nmode = \"none\"\n");
    let second = second.up().unwrap();
    second.exec("curl -s https://a.test");
    let mut seen = Vec::new();
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (bottle, event) = (line["bottle"].to_string(), line["event"].to_string());
        let is_last = bottle.contains("second") && event.contains("refused");
        seen.push((bottle, event));
        if is_last {
            break;
        }
    }
    assert!(seen.contains(&("\"first\"".to_owned(), "\"started\"".to_owned())), "{seen:?}");
    assert_eq!(closed(child), (Some(141), String::new()));
    // Without --follow the same is there at once, for people.
    let refused = contains("second ").and(contains("refused")).and(contains("a.test"));
    first.bottle(&["events", "--denied"]).assert().success().stdout(refused);
    first.bottle(&["events", "first", "--denied"]).assert().success().stdout("");
}

#[test]
fn what_was_refused_is_suggested_and_works_when_it_is_pasted() {
    let page = Page::serve("the page").unwrap();
    let bottle = up(&allowing(&page)
        .replace("allow = [", "deny = [\"shut.test\"]\nallow = [\"no.test\", ")
        .replace(&format!("\"page.test:{}\"", page.port()), "\"other.test\""));
    let at = format!("http://page.test:{}/", page.port());
    bottle.exec(&format!(
        "curl -s {at}; curl -s {at}; curl -s http://10.0.0.1/; curl -s https://github.io; curl -s https://shut.test"
    ));
    let suggested = bottle.json(&["suggest", "t", "--json"]);
    let wanted = format!("page.test:{}", page.port());
    assert_eq!(
        (&suggested["hosts"][0]["rule"], &suggested["hosts"][0]["times"]),
        (&wanted.into(), &2.into())
    );
    assert_eq!(suggested["hosts"].as_array().unwrap().len(), 1, "{suggested}");
    let not: Vec<&str> =
        suggested["not"].as_array().unwrap().iter().filter_map(|not| not["host"].as_str()).collect();
    assert!(["10.0.0.1", "github.io", "shut.test"].iter().all(|host| not.contains(host)), "{suggested}");
    // The lines are TOML, and open what was refused.
    let lines: toml::Table = bottle.said(&["-q", "suggest", "t"]).parse().unwrap();
    let rule = lines["egress"]["allow"][0].as_str().unwrap();
    bottle.bottle(&["-q", "allow", "t", rule]).assert().success();
    assert_eq!(bottle.guest(&format!("curl -s {at}")), "the page");
    assert_eq!(bottle.json(&["suggest", "t", "--json"])["hosts"], Value::Array(Vec::new()));
}

#[test]
fn a_detached_command_leaves_what_it_prints_and_nothing_that_steers_a_terminal() {
    let bottle = up("slug = \"t\"\n[workspace]\nmode = \"none\"\n");
    let none = contains("no detached command was started in t");
    bottle.bottle(&["logs", "t", "--workload"]).assert().code(66).stderr(none);
    let script = "printf '\\033[31mred\\033[0m \\033]52;c;x\\007\\n'; echo err >&2; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo last; exit 3";
    let start = ["-q", "exec", "-d", "t", "-e", "TOKEN=hunter2", "--", "sh", "-c", script];
    bottle.bottle(&start).assert().success();
    let busy = bottle.bottle(&["exec", "-d", "t", "--", "true"]).assert().code(73);
    busy.stderr(contains("another detached command runs in t"));
    let mut child = follow(&bottle, &["logs", "t", "--workload", "-f"]);
    bottle.exec("touch /tmp/go").success();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("red") && said.contains("err\n") && said.ends_with("last\n"), "{said:?}");
    assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
    let ended = contains("workload  ended").and(contains("status=3")).and(contains("program=sh"));
    let ended = ended.and(contains("hunter2").not());
    bottle.bottle(&["logs", "t"]).assert().success().stdout(ended);
    // More than what is kept does not fill the disk.
    let flood = "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end";
    bottle.bottle(&["-q", "exec", "-d", "t", "--", "sh", "-c", flood]).assert().success();
    let mut child = follow(&bottle, &["logs", "t", "--workload", "-f"]);
    let mut said = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && said.ends_with(b"end\n"));
    let on_disk: u64 = ["workload.log", "workload.1.log"]
        .iter()
        .filter_map(|name| std::fs::metadata(bottle.on_host("state/t").join(name)).ok())
        .map(|meta| meta.len())
        .sum();
    assert!(on_disk <= 9 << 20, "{on_disk}");
    // It ends with the bottle.
    bottle.bottle(&["-q", "exec", "-d", "t", "--", "sleep", "300"]).assert().success();
    bottle.bottle(&["-q", "stop", "t"]).assert().success();
    bottle.bottle(&["logs", "t", "--workload", "-f"]).assert().success().stdout("");
}

#[test]
fn attaching_ends_with_the_commands_status_and_ctrl_c_leaves_it_running() {
    let bottle = up("slug = \"t\"\n[workspace]\nmode = \"none\"\n");
    let none = contains("no detached command was started in t");
    bottle.bottle(&["attach", "t"]).assert().code(66).stderr(none);
    let script = "printf 'one\\033[31m\\n'; read typed; echo read:$typed; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two; exit 9";
    bottle.bottle(&["-q", "exec", "-d", "t", "--", "sh", "-c", script]).assert().success();
    let mut interrupted = follow(&bottle, &["attach", "t"]);
    let mut lines = BufReader::new(interrupted.stdout.take().unwrap()).lines();
    // Once it prints, it has been told what ctrl-C means.
    assert_eq!([lines.next(), lines.next()].map(|line| line.unwrap().unwrap()), ["one", "read:"]);
    let pid = rustix::process::Pid::from_child(&interrupted);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(lines.next().is_none());
    let output = interrupted.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the command goes on"));
    let mut child = follow(&bottle, &["attach", "t"]);
    bottle.exec("touch /tmp/go").success();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(9), "one\nread:\ntwo\n"));
    // It is the same afterwards, and a later command has a status of its own.
    bottle.bottle(&["attach", "t"]).assert().code(9).stdout("one\nread:\ntwo\n");
    bottle.bottle(&["-q", "exec", "-d", "t", "--", "sleep", "300"]).assert().success();
    let ends = follow(&bottle, &["attach", "t"]);
    bottle.bottle(&["-q", "stop", "t"]).assert().success();
    let ended = ends.wait_with_output().unwrap();
    assert!(ended.status.code().is_some_and(|code| code != 0), "{ended:?}");
}

/// A stopped bottle in whose copy the guest changed something.
fn stopped() -> Project {
    let project = project_with("slug = \"old\"\n[workspace]\nmode = \"copy\"\n");
    project.bottle(&["-q", "up"]).assert().success();
    project.bottle(&["-q", "exec", "--", "sh", "-c", "echo work > made"]).assert().success();
    project.bottle(&["-q", "allow", "old", "a.test"]).assert().success();
    project
}

#[test]
fn a_renamed_bottle_keeps_everything_but_its_machines_disk() {
    let project = stopped();
    let running = contains("bottle old is running");
    project.bottle(&["rename", "old", "new"]).assert().code(73).stderr(running);
    project.bottle(&["-q", "stop"]).assert().success();
    let disk = contains("`bottle rename --renew old new` gives the disk up");
    project.bottle(&["rename", "old", "new"]).assert().code(73).stderr(disk);
    project.bottle(&["diff", "old", "--names"]).assert().success().stdout(contains("made"));
    project.bottle(&["-q", "rename", "--renew", "old", "new"]).assert().success();
    project.bottle(&["status", "old"]).assert().code(66);
    project.bottle(&["diff", "new", "--names"]).assert().success().stdout(contains("made"));
    project.bottle(&["logs", "new"]).assert().success().stdout(contains("rule=a.test"));
    project.bottle(&["audit", "new", "--check"]).assert().success();
    project.put("bottle.toml", "slug = \"new\"\n[workspace]\nmode = \"copy\"\n");
    project.bottle(&["-q", "up"]).assert().success();
    project.bottle(&["-q", "exec", "--", "cat", "made"]).assert().success().stdout("work\n");
    project.bottle(&["check", "a.test"]).assert().success();
    let taken = contains("there is no bottle old");
    project.bottle(&["rename", "old", "other"]).assert().code(66).stderr(taken);
    project.bottle(&["-q", "rm", "--force", "new"]).assert().success();
}

#[test]
fn a_rename_that_dies_loses_nothing_wherever_it_does() {
    let steps = FailPoint::ALL.iter().filter(|step| step.name().starts_with("rename-"));
    let mut tried = 0;
    for step in steps {
        let project = stopped();
        project.bottle(&["-q", "stop"]).assert().success();
        let mut dies = project.command(&["-q", "rename", "--renew", "old", "new"]);
        assert!(!dies.env("BOTTLE_DIE_AFTER", step.name()).status().unwrap().success(), "{step:?}");
        // The work is in the copy of one of the two names, or in the trash, from where it comes back.
        let trash = project.json(&["trash", "--json"]);
        if let Some(name) = trash[0]["name"].as_str() {
            project.bottle(&["-q", "trash", "--restore", name]).assert().success();
        }
        let made = |slug: &str| project.said(&["diff", slug, "--names"]).contains("made");
        assert!(made("old") != made("new"), "{step:?}: {trash}");
        tried += 1;
        for slug in ["old", "new"] {
            let _ = project.bottle(&["-q", "rm", "--force", slug]).output();
        }
    }
    assert_eq!(tried, 4);
}

/// Stops a bottle that has left its mark on its machine's disk, as the stand-in has one.
fn marked() -> Project {
    let project = stopped();
    project.bottle(&["-q", "exec", "--", "sh", "-c", "echo first > /disk"]).assert().success();
    project.bottle(&["fork", "old", "new"]).assert().code(73).stderr(contains("bottle old is running"));
    project.bottle(&["-q", "stop"]).assert().success();
    project
}

#[test]
fn a_forked_bottle_has_what_the_first_one_had_and_goes_its_own_way() {
    let project = marked();
    project.bottle(&["-q", "fork", "old", "new"]).assert().success();
    let states = project.json(&["ls", "--json"]);
    assert_eq!((&states[0]["slug"], &states[0]["state"]), (&"new".into(), &"stopped".into()), "{states}");
    project.bottle(&["diff", "new", "--names"]).assert().success().stdout(contains("made"));
    project
        .bottle(&["fork", "old", "new"])
        .assert()
        .code(73)
        .stderr(contains("there is a bottle new already"));
    project.bottle(&["-q", "up", "new"]).assert().success();
    let new = |script: &str| project.said(&["-q", "exec", "new", "--", "sh", "-c", script]);
    assert_eq!(
        new("cat made /disk; echo second > /disk; echo more > made; echo $HTTP_PROXY").lines().nth(1),
        Some("first")
    );
    project.bottle(&["check", "--name", "new", "a.test"]).assert().success();
    project.bottle(&["-q", "up", "old"]).assert().success();
    assert_eq!(project.said(&["-q", "exec", "old", "--", "cat", "made", "/disk"]), "work\nfirst\n");
    assert_eq!(new("cat made /disk"), "more\nsecond\n");
    // What one of them does is in its own log.
    assert!(!project.said(&["audit", "old"]).contains("bottle-new"));
    for slug in ["old", "new"] {
        project.bottle(&["-q", "rm", "--force", slug]).assert().success();
    }
    let none = contains("there is no bottle old");
    project.bottle(&["fork", "old", "other"]).assert().code(66).stderr(none);
    for verb in ["snapshot", "restore"] {
        project
            .bottle(&[verb, "old", "--x"])
            .assert()
            .code(2)
            .stderr(contains("`bottle fork my-project before`"));
    }
}

#[test]
fn a_fork_that_dies_is_not_taken_for_a_bottle_and_harms_the_first_one_in_no_way() {
    let project = marked();
    for step in FailPoint::ALL.iter().filter(|step| step.name().starts_with("fork-")) {
        let mut dies = project.command(&["-q", "fork", "old", "new"]);
        assert!(!dies.env("BOTTLE_DIE_AFTER", step.name()).status().unwrap().success(), "{step:?}");
        let unfinished = contains("new is half of a fork that was cut off");
        project.bottle(&["up", "new"]).assert().code(73).stderr(unfinished);
        project.bottle(&["-q", "rm", "--force", "new"]).assert().success();
    }
    project.bottle(&["-q", "fork", "old", "new"]).assert().success();
    project.bottle(&["-q", "up", "new"]).assert().success();
    assert_eq!(project.said(&["-q", "exec", "new", "--", "cat", "made", "/disk"]), "work\nfirst\n");
    for slug in ["old", "new"] {
        project.bottle(&["-q", "rm", "--force", slug]).assert().success();
    }
}

/// A server in the guest that says what it was sent, once its client has finished, and keeps nothing else open.
const ECHO: &str = "setsid python3 -c '
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((\"127.0.0.1\", 3000)); s.listen(50)
while True:
    c, _ = s.accept(); got = b\"\"
    while True:
        more = c.recv(65536)
        if not more: break
        got += more
        if got == b\"reset\": break
    if got == b\"reset\":
        import struct
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(\"ii\", 1, 0)); c.close(); continue
    c.sendall(b\"got \" + got); c.close()
' > /dev/null 2>&1 < /dev/null &";

/// Sends bytes to a published port, ends that direction, and returns the answer.
fn ask(port: u64, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap()))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    stream.write_all(sent)?;
    if sent != b"reset" {
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_published_port_is_on_the_loopback_and_passes_ends_and_resets_on() {
    for stack in ["gvproxy", "sockets"] {
        let config = format!(
            "slug = \"t\"\n[workspace]\nmode = \"none\"\n[network]\nstack = \"{stack}\"\n[[publish]]\nguest = 3000\n"
        );
        let project = project_with(&config);
        let any = contains("publish   port 3000 of the guest on this machine's loopback, at any free port");
        project.bottle(&["plan"]).assert().success().stdout(any);
        let bottle = bottle_tests::RunningBottle::new(project).unwrap();
        bottle.bottle(&["up"]).assert().success().stderr(contains("http://t.localhost:"));
        let port = || bottle.json(&["ls", "--json"])[0]["published"][0]["host"].as_u64().unwrap();
        // Nothing listens in the guest yet.
        assert!(ask(port(), b"x").is_err(), "{stack}");
        bottle.exec(ECHO).success();
        eventually("the server answers", || ask(port(), b"hello").is_ok_and(|said| said == b"got hello"));
        let many: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        assert!(ask(port(), &many).unwrap()[4..] == many[..], "{stack}");
        // The server's reset is one here, too, and no end.
        let reset = ask(port(), b"reset").map_err(|error| error.kind());
        assert_eq!(reset, Err(std::io::ErrorKind::ConnectionReset), "{stack}");
        let shown = contains(format!("127.0.0.1:{}->guest:3000", port()));
        bottle.bottle(&["ls"]).assert().success().stdout(shown);
        let verified = bottle.bottle(&["verify", "--host-only", "t"]).assert().success();
        verified.stderr(contains("port 3000 of the guest at 127.0.0.1:"));
        bottle
            .bottle(&["logs", "t"])
            .assert()
            .success()
            .stdout(contains("publish   opened").and(contains("guest=3000")));
        let again = bottle.bottle(&["publish", "t", "3000"]).assert().code(73);
        again.stderr(contains("port 3000 of t is published already"));
        // A port that somebody else has is refused while the bottle still runs; the bottle's own is none of them.
        let before = port();
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        bottle.put("bottle.toml", &format!("{config}host = {}\n", held.local_addr().unwrap().port()));
        for command in [&["plan"][..], &["restart", "--trust"]] {
            bottle.bottle(command).assert().code(73).stderr(contains("another `host`"));
        }
        bottle.exec("true").success();
        bottle.put("bottle.toml", &format!("{config}host = {before}\n"));
        bottle.bottle(&["plan"]).assert().success();
        bottle.put("bottle.toml", &config);
        // It ends with the bottle, and comes back with it.
        bottle.bottle(&["-q", "restart"]).assert().success();
        bottle.exec(ECHO).success();
        eventually("the server answers", || ask(port(), b"again").is_ok_and(|said| said == b"got again"));
        bottle.bottle(&["-q", "stop"]).assert().success();
        eventually("nothing listens", || {
            std::net::TcpStream::connect(("127.0.0.1", u16::try_from(before).unwrap())).is_err()
        });
        eventually("the end is logged", || {
            bottle.said(&["logs", "t"]).matches("publish   closed").count() == 2
        });
    }
}

#[test]
fn a_guest_that_answers_out_of_form_breaks_off_its_stream_and_nothing_else() {
    let bottle = up("slug = \"t\"\n[workspace]\nmode = \"none\"\n");
    let mut child = follow(&bottle, &["publish", "t", "3000"]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let port = line.split("localhost:").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap();
    // Root in the guest puts its own program in the helper's place. Whatever that says is a chunk or a break.
    for said in [
        "printf '\\377\\377\\377\\377x'",
        "printf '\\000\\000\\000\\005ab'",
        "head -c 100000000 /dev/zero",
        "true",
    ] {
        let forged = format!(
            "printf '#!/bin/sh\\n%s\\n' \"$1\" > /tmp/forged && chmod 755 /tmp/forged && mount --bind /tmp/forged {}",
            bottle_core::helper::HELPER
        );
        bottle.bottle(&["-q", "exec", "t", "--", "sh", "-c", &forged, "sh", said]).assert().success();
        let heard = ask(port, b"x");
        // Zeros are an end at once; everything else is no answer.
        assert!(heard.as_ref().map_or(true, |heard| heard.is_empty() || heard == b"ab"), "{said}: {heard:?}");
        bottle.exec(&format!("umount -l {}", bottle_core::helper::HELPER)).success();
    }
    // The real one still works.
    bottle.exec(ECHO).success();
    eventually("the server answers", || ask(port, b"hello").is_ok_and(|said| said == b"got hello"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    assert!(child.wait().unwrap().success());
    eventually("the end is logged", || bottle.said(&["logs", "t"]).contains("publish   closed"));
}
