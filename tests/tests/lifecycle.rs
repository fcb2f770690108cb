//! `bottle up`, `exec`, `stop`, `restart` and `rm`, with a stand-in guest.

use bottle_harness::page::Page;
use bottle_tests::{World, allowing, eventually, started, words};
use predicates::prelude::*;
use serde_json::Value;

struct Up(World);

impl Up {
    fn with(config: &str) -> Self {
        let world = World::with(config);
        world.bottle(&["-q", "up"]).assert().success();
        Self(world)
    }

    fn exec(&self, script: &str) -> assert_cmd::assert::Assert {
        self.0.bottle(&["-q", "exec", "--", "sh", "-c", script]).assert()
    }

    fn status(&self) -> Value {
        let output = self.0.bottle(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn kill_keeper(&self) {
        let keeper = i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap();
        let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
        rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
        eventually("the keeper is gone", || self.state() == "broken");
    }

    fn state(&self) -> String {
        let output = self.0.bottle(&["ls", "--json"]).output().unwrap();
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        rows[0]["state"].as_str().unwrap_or("gone").to_owned()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force"]).output();
    }
}

#[test]
fn a_bottle_stays_until_it_is_stopped_and_comes_back() {
    let page = Page::serve("the page").unwrap();
    let up = Up::with(&allowing(&page));
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    up.exec(&fetch).success().stdout("the page");
    assert_eq!(up.state(), "running");
    up.0.bottle(&["up"]).assert().success().stderr(predicate::str::contains("up already"));
    up.0.bottle(&["rm"]).assert().code(73);

    up.0.bottle(&["-q", "stop"]).assert().success();
    assert_eq!(up.state(), "stopped");
    up.0.bottle(&["-q", "exec", "--", "true"]).assert().code(66);
    up.0.bottle(&["-q", "up"]).assert().success();
    up.exec(&fetch).success().stdout("the page");
    up.0.bottle(&["-q", "restart"]).assert().success();
    up.exec(&fetch).success().stdout("the page");

    up.0.bottle(&["-q", "rm", "-f"]).assert().success();
    assert_eq!(up.state(), "gone");
    assert!(!up.0.path("run/t").exists() && !up.0.path("state/t").exists());
    up.0.bottle(&["-q", "rm"]).assert().code(66);
}

#[test]
fn who_is_not_the_machine_is_not_greeted_and_written_down() {
    use std::io::Read;
    let page = Page::serve("the page").unwrap();
    let up = Up::with(&allowing(&page));
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    // The machine has been greeted, and from then on nobody else gets to the socket.
    up.exec(&fetch).success().stdout("the page");
    let socket = up.0.path("run/t/guest.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for _ in 0..20 {
        // Who gets there all the same, the same user as here, is let go without a word.
        let mut stranger = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stranger.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let mut said = Vec::new();
        assert_eq!(stranger.read_to_end(&mut said).unwrap_or_default(), 0, "{said:?}");
    }
    up.exec(&fetch).success().stdout("the page");
    eventually("it is in the log", || {
        let log = up.0.bottle(&["audit"]).output().unwrap();
        let log = String::from_utf8(log.stdout).unwrap();
        let line = format!("\"pid\":{},\"uid\":", std::process::id());
        log.contains(&line) && log.matches("turned-away").count() == 5
    });
    // What a guest opens itself is its machine's: the newest counts, and the helper comes back.
    let opens =
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/bottle.sock'); print(s.recv(64))";
    up.exec(&format!("python3 -c \"{opens}\"")).success().stdout(predicate::str::contains("b'"));
    eventually("the helper is back", || {
        up.0.bottle(&["-q", "exec", "--", "sh", "-c", &fetch]).output().unwrap().stdout == b"the page"
    });
}

#[test]
fn the_project_is_the_workspace() {
    let up = Up::with("slug = \"t\"\n");
    up.0.write("file", "from the host");
    up.exec("pwd; cat file; echo from the guest > made").success().stdout("/workspace\nfrom the host");
    assert_eq!(std::fs::read_to_string(up.0.path("project/made")).unwrap(), "from the guest\n");
}

#[test]
fn rules_change_while_the_bottle_runs_and_stay_changed() {
    let page = Page::serve("the page").unwrap();
    let up = Up::with("slug = \"t\"\n[egress]\nhosts = { \"page.test\" = \"127.0.0.1\" }\n");
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    up.exec(&fetch).success().stdout(predicate::str::contains("bottle allow t page.test"));
    let plan = || std::fs::read_to_string(up.0.path("state/t/plan.json")).unwrap();
    let started_with = plan();
    up.0.bottle(&["-q", "allow", "t", &format!("page.test:{}", page.port())]).assert().success();
    up.exec(&fetch).success().stdout("the page");
    up.0.bottle(&["-q", "deny", "t", "page.test"]).assert().success();
    up.exec(&fetch).success().stdout(predicate::str::contains("a rule closes page.test"));
    // The plan is the record of the start, and stays it; what is open now is asked of the rules.
    assert_eq!(plan(), started_with);
    up.0.bottle(&["status"]).assert().success().stdout(predicate::str::contains("denied    page.test"));
    up.0.bottle(&["check", "page.test"]).assert().code(1).stdout(predicate::str::contains("a rule closes"));
    // And after a restart; and a bottle that is stopped takes a change, too.
    up.0.bottle(&["-q", "restart"]).assert().success();
    up.exec(&fetch).success().stdout(predicate::str::contains("a rule closes page.test"));
    up.0.bottle(&["-q", "stop"]).assert().success();
    up.0.bottle(&["-q", "allow", "t", &format!("page.test:{}", page.port())]).assert().success();
    up.0.bottle(&["-q", "up"]).assert().success();
    up.exec(&fetch).success().stdout("the page");
    let log = up.0.bottle(&["logs"]).output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert_eq!(
        (log.matches("rules     allowed").count(), log.matches("rules     denied").count()),
        (2, 1),
        "{log}"
    );
    assert!(log.contains("uid "), "{log}");
    up.0.bottle(&["audit", "--check"]).assert().success();
    up.0.bottle(&["-q", "allow", "nobody", "a.test"]).assert().code(66);
}

#[test]
fn a_changed_line_of_the_log_is_found() {
    let up = Up::with("slug = \"t\"\n");
    up.exec("curl -s http://a.test/ http://b.test/").success();
    up.0.bottle(&["-q", "stop"]).assert().success();
    up.0.bottle(&["audit", "--check"]).assert().success();
    let path = up.0.path("state/t/log/audit.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, log.replace("a.test", "c.test")).unwrap();
    up.0.bottle(&["audit", "--check"]).assert().code(1);
    let lines: Vec<&str> = log.lines().collect();
    std::fs::write(&path, [&lines[..1], &lines[2..]].concat().join("\n")).unwrap();
    up.0.bottle(&["audit", "--check"]).assert().code(1);
    std::fs::write(&path, &log).unwrap();
    up.0.bottle(&["audit", "--check"]).assert().success();
    // A decision cannot be cut off: the log knows that there was one.
    let decisions = up.0.path("state/t/log/decisions.jsonl");
    let decided = std::fs::read_to_string(&decisions).unwrap();
    let first = decided.lines().next().unwrap();
    std::fs::write(&decisions, format!("{first}\n")).unwrap();
    up.0.bottle(&["audit", "--check"]).assert().code(1);
}

#[test]
fn a_guest_without_its_keeper_reaches_nothing_and_up_mends_it() {
    let page = Page::serve("the page").unwrap();
    let up = Up::with(&allowing(&page));
    let fetch = format!("curl -sS -m 5 http://page.test:{}/", page.port());
    up.exec(&fetch).success().stdout("the page");
    up.kill_keeper();
    let asked = page.asked();
    up.0.bottle(&["-q", "exec", "--", "true"]).assert().code(66);
    // Past bottle, straight into the guest: it is told at once that there is no network.
    let inside = |script: &str| {
        let words = ["machine", "exec", "--name", "bottle-t", "--", "sh", "-c", script];
        up.0.tool("smolvm", &words).output().unwrap()
    };
    eventually("the guest's interface is down", || inside("ip route").stdout.is_empty());
    let refused = inside("touch /tmp/still-here; curl -sS -m 5 http://192.168.127.254:1/ 2>&1");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("curl: (7)"), "{refused:?}");
    assert_eq!(page.asked(), asked);
    up.0.bottle(&["-q", "up"]).assert().success();
    up.exec(&fetch).success().stdout("the page");
    // What ran in the guest goes on.
    up.exec("ls /tmp/still-here").success();
}

#[test]
fn gvproxy_is_started_again_and_the_doors_with_it() {
    let page = Page::serve("the page").unwrap();
    let up = Up::with(&allowing(&page));
    let fetch = format!("curl -sS -m 5 http://page.test:{}/", page.port());
    up.exec(&fetch).success().stdout("the page");
    let started = started(up.status()["pid"].as_u64().unwrap());
    kill(started[0]);
    eventually("gvproxy is started again", || up.status()["jail_restarts"] == 1);
    eventually("the door answers again", || {
        up.0.bottle(&["-q", "exec", "--", "sh", "-c", &fetch]).output().unwrap().stdout == b"the page"
    });
}

#[test]
fn a_sidecar_that_runs_elsewhere_is_behind_its_door() {
    let gate = Page::serve("the gate").unwrap();
    let up = Up::with(&format!(
        "slug = \"t\"\n[git-gate]\naddress = \"127.0.0.1:{}\"\n[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{{port}}\"]\n",
        gate.port()
    ));
    up.exec("curl -sS $BOTTLE_GIT_GATE/").success().stdout("the gate");
    eventually("the command's door answers", || {
        let words =
            ["-q", "exec", "--", "sh", "-c", "curl -sS -o /dev/null -w '%{http_code}' $BOTTLE_SUPERVISE/"];
        up.0.bottle(&words).output().unwrap().stdout == b"200"
    });
    // The port that its own sidecar holds is no reason to plan another.
    let doors = |words: &[&str]| {
        let said = up.0.bottle(words).output().unwrap();
        serde_json::from_slice::<Value>(&said.stdout).unwrap()["doors"].clone()
    };
    let running: Value =
        serde_json::from_str(&std::fs::read_to_string(up.0.path("state/t/plan.json")).unwrap()).unwrap();
    assert_eq!(doors(&["plan", "--json"]), running["doors"]);
}

#[test]
fn a_sidecar_that_never_comes_up_fails_up_with_its_last_words() {
    for (command, wanted) in [
        (
            r#"["sh", "-c", "echo one; echo no licence >&2; exit 3"]"#,
            "the sidecar supervise ended with exit status: 3; it said last:\n  | one\n  | no licence",
        ),
        (r#"["false"]"#, "the sidecar supervise ended with exit status: 1; it said nothing"),
        (r#"["/no/such/program"]"#, "the sidecar supervise: cannot run /no/such/program: No such file"),
        (r#"["sh", "-c", "echo waiting; sleep 60"]"#, "does not listen on 127.0.0.1:"),
    ] {
        let world = World::with(&format!("slug = \"never\"\n[supervise]\ncommand = {command}\n"));
        world.bottle(&["-q", "up"]).assert().code(69).stderr(predicate::str::contains(wanted));
        assert!(!world.path("run/never").exists(), "{command}");
        world.bottle(&["-q", "exec", "--", "true"]).assert().code(66);
    }
}

#[test]
fn a_sidecar_that_dies_comes_back_and_its_door_refuses_meanwhile() {
    let up = Up::with(
        "slug = \"again\"\n[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n",
    );
    let code = "curl -sS -m 10 -o /dev/null -w '%{http_code}' $BOTTLE_SUPERVISE/; echo \" $?\"";
    up.exec(code).stdout("200 0\n");
    let started = started(up.status()["pid"].as_u64().unwrap());
    kill(started.into_iter().find(|pid| words(*pid).contains("http.server")).unwrap());
    // Refused at once: curl's 56 is a reset, 52 an answer that never came, 7 no connection.
    let refused = up.0.bottle(&["-q", "exec", "--", "sh", "-c", code]).output().unwrap();
    assert!([&b"000 56\n"[..], b"000 52\n", b"000 7\n"].contains(&refused.stdout.as_slice()), "{refused:?}");
    eventually("it is back", || {
        up.0.bottle(&["-q", "exec", "--", "sh", "-c", code]).output().unwrap().stdout == b"200 0\n"
    });
}

/// pipelock itself is in no registry here: a stand-in command reads the file that it would be given.
#[test]
fn a_pipelock_that_is_a_command_is_given_its_configuration() {
    let up = Up::with(
        "slug = \"piped\"\n[egress]\nallow = [\"a.test\", \"b.test:8443\"]\n[pipelock]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--directory\", \"{stage}\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n",
    );
    let read = up.exec("curl -sS --noproxy '*' $HTTP_PROXY/pipelock.yaml").success();
    let text = String::from_utf8(read.get_output().stdout.clone()).unwrap();
    assert!(text.contains("not carried, and so closed: b.test:8443"), "{text}");
    let plan = std::fs::read_to_string(up.0.path("state/piped/plan.json")).unwrap();
    let port = serde_json::from_str::<Value>(&plan).unwrap()["doors"]["pipelock"].to_string();
    assert!(text.ends_with(&format!("mode: strict\napi_allowlist:\n- a.test\nfetch_proxy:\n  listen: 127.0.0.1:{port}\nforward_proxy:\n  enabled: true\n")), "{text}");
}

fn kill(pid: u64) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn the_kernel_can_be_the_stack_and_needs_no_gvproxy() {
    let page = Page::serve("the page").unwrap();
    // Out of the guest's reach, so that nobody is asked about a change.
    let gvproxy = allowing(&page) + "[workspace]\nmode = \"none\"\n";
    let kernel = gvproxy.clone() + "[network]\nstack = \"kernel\"\n";
    let up = Up::with(&kernel);
    let fetch = format!("curl -sS http://page.test:{}/", page.port());
    up.exec(&fetch).success().stdout("the page");
    // Nobody is in its namespace, and no file is about gvproxy.
    assert_eq!(started(up.status()["pid"].as_u64().unwrap()), [0; 0]);
    assert!(!up.0.path("state/t/jail/gvproxy.yaml").exists());
    up.0.bottle(&["status"])
        .assert()
        .success()
        .stdout(predicate::str::contains("stack     the host's kernel"));
    // What is refused is refused at once, by the guard.
    up.exec("curl -sS --max-time 5 http://192.0.2.1/ --noproxy '*'").code(7);

    // A keeper that dies takes the namespace with it; a new one mends it, and the guest goes on.
    up.exec("touch /tmp/mark").success();
    up.kill_keeper();
    up.0.bottle(&["-q", "up"]).assert().success();
    up.exec(&format!("test -e /tmp/mark && {fetch}")).success().stdout("the page");

    // To the other stack and back, on the same disk: another subnet each time.
    for (config, named) in [(&gvproxy, "gvproxy"), (&kernel, "kernel")] {
        up.0.write("bottle.toml", config);
        up.0.bottle(&["-q", "restart"]).assert().success();
        up.exec(&fetch).success().stdout("the page");
        assert_eq!(started(up.status()["pid"].as_u64().unwrap()).is_empty(), named == "kernel", "{named}");
    }

    // Changed while there was no keeper, the machine cannot just be given a new one.
    up.kill_keeper();
    up.0.write("bottle.toml", &gvproxy);
    up.0.bottle(&["-q", "up"]).assert().success();
    up.exec(&fetch).success().stdout("the page");
}

#[test]
fn without_gvproxy_only_the_kernel_will_do() {
    let world = World::with("slug = \"t\"\n[network]\nstack = \"kernel\"\n");
    // bubblewrap and the stand-in, and nothing else.
    let bin = world.path("only");
    std::fs::create_dir(&bin).unwrap();
    for program in ["bwrap", "sh", "nsenter", "env", "true"] {
        let found = ["/usr/bin", "/bin"].map(|dir| std::path::Path::new(dir).join(program));
        let found = found.iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, bin.join(program)).unwrap();
    }
    std::os::unix::fs::symlink(world.path("bin/smolvm"), bin.join("smolvm")).unwrap();
    let bottle = |words: &[&str]| {
        let mut command = world.bottle(words);
        command.env("PATH", &bin);
        command.assert()
    };
    bottle(&["-q", "run", "--", "true"]).success();
    world.write("bottle.toml", "slug = \"t\"\n");
    bottle(&["-q", "run", "--", "true"]).code(69).stderr(predicate::str::contains("gvproxy is not on PATH"));
}
