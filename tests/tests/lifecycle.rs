//! `bottle up`, `exec`, `stop`, `restart` and `rm`, with a stand-in guest.

use bottle_harness::page::Page;
use bottle_tests::{
    Project, ProjectExt, RunningBottle, RunningBottleExt, allowing, command_line, eventually, kill,
    project_with, started_by, up,
};
use predicates::prelude::*;
use serde_json::Value;

fn kill_keeper(running: &RunningBottle) {
    kill(running.keeper());
    eventually("the keeper is gone", || state(running) == "broken");
}

fn state(project: &Project) -> String {
    project.json(&["ls", "--json"])[0]["state"].as_str().unwrap_or("gone").to_owned()
}

#[test]
fn a_bottle_runs_until_it_is_stopped_and_can_be_started_again() {
    let page = Page::serve("the page").unwrap();
    let running = up(&allowing(&page));
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    running.exec(&fetch).success().stdout("the page");
    assert_eq!(state(&running), "running");
    running.bottle(&["up"]).assert().success().stderr(predicate::str::contains("up already"));
    running.bottle(&["rm"]).assert().code(73);

    running.bottle(&["-q", "stop"]).assert().success();
    assert_eq!(state(&running), "stopped");
    running.bottle(&["-q", "exec", "--", "true"]).assert().code(66);
    running.bottle(&["-q", "up"]).assert().success();
    running.exec(&fetch).success().stdout("the page");
    running.bottle(&["-q", "restart"]).assert().success();
    running.exec(&fetch).success().stdout("the page");

    running.bottle(&["-q", "rm", "-f"]).assert().success();
    assert_eq!(state(&running), "gone");
    assert!(!running.on_host("run/t").exists() && !running.on_host("state/t").exists());
    running.bottle(&["-q", "rm"]).assert().code(66);
}

#[test]
fn a_stranger_on_the_guests_socket_is_not_greeted_and_is_logged() {
    use std::io::Read;
    let page = Page::serve("the page").unwrap();
    let running = up(&allowing(&page));
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    // Once the machine has been greeted, nobody else may connect to the socket.
    running.exec(&fetch).success().stdout("the page");
    let socket = running.on_host("run/t/guest.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for _ in 0..20 {
        // A process that connects anyway, as the same user, is dropped without a greeting.
        let mut stranger = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stranger.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let mut said = Vec::new();
        assert_eq!(stranger.read_to_end(&mut said).unwrap_or_default(), 0, "{said:?}");
    }
    running.exec(&fetch).success().stdout("the page");
    eventually("the stranger is in the log", || {
        let log = running.said(&["audit"]);
        let line = format!("\"pid\":{},\"uid\":", std::process::id());
        log.contains(&line) && log.matches("turned-away").count() == 5
    });
    // A connection from inside the guest is the machine's. The newest counts, and the helper comes back.
    let opens =
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/bottle.sock'); print(s.recv(64))";
    running.exec(&format!("python3 -c \"{opens}\"")).success().stdout(predicate::str::contains("b'"));
    eventually("the helper is back", || running.guest(&fetch) == "the page");
}

#[test]
fn the_project_is_the_workspace_where_a_person_chooses_that() {
    let running = up("slug = \"t\"\n[workspace]\nmode = \"read-write\"\n");
    running.put("file", "from the host");
    running.exec("pwd; cat file; echo from the guest > made").success().stdout("/workspace\nfrom the host");
    assert_eq!(std::fs::read_to_string(running.path("made")).unwrap(), "from the guest\n");
}

#[test]
fn rules_can_be_changed_while_the_bottle_runs_and_persist() {
    let page = Page::serve("the page").unwrap();
    let running = up("slug = \"t\"\n[egress]\nhosts = { \"page.test\" = \"127.0.0.1\" }\n");
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    running.exec(&fetch).success().stdout(predicate::str::contains("bottle allow t page.test"));
    let plan = || std::fs::read_to_string(running.on_host("state/t/plan.json")).unwrap();
    let started_with = plan();
    running.bottle(&["-q", "allow", "t", &format!("page.test:{}", page.port())]).assert().success();
    running.exec(&fetch).success().stdout("the page");
    running.bottle(&["-q", "deny", "t", "page.test"]).assert().success();
    running.exec(&fetch).success().stdout(predicate::str::contains("a rule closes page.test"));
    // The plan stays the record of the start. The rules say what is allowed now.
    assert_eq!(plan(), started_with);
    running.bottle(&["status"]).assert().success().stdout(predicate::str::contains("denied    page.test"));
    running
        .bottle(&["check", "page.test"])
        .assert()
        .code(1)
        .stdout(predicate::str::contains("a rule closes"));
    // The change survives a restart, and a stopped bottle's rules can be changed, too.
    running.bottle(&["-q", "restart"]).assert().success();
    running.exec(&fetch).success().stdout(predicate::str::contains("a rule closes page.test"));
    running.bottle(&["-q", "stop"]).assert().success();
    running.bottle(&["-q", "allow", "t", &format!("page.test:{}", page.port())]).assert().success();
    running.bottle(&["-q", "up"]).assert().success();
    running.exec(&fetch).success().stdout("the page");
    let log = running.said(&["logs"]);
    assert_eq!(
        (log.matches("rules     allowed").count(), log.matches("rules     denied").count()),
        (2, 1),
        "{log}"
    );
    assert!(log.contains("uid "), "{log}");
    running.bottle(&["audit", "--check"]).assert().success();
    running.bottle(&["-q", "allow", "nobody", "a.test"]).assert().code(66);
}

#[test]
fn a_changed_log_line_is_detected() {
    let running = up("slug = \"t\"\n");
    running.exec("curl -s http://a.test/ http://b.test/").success();
    running.bottle(&["-q", "stop"]).assert().success();
    running.bottle(&["audit", "--check"]).assert().success();
    let path = running.on_host("state/t/log/audit.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, log.replace("a.test", "c.test")).unwrap();
    running.bottle(&["audit", "--check"]).assert().code(1);
    let lines: Vec<&str> = log.lines().collect();
    std::fs::write(&path, [&lines[..1], &lines[2..]].concat().join("\n")).unwrap();
    running.bottle(&["audit", "--check"]).assert().code(1);
    std::fs::write(&path, &log).unwrap();
    running.bottle(&["audit", "--check"]).assert().success();
    // A decision cannot be cut off without a trace in the other file.
    let decisions = running.on_host("state/t/log/decisions.jsonl");
    let decided = std::fs::read_to_string(&decisions).unwrap();
    let first = decided.lines().next().unwrap();
    std::fs::write(&decisions, format!("{first}\n")).unwrap();
    running.bottle(&["audit", "--check"]).assert().code(1);
}

#[test]
fn a_guest_without_its_keeper_reaches_nothing_until_up_restores_it() {
    let page = Page::serve("the page").unwrap();
    let running = up(&allowing(&page));
    let fetch = format!("curl -sS -m 5 http://page.test:{}/", page.port());
    running.exec(&fetch).success().stdout("the page");
    kill_keeper(&running);
    let asked = page.connections();
    running.bottle(&["-q", "exec", "--", "true"]).assert().code(66);
    // Enter the guest without bottle: there is no network, and it says so at once.
    let inside = |script: &str| {
        let words = ["machine", "exec", "--name", "bottle-t", "--", "sh", "-c", script];
        running.tool("smolvm", &words).output().unwrap()
    };
    eventually("the guest's interface is down", || inside("ip route").stdout.is_empty());
    let refused = inside("touch /tmp/still-here; curl -sS -m 5 http://192.168.127.254:1/ 2>&1");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("curl: (7)"), "{refused:?}");
    assert_eq!(page.connections(), asked);
    running.bottle(&["-q", "up"]).assert().success();
    running.exec(&fetch).success().stdout("the page");
    // The guest has kept its files.
    running.exec("ls /tmp/still-here").success();
}

#[test]
fn gvproxy_is_restarted_with_its_doors() {
    let page = Page::serve("the page").unwrap();
    let running = up(&allowing(&page));
    let fetch = format!("curl -sS -m 5 http://page.test:{}/", page.port());
    running.exec(&fetch).success().stdout("the page");
    let started = started_by(running.keeper());
    kill(started[0]);
    eventually("gvproxy is restarted", || running.status().unwrap().jail_restarts == 1);
    eventually("the door answers again", || running.guest(&fetch) == "the page");
}

#[test]
fn a_sidecar_that_runs_elsewhere_is_behind_its_door() {
    let gate = Page::serve("the gate").unwrap();
    let running = up(&format!(
        "slug = \"elsewhere\"\n[git-gate]\naddress = \"127.0.0.1:{}\"\n[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{{port}}\"]\n",
        gate.port()
    ));
    running.exec("curl -sS $BOTTLE_GIT_GATE/").success().stdout("the gate");
    eventually("the command's door answers", || {
        running.guest("curl -sS -o /dev/null -w '%{http_code}' $BOTTLE_SUPERVISE/") == "200"
    });
    // The plan keeps the port that the bottle's own sidecar holds.
    let started: Value =
        serde_json::from_str(&std::fs::read_to_string(running.on_host("state/elsewhere/plan.json")).unwrap())
            .unwrap();
    assert_eq!(running.json(&["plan", "--json"])["doors"], started["doors"]);
}

#[test]
fn a_bottle_that_runs_keeps_the_port_that_it_got_when_another_one_was_taken() {
    let project = project_with(
        "slug = \"taken\"\n[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n",
    );
    let doors = || project.json(&["plan", "--json"])["doors"].clone();
    let first = doors();
    let port = u16::try_from(first["supervise"].as_u64().unwrap()).unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let second = doors();
    assert_ne!(first, second);
    let running = RunningBottle::new(project.clone()).unwrap();
    running.bottle(&["-q", "up"]).assert().success();
    drop(taken);
    assert_eq!(doors(), second);
    let keeper = running.keeper();
    running.bottle(&["-q", "up"]).assert().success();
    assert_eq!(running.keeper(), keeper);
    running.exec("curl -sS -o /dev/null $BOTTLE_SUPERVISE/").success();
}

#[test]
fn up_fails_with_the_last_output_of_a_sidecar_that_does_not_start() {
    for (command, wanted) in [
        (
            r#"["sh", "-c", "echo one; echo no licence >&2; exit 3"]"#,
            "the sidecar supervise ended with exit status: 3; it said last:\n  | one\n  | no licence",
        ),
        (r#"["false"]"#, "the sidecar supervise ended with exit status: 1; it said nothing"),
        (r#"["/no/such/program"]"#, "bottle.toml:2:1: the program /no/such/program does not exist"),
        (r#"["sh", "-c", "echo waiting; sleep 60"]"#, "does not listen on 127.0.0.1:"),
    ] {
        let project = project_with(&format!("slug = \"never\"\n[supervise]\ncommand = {command}\n"));
        project.bottle(&["-q", "up"]).assert().code(69).stderr(predicate::str::contains(wanted));
        assert!(!project.on_host("run/never").exists(), "{command}");
        project.bottle(&["-q", "exec", "--", "true"]).assert().code(66);
    }
}

#[test]
fn a_dead_sidecar_is_restarted_and_its_door_refuses_meanwhile() {
    let running = up(
        "slug = \"again\"\n[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n",
    );
    let code = "curl -sS -m 10 -o /dev/null -w '%{http_code}' $BOTTLE_SUPERVISE/; echo \" $?\"";
    running.exec(code).stdout("200 0\n");
    let started = started_by(running.keeper());
    kill(started.into_iter().find(|pid| command_line(*pid).contains("http.server")).unwrap());
    // Refused at once: curl's 56 is a reset, 52 a missing answer, 7 a refused connection.
    let refused = running.bottle(&["-q", "exec", "--", "sh", "-c", code]).output().unwrap();
    assert!([&b"000 56\n"[..], b"000 52\n", b"000 7\n"].contains(&refused.stdout.as_slice()), "{refused:?}");
    eventually("the sidecar is back", || running.guest(code) == "200 0\n");
}

/// The pipelock program itself is not available here. A stand-in command serves the file that it would get.
#[test]
fn a_pipelock_command_is_given_its_configuration() {
    let running = up(
        "slug = \"piped\"\n[egress]\nallow = [\"a.test\", \"b.test:8443\"]\n[pipelock]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--directory\", \"{stage}\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n",
    );
    let read = running.exec("curl -sS --noproxy '*' $HTTP_PROXY/pipelock.yaml").success();
    let text = String::from_utf8(read.get_output().stdout.clone()).unwrap();
    assert!(text.contains("not carried, and so closed: b.test:8443"), "{text}");
    let plan = std::fs::read_to_string(running.on_host("state/piped/plan.json")).unwrap();
    let port = serde_json::from_str::<Value>(&plan).unwrap()["doors"]["pipelock"].to_string();
    assert!(text.ends_with(&format!("mode: strict\napi_allowlist:\n- a.test\nfetch_proxy:\n  listen: 127.0.0.1:{port}\nforward_proxy:\n  enabled: true\n")), "{text}");
}

#[test]
fn a_bottle_changes_its_stack() {
    let page = Page::serve("the page").unwrap();
    // Without a workspace, so that nobody is asked about a change.
    let gvproxy = allowing(&page) + "[workspace]\nmode = \"none\"\n[network]\nstack = \"gvproxy\"\n";
    let sockets = gvproxy.replace("\"gvproxy\"", "\"sockets\"");
    let running = up(&sockets);
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    running.exec(&fetch).success().stdout("the page");
    for (config, named) in [(&gvproxy, "gvproxy"), (&sockets, "sockets")] {
        running.put("bottle.toml", config);
        running.bottle(&["-q", "restart"]).assert().success();
        running.exec(&fetch).success().stdout("the page");
        assert_eq!(started_by(running.keeper()).is_empty(), named == "sockets", "{named}");
    }

    // The machine follows a change that was made while it had no keeper.
    kill_keeper(&running);
    running.put("bottle.toml", &gvproxy);
    running.bottle(&["-q", "up"]).assert().success();
    running.exec(&fetch).success().stdout("the page");
}

#[test]
fn a_stack_that_was_asked_for_is_not_replaced() {
    let project = project_with("slug = \"t\"\n[network]\nstack = \"sockets\"\n");
    // A PATH with bubblewrap, the stand-in, and what they need.
    let bin = project.on_host("only");
    std::fs::create_dir(&bin).unwrap();
    for program in ["bwrap", "sh", "nsenter", "env", "true"] {
        let found = ["/usr/bin", "/bin"].map(|dir| std::path::Path::new(dir).join(program));
        let found = found.iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, bin.join(program)).unwrap();
    }
    std::os::unix::fs::symlink(project.on_host("bin/smolvm"), bin.join("smolvm")).unwrap();
    let bottle = |words: &[&str]| {
        let mut command = project.bottle(words);
        command.env("PATH", &bin);
        command.assert()
    };
    bottle(&["-q", "run", "--", "true"]).success();
    project.put("bottle.toml", "slug = \"t\"\n[network]\nstack = \"gvproxy\"\n");
    bottle(&["-q", "run", "--", "true"]).code(69).stderr(predicate::str::contains("gvproxy is not on PATH"));
}
