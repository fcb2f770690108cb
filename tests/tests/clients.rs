//! Real clients through the egress proxy to a real https server: curl, wget, git, pip, npm, Python's urllib
//! and requests, Node's fetch. An allowed host answers, and any other is refused at once.

use bottle_harness::https_server::HttpsServer;
use bottle_tests::{ProjectExt, RunningBottleExt, checkout, eventually, git, project_with, up_with};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The clients: a name, and a script that prints `got it` if it reaches `HOST`.
const CLIENTS: [(&str, &str); 8] = [
    ("curl", "curl -sS --cacert $CA https://HOST/hello"),
    ("wget", "wget -q --tries=1 --ca-certificate=$CA -O- https://HOST/hello"),
    ("git", "git -c http.sslCAInfo=$CA clone -q https://HOST/repo.git $(mktemp -d)/x && echo got it"),
    (
        "pip",
        "python3 -m pip download -q --disable-pip-version-check --retries 0 --no-deps --cert $CA -d $(mktemp -d) --index-url https://HOST/simple/ demo && echo got it",
    ),
    (
        "npm",
        "cd $(mktemp -d) && npm install --silent --no-fund --no-audit --fetch-retries=0 --cafile=$CA --registry https://HOST/npm/ demo && test -f node_modules/demo/package.json && echo got it",
    ),
    (
        "urllib",
        "SSL_CERT_FILE=$CA python3 -c 'import urllib.request as r; print(r.urlopen(\"https://HOST/hello\").read().decode())'",
    ),
    (
        "requests",
        "REQUESTS_CA_BUNDLE=$CA PYTHONPATH=/clients/python python3 -c 'import requests as r; print(r.get(\"https://HOST/hello\").text)'",
    ),
    (
        "fetch",
        "cd /clients && NODE_EXTRA_CA_CERTS=$CA node --input-type=module -e 'import { EnvHttpProxyAgent, fetch } from \"undici\"; console.log(await (await fetch(\"https://HOST/hello\", { dispatcher: new EnvHttpProxyAgent() })).text())'",
    ),
];

fn run(dir: &Path, program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Fills the server with a page, a repository, a Python package and an npm package.
fn fill(folder: &Path) {
    fs::write(folder.join("hello"), "got it\n").unwrap();
    git(folder, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
    git(folder, &["clone", "-q", "repo.git", "work"]);
    git(folder.join("work"), &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(folder.join("work"), &["push", "-q", "origin", "HEAD:main"]);
    git(folder.join("repo.git"), &["update-server-info"]);

    let wheel = "import zipfile, hashlib\nz = zipfile.ZipFile('demo-1.0-py3-none-any.whl', 'w')\nm = 'demo-1.0.dist-info/'\nz.writestr('demo.py', '')\nz.writestr(m + 'METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')\nz.writestr(m + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\nz.writestr(m + 'RECORD', '')\n";
    let simple = folder.join("simple/demo");
    fs::create_dir_all(&simple).unwrap();
    run(&simple, "python3", &["-c", wheel]);
    fs::write(simple.join("index.html"), "<a href=\"demo-1.0-py3-none-any.whl\">demo</a>").unwrap();

    let npm = folder.join("npm");
    fs::create_dir_all(npm.join("package")).unwrap();
    fs::write(npm.join("package/package.json"), r#"{"name":"demo","version":"1.0.0"}"#).unwrap();
    run(&npm, "tar", &["czf", "demo.tgz", "package"]);
    fs::write(
        npm.join("demo"),
        r#"{"name":"demo","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"demo","version":"1.0.0","dist":{"tarball":"https://files.test/npm/demo.tgz"}}}}"#,
    )
    .unwrap();
}

#[test]
fn real_clients_reach_an_allowed_host_and_are_refused_another_at_once() {
    let server = HttpsServer::serve(&["files.test", "other.test"]).unwrap();
    fill(&server.folder());
    let clients = checkout().tools().join("clients");
    let project = project_with(&format!(
        "slug = \"clients\"\n[egress]\nallow = [\"files.test\"]\nhosts = {{ \"files.test\" = \"{0}\", \"other.test\" = \"{0}\" }}\n\
         [guest.env]\nCA = \"/workspace/ca.pem\"\n\
         [[guest.volumes]]\nhost = \"{1}\"\nguest = \"/clients\"\n",
        server.address(),
        clients.display()
    ));
    fs::copy(server.authority(), project.path("ca.pem")).unwrap();
    let running = up_with(project, &[]);
    for (name, script) in CLIENTS {
        let ask = |host: &str| {
            let script = script.replace("HOST", host);
            running.bottle(&["-q", "exec", "--", "timeout", "40", "sh", "-c", &script]).output().unwrap()
        };
        let allowed = ask("files.test");
        assert!(
            allowed.status.success() && String::from_utf8_lossy(&allowed.stdout).contains("got it"),
            "{name}: {allowed:?}"
        );
        let refused = ask("other.test");
        // 124 is the time limit: a refusal never hangs.
        assert!(!refused.status.success() && refused.status.code() != Some(124), "{name}: {refused:?}");
        assert!(!String::from_utf8_lossy(&refused.stdout).contains("got it"), "{name}: {refused:?}");
    }
    let log = running.said(&["logs"]);
    assert!(log.matches("pipelock  allowed").count() >= CLIENTS.len(), "{log}");
    assert!(log.matches("request=CONNECT other.test:443").count() >= CLIENTS.len(), "{log}");
}

/// There is no fronting.
#[test]
fn tls_for_another_name_than_the_allowed_one_is_cut_off() {
    let server = HttpsServer::serve(&["files.test", "other.test"]).unwrap();
    fs::write(server.folder().join("hello"), "got it\n").unwrap();
    let project = project_with(&format!(
        "slug = \"fronting\"\n[egress]\nallow = [\"files.test\"]\nhosts = {{ \"files.test\" = \"{}\" }}\n",
        server.address()
    ));
    fs::copy(server.authority(), project.path("ca.pem")).unwrap();
    let running = up_with(project, &[]);
    let fetch = |words: &str| running.guest(&format!("curl -sS -m 20 --cacert ca.pem {words}; echo \" $?\""));
    assert_eq!(fetch("https://files.test/hello"), "got it\n 0\n");
    // An interrupted tunnel is in the log from its first byte on, and its bytes are counted.
    assert!(fetch("-m 1 https://files.test/drip").ends_with(" 28\n"));
    let log = running.said(&["audit"]);
    assert_eq!(log.matches("\"event\":\"opened\"").count(), 2, "{log}");
    eventually("both ends are in the log", || {
        let log = running.said(&["audit"]);
        let ended: Vec<&str> = log.lines().filter(|line| line.contains("\"event\":\"allowed\"")).collect();
        ended.len() == 2 && ended.iter().all(|line| !line.contains("\"bytes_down\":0"))
    });
    // The tunnel is requested for files.test, and the TLS inside it is for other.test.
    let said = fetch("--connect-to other.test:443:files.test:443 https://other.test/hello");
    assert_eq!(said, " 35\n");
    let log = running.said(&["logs", "--denied"]);
    assert!(log.contains("reason=server-name"), "{log}");
}

/// axios asks its proxy for https in absolute form, and the egress proxy speaks TLS for it.
#[test]
fn a_request_for_https_in_absolute_form_is_held_to_the_same_rules() {
    let server = HttpsServer::serve(&["files.test", "other.test"]).unwrap();
    fs::write(server.folder().join("hello"), "got it\n").unwrap();
    let project = project_with(&format!(
        "slug = \"absolute\"\n[egress]\nallow = [\"files.test\", \"wrong.test\", \"localhost\"]\nhosts = {{ \"files.test\" = \"{0}\", \"wrong.test\" = \"{0}\" }}\n",
        server.address()
    ));
    let authority = server.authority().display().to_string();
    let running = up_with(project, &[("SSL_CERT_FILE", &authority)]);
    let ask = |to: &str| {
        running.guest(&format!("curl -sS -m 20 -w '%{{http_code}}' --request-target {to} $HTTPS_PROXY"))
    };
    assert_eq!(ask("https://files.test/hello"), "got it\n200");
    assert_eq!(ask("https://FILES.test:443/hello"), "got it\n200");
    let wrong = ask("https://wrong.test/hello");
    assert!(wrong.contains("invalid peer certificate") && wrong.ends_with("502"), "{wrong}");
    for refused in
        ["https://other.test/", "https://files.test:8443/", "https://127.0.0.1/", "https://localhost/"]
    {
        let said = ask(refused);
        assert!(said.starts_with("bottle: ") && said.ends_with("403"), "{refused}: {said}");
    }
    assert!(ask("ftp://files.test/").ends_with("400"));
    assert!(running.said(&["logs"]).contains("GET https://files.test/hello"));
}

/// `allow = ["*"]` is every host, and none of this machine's networks.
#[test]
fn every_host_may_be_opened_and_no_network_with_it() {
    let server = HttpsServer::serve(&["files.test"]).unwrap();
    fs::write(server.folder().join("hello"), "got it\n").unwrap();
    let config = format!(
        "slug = \"wide\"\n[egress]\nallow = [\"*\"]\ndeny = [\"bad.test\"]\nhosts = {{ \"files.test\" = \"{0}\", \"bad.test\" = \"{0}\" }}\n",
        server.address()
    );
    let project = project_with(&config);
    fs::copy(server.authority(), project.path("ca.pem")).unwrap();
    assert!(project.said(&["plan"]).contains("EVERY HOST of the public internet"));
    let up = project.bottle(&["up"]).assert().success();
    let running = bottle_tests::RunningBottle::new(project).unwrap();
    let said = String::from_utf8_lossy(&up.get_output().stderr).into_owned();
    assert!(said.contains("wide may reach every host of the public internet, by the rule \"*\""), "{said}");
    assert_eq!(running.guest("curl -sS -m 20 --cacert ca.pem https://files.test/hello"), "got it\n");
    let refused = |to: &str| {
        running.guest(&format!("curl -sS -m 20 --noproxy x.test -o /dev/null -w '%{{http_connect}}' {to}"))
    };
    for closed in
        ["https://bad.test/", "https://localhost/", "https://169.254.169.254/", "https://files.test:8443/"]
    {
        assert_eq!(refused(closed), "403", "{closed}");
    }
    assert!(running.said(&["logs", "--denied"]).contains("localhost leads to "));
    // No exception covers every host, and no agent may ask for it.
    let exception = project_with("slug = \"t\"\n[egress]\nallow = [\"*\"]\nallow_private = [\"*\"]\n");
    let refused = exception.bottle(&["plan"]).assert().code(2);
    refused.stderr(predicates::str::contains("would open every host"));
    running.bottle(&["-q", "deny", "wide", "*"]).assert().success();
    assert!(
        running.guest("curl -sS -m 20 --cacert ca.pem https://files.test/hello; echo $?").ends_with("56\n")
    );
}

/// An origin that gets requests and answers none of them until `after`. It says how each of them ended.
fn silent_origin(after: Duration) -> (u16, Receiver<&'static str>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                tell.send("asked").unwrap();
                stream.set_read_timeout(Some(after)).unwrap();
                match stream.read(&mut [0]) {
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        tell.send("waited").unwrap();
                        let answer =
                            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nanswer";
                        let _ = stream.write_all(answer.as_bytes());
                    }
                    _ => tell.send("gone").unwrap(),
                }
            });
        }
    });
    (port, told)
}

fn silent(slug: &str, port: u16) -> String {
    format!(
        "slug = \"{slug}\"\n[egress]\nallow = [\"silent.test:{port}\"]\nhosts = {{ \"silent.test\" = \"127.0.0.1\" }}\n"
    )
}

/// Talks to the door as no usual client does.
const TALK: &str = r#"
import os, socket, struct, sys, urllib.parse
door = urllib.parse.urlparse(os.environ["HTTP_PROXY"])
to = socket.create_connection((door.hostname, door.port))
"#;

#[test]
fn a_client_that_gives_up_ends_its_request_at_once() {
    let (port, told) = silent_origin(Duration::from_secs(30));
    let running = up_with(project_with(&silent("gives-up", port)), &[]);
    let since = Instant::now();
    assert_eq!(running.guest(&format!("curl -sS -m 2 http://silent.test:{port}/; echo $?")), "28\n");
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), "asked");
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), "gone");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    eventually("it is in the log", || {
        running.said(&["logs"]).contains("the client gave up before there was a response")
    });
}

/// `printf | nc` closes its half as soon as it has asked. gvproxy knows no halves, and ends the connection.
#[test]
fn a_client_that_closes_only_its_half_gets_its_response() {
    let (port, told) = silent_origin(Duration::from_secs(2));
    let project = project_with(&format!("{}[network]\nstack = \"sockets\"\n", silent("half", port)));
    project.put("ask.py", &format!("{TALK}to.sendall(b'GET http://silent.test:{port}/ HTTP/1.1\\r\\nhost: silent.test:{port}\\r\\n\\r\\n')\nto.shutdown(socket.SHUT_WR)\ndata = b''\nwhile part := to.recv(4096): data += part\nprint(data.decode()[-6:])\n"));
    let running = up_with(project, &[]);
    assert_eq!(running.guest("timeout 20 python3 ask.py"), "answer\n");
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], ["asked", "waited"]);
}

#[test]
fn a_tunnel_is_logged_when_it_opens_and_with_its_bytes_however_it_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let project = project_with(&silent("tunnels", port));
    project.put("ask.py", &format!("{TALK}to.sendall(b'CONNECT silent.test:{port} HTTP/1.1\\r\\n\\r\\n')\nassert b' 200 ' in to.recv(4096)\nto.sendall(b'x' * 1000)\ngot = b''\nwhile len(got) < 70: got += to.recv(70)\nprint('open', flush=True)\nsys.stdin.readline()\nto.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\nto.close()\n"));
    let running = up_with(project, &[]);
    let lines = |event: &str| -> Vec<serde_json::Value> {
        let log = running.said(&["audit"]);
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["part"] == "pipelock" && line["event"] == event).collect()
    };
    let open = || {
        let mut asking = running.command(&["-q", "exec", "--", "python3", "ask.py"]);
        let mut asking = asking.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        stream.write_all(&[b'y'; 70]).unwrap();
        asking.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        (asking, stream)
    };
    let (mut asking, mut stream) = open();
    eventually("it is in the log while it is open", || lines("opened").len() == 1);
    assert!(lines("allowed").is_empty());
    drop(asking.stdin.take());
    assert!(asking.wait().unwrap().success());
    let _ = stream.read(&mut [0]);
    drop(stream);
    eventually("its end is in the log", || lines("allowed").len() == 1);
    let end = &lines("allowed")[0];
    assert_eq!((&end["bytes_up"], &end["bytes_down"]), (&1000.into(), &70.into()), "{end}");
    assert!(end["ms"].is_u64(), "{end}");

    // One that is open when the keeper stops has an end in the log, too.
    let (mut asking, _stream) = open();
    eventually("the second is open", || lines("opened").len() == 2);
    let before = Instant::now();
    running.bottle(&["-q", "stop"]).assert().success();
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    let _ = asking.wait();
    let ends = lines("allowed");
    assert_eq!(ends.len(), 2, "{ends:?}");
    let end = &ends[1];
    assert_eq!((&end["bytes_up"], &end["bytes_down"]), (&1000.into(), &70.into()), "{end}");
    assert_eq!(end["ended"], "the keeper stopped", "{end}");
}
