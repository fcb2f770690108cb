//! Bottles whose network stack is the guest's own kernel, with a stand-in guest.

use bottle_harness::page::Page;
use bottle_tests::{
    Project, ProjectExt, RunningBottleExt, allowing, alone, children, eventually, kill, project_with, up,
    up_with,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

const STACK: &str = "[network]\nstack = \"sockets\"\n";

/// Returns a `PATH` for a project in which a program is missing.
fn without(project: &Project, programs: &[&str]) -> String {
    let bin = project.on_host("few");
    std::fs::create_dir_all(&bin).unwrap();
    let command = project.command(&[]);
    let path = command.get_envs().find_map(|(name, value)| value.filter(|_| name == "PATH")).unwrap();
    for folder in std::env::split_paths(path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !programs.iter().any(|program| name == *program) {
                let _ = std::os::unix::fs::symlink(entry.path(), bin.join(name));
            }
        }
    }
    bin.to_str().unwrap().to_owned()
}

#[test]
fn the_doors_answer_and_everything_else_is_refused_at_once_and_logged() {
    let page = Page::serve("the page").unwrap();
    let running = up(&(allowing(&page) + STACK));
    running.exec(&format!("curl -sS http://page.test:{}/", page.port())).success().stdout("the page");
    // Each fails by itself: a limit would be a timeout, which is 28.
    for (what, status) in [
        ("curl -sS -m 5 --noproxy '*' http://192.0.2.1/", 7),
        ("curl -sS -m 5 --noproxy '*' http://proxy.internal:81/", 7),
        ("curl -sS -m 5 --noproxy '*' http://no.such.name/", 6),
    ] {
        running.exec(what).code(status);
    }
    eventually("the refusals are in the log", || {
        let log = running.said(&["logs"]);
        log.contains("tcp 192.0.2.1:80") && log.contains("dns no.such.name")
    });
    let keeper = running.keeper();
    let commands: Vec<String> = children(keeper).into_iter().map(bottle_tests::command_line).collect();
    assert!(!commands.concat().contains("gvproxy") && !commands.concat().contains("bwrap"), "{commands:?}");
}

#[test]
fn a_half_closed_connection_keeps_what_still_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).unwrap();
            stream.write_all(&asked.repeat(1_000)).unwrap();
        }
    });
    let running = up(&format!("slug = \"t\"\n{STACK}[supervise]\naddress = \"{address}\"\n"));
    let asks = "import os, socket, urllib.parse
door = urllib.parse.urlparse(os.environ[\"BOTTLE_SUPERVISE\"])
s = socket.create_connection((door.hostname, door.port), 10)
s.sendall(b\"x\" * 1000); s.shutdown(socket.SHUT_WR)
n = 0
while (read := s.recv(65536)): n += len(read)
print(n)";
    running.exec(&format!("python3 -c '{asks}'")).success().stdout("1000000\n");
}

#[test]
fn a_keeper_that_dies_resets_what_was_open_and_another_one_serves_the_same_guest() {
    let page = Page::serve("the page").unwrap();
    let running = up(&(allowing(&page) + STACK));
    let fetch = format!("curl -sS -m 10 http://page.test:{}/", page.port());
    let open = "import os, socket, urllib.parse
door = urllib.parse.urlparse(os.environ[\"HTTP_PROXY\"])
s = socket.create_connection((door.hostname, door.port), 10)
s.sendall(b\"GET / HT\"); open(\"/tmp/open\", \"w\").close()
try: print(s.recv(1))
except ConnectionResetError: print(\"reset\")
open(\"/tmp/reset\", \"w\").close()";
    running
        .exec(&format!(
            "setsid python3 -c '{open}' > /tmp/said 2>&1 & while [ ! -e /tmp/open ]; do sleep 0.05; done"
        ))
        .success();
    let door = running.plan().unwrap().doors.pipelock();
    kill(running.keeper());
    // Enter the guest without bottle, which enters none that has no keeper.
    let inside = |script: &str| {
        let words = ["machine", "exec", "--name", "bottle-t", "--", "sh", "-c", script];
        String::from_utf8(running.tool("smolvm", &words).output().unwrap().stdout).unwrap()
    };
    eventually("the connection is reset", || inside("cat /tmp/said") == "reset\n");
    eventually("a new one is refused at once", || {
        inside(&format!("curl -s -m 10 http://proxy.internal:{door}/; echo $?")).ends_with("7\n")
    });
    running.bottle(&["-q", "up"]).assert().success();
    running.exec(&fetch).success().stdout("the page");
}

#[test]
fn without_gvproxy_or_without_bubblewrap_a_bottle_runs_and_says_which_stack_it_has() {
    let page = Page::serve("the page").unwrap();
    for missing in ["gvproxy", "bwrap"] {
        let project = project_with(&allowing(&page));
        let path = without(&project, &[missing]);
        let plan = project.bottle(&["plan"]).env("PATH", &path).assert().success();
        let plan = String::from_utf8_lossy(&plan.get_output().stdout).into_owned();
        assert!(
            plan.contains("the guest's own kernel") && plan.contains(&format!("{missing} is not on PATH")),
            "{plan}"
        );
        if missing == "gvproxy" {
            // The stand-in itself is made of bubblewrap.
            let running = up_with(project, &[("PATH", &path)]);
            running.exec(&format!("curl -sS http://page.test:{}/", page.port())).success().stdout("the page");
        }
    }
}

#[test]
fn many_connections_go_through_one_door() {
    let page = Page::serve("the page").unwrap();
    let running = up(&(allowing(&page) + STACK));
    // Three hundred short ones, fifty at a time.
    let fetch = format!("curl -sS -m 20 http://page.test:{}/", page.port());
    running
        .exec(&format!("seq 300 | xargs -P 50 -I_ sh -c '{fetch}; echo' | grep -o 'the page' | wc -l"))
        .success()
        .stdout("300\n");
}

#[test]
fn verify_finds_a_hole_in_the_streams() {
    // A hole leads to every port of this host, and other tests have canaries there.
    if !alone(module_path!(), "verify_finds_a_hole_in_the_streams") {
        return;
    }
    let lo_up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(lo_up.success());
    let running =
        up_with(project_with(&format!("slug = \"t\"\n{STACK}")), &[("BOTTLE_WITHOUT", "doors-only")]);
    let judged = running.bottle(&["verify", "--json"]).output().unwrap();
    assert_eq!(judged.status.code(), Some(1), "{}", String::from_utf8_lossy(&judged.stdout));
    let whole = up(&format!("slug = \"t\"\n{STACK}"));
    let judged = whole.json(&["verify", "--json"]);
    assert_eq!(judged["verdict"], "isolated", "{judged}");
}
