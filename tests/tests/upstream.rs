//! Keys that never enter the guest: an upstream on the egress proxy's own path, over real TLS.

mod adverse;

use bottle_harness::https_server::HttpsServer;
use bottle_tests::{
    ProjectExt, RunningBottle, RunningBottleExt, children, command_line, eventually, project_with,
    started_by, up_with,
};
use predicates::prelude::*;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::Command;

const KEY: &str = "sk-very-secret-0123456789";

fn config(address: Ipv4Addr) -> String {
    format!(
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n[egress]\nhosts = {{ \"api.test\" = \"{address}\" }}\n\
         [[upstream]]\npath = \"/api\"\norigin = \"https://api.test\"\n\
         headers = {{ x-api-key = {{ from_env = \"TEST_KEY\" }} }}\nenv = {{ API_URL = \"/echo\", API_BASE = \"\" }}\n\
         [[upstream]]\npath = \"/file\"\norigin = \"https://api.test/echo/base\"\n\
         headers = {{ authorization = {{ from_file = \"key\", prefix = \"Bearer \" }} }}\nenv = {{ FILE_URL = \"\" }}\n\
         [[upstream]]\npath = \"/command\"\norigin = \"https://api.test/echo\"\n\
         headers = {{ authorization = {{ from_command = [\"printf\", \"printed\"] }} }}\nenv = {{ COMMAND_URL = \"\" }}\n"
    )
}

struct Keyed(RunningBottle);

impl Keyed {
    fn new(config: &str, server: &HttpsServer) -> Self {
        let project = project_with(config);
        project.put("key", &format!("{KEY}-f\n"));
        let authority = server.authority().display().to_string();
        Self(up_with(project, &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)]))
    }

    /// Returns the request that the origin saw. The guest is told everything but the headers.
    fn echo(&self, server: &HttpsServer, script: &str) -> Value {
        let said = self.0.guest(script);
        let told: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{script}: {said}"));
        let seen = server.requests().pop().unwrap();
        assert_eq!((&told["path"], &told["body"]), (&seen["path"], &seen["body"]));
        seen
    }
}

#[test]
fn the_origin_gets_the_key_and_the_guest_does_not() {
    let server = HttpsServer::serve(&["api.test"]).unwrap();
    let running = Keyed::new(&config(server.address()), &server);

    let seen = running.echo(
        &server,
        "curl -sS $API_URL/v1/x?y=z -d body -H 'x-api-key: placeholder' -H 'authorization: Bearer other' -H 'cookie: a=b' -H 'x-mine: kept' -H 'host: evil.test'",
    );
    assert_eq!((&seen["method"], &seen["path"]), (&Value::from("POST"), &Value::from("/echo/v1/x?y=z")));
    let headers = &seen["headers"];
    assert_eq!(headers["x-api-key"], KEY);
    assert_eq!((&headers["host"], &headers["x-mine"]), (&Value::from("api.test"), &Value::from("kept")));
    assert_eq!((&headers["authorization"], &headers["cookie"]), (&Value::Null, &Value::Null), "{seen}");
    assert_eq!(seen["body"], "body");
    let seen = running.echo(&server, "curl -sS $FILE_URL/v2");
    assert_eq!(seen["path"], "/echo/base/v2");
    assert_eq!(seen["headers"]["authorization"], format!("Bearer {KEY}-f"));
    assert_eq!(running.echo(&server, "curl -sS $COMMAND_URL")["headers"]["authorization"], "printed");

    // An answer is passed on as it is sent.
    let events =
        "curl -sSN $API_BASE/events | { read first; echo \"$first\"; curl -sS $API_BASE/go; grep data; }";
    assert_eq!(running.0.guest(events), "data: first\ngone\ndata: second\n");

    // The guest can choose only a path below the upstream's.
    let status = |words: &str| {
        running.0.guest(&format!("curl -sS -o /dev/null -w '%{{http_code}}' --path-as-is {words}"))
    };
    for climbs in ["/../x", "/..;/x", "/%252e%252e/x", "/x//y"] {
        assert_eq!(status(&format!("\"$API_BASE{climbs}\"")), "400", "{climbs}");
    }
    assert_eq!(status("$FILE_URL/%2e%2e/x"), "400");
    assert_eq!(status("${API_BASE}x"), "404");
    // The key does not come back, neither by a method nor in an answer.
    for method in ["TRACE", "TRACK", "get", "PROPFIND"] {
        assert_eq!(status(&format!("-X {method} $API_BASE/mirror")), "405", "{method}");
    }
    assert_eq!(status("-H 'connection: upgrade' -H 'upgrade: h2c' $API_BASE/echo"), "200");
    assert_eq!(status("$API_BASE/mirror-header"), "502");
    let mirror = running.0.guest("curl -sS $API_BASE/mirror 2>&1");
    // The answer is cut off in the middle, or before its head.
    let ended = mirror.contains("curl: (") || mirror.contains("api.test broke off");
    assert!(!mirror.contains(KEY) && ended, "{mirror}");
    let headers = running.0.guest("curl -sSi $API_URL/x");
    assert!(headers.contains("200 OK") && !headers.to_lowercase().contains("cookie"), "{headers}");
    let log = running.0.said(&["logs", "--denied"]);
    for reason in ["reason=method", "reason=key", "reason=path"] {
        assert!(log.contains(reason), "{reason}: {log}");
    }
    assert!(running.0.guest("curl -sS $HTTPS_PROXY/").contains("\n  /api\n  /file\n  /command\n"));
    // The key opens nothing else to the agent: api.test is not an allowed host.
    assert_eq!(status("-x $HTTPS_PROXY http://api.test/"), "403");
    running.0.bottle(&["-q", "deny", "t", "api.test"]).assert().success();
    assert!(running.0.guest("curl -sS $API_URL").contains("a rule closes api.test"));

    // Only the process that holds the key has it: no file, argument, log or other environment.
    let log = running.0.said(&["logs"]);
    assert!(log.contains("POST /api/echo/v1/x") && !log.contains("y=z"), "{log}");
    assert!(!running.0.guest("env; cat /proc/*/environ").contains(KEY));
    let keeper = running.0.keeper();
    let environment = |pid: u64| {
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()).into_owned()
    };
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(KEY));
    }
    let (holders, others): (Vec<u64>, Vec<u64>) =
        children(keeper).into_iter().partition(|pid| command_line(*pid).contains(" keys "));
    let started = started_by(keeper);
    assert!(holders.len() == 1 && others.len() == 1 && !started.is_empty(), "{others:?} {started:?}");
    assert!(environment(holders[0]).contains(KEY), "the holder's key is in its environment");
    for pid in [keeper].into_iter().chain(others).chain(started) {
        assert!(!environment(pid).contains(KEY), "{}", command_line(pid));
    }
    let mut files = 0;
    for folder in ["state", "run"] {
        for path in all(&running.0.on_host(folder)) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            assert!(!text.contains(KEY), "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 6, "{files}");
}

fn all(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { all(&entry.path()) } else { vec![entry.path()] })
        .filter(|path| path.is_file())
        .collect()
}

/// The bottle goes on without its upstreams, and says so wherever somebody looks.
#[test]
fn a_process_with_keys_that_is_killed_is_missed_and_a_restart_brings_it_back() {
    let server = HttpsServer::serve(&["api.test"]).unwrap();
    let running = Keyed::new(&config(server.address()), &server);
    let asked = "curl -sS -w ' %{http_code}' $API_URL/v1";
    assert!(running.0.guest(asked).ends_with(" 200"));
    let status = |of: &RunningBottle| of.json(&["status", "--json"])["keys_ended"].clone();
    assert_eq!(status(&running.0), false);
    let holder = children(running.0.keeper()).into_iter().find(|pid| command_line(*pid).contains(" keys "));
    assert!(Command::new("kill").args(["-9", &holder.unwrap().to_string()]).status().unwrap().success());
    eventually("its end is noticed", || status(&running.0) == true);
    let said = running.0.guest(asked);
    assert!(said.contains("the process that holds the keys has ended") && said.ends_with(" 502"), "{said}");
    assert!(running.0.said(&["status"]).contains("`bottle restart t` starts it again"));
    assert!(running.0.said(&["logs"]).contains("keeper    keys-ended"));
    assert_eq!(running.0.json(&["ls", "--json"])[0]["state"], "running");
    running
        .0
        .bottle(&["-q", "restart"])
        .env("TEST_KEY", KEY)
        .env("SSL_CERT_FILE", server.authority())
        .assert()
        .success();
    assert!(running.0.guest(asked).ends_with(" 200"));
    assert_eq!(status(&running.0), false);
}

#[test]
fn an_origin_that_cannot_prove_its_name_gets_no_key() {
    let server = HttpsServer::serve(&["other.test"]).unwrap();
    let running = Keyed::new(&config(server.address()), &server);
    let said = running.0.guest("curl -sS $API_URL/v1");
    assert!(said.contains("bottle: api.test broke off: invalid peer certificate"), "{said}");
}

#[test]
fn a_missing_secret_is_named_and_nothing_is_started() {
    for (config, wanted) in [
        (
            "headers = { x-key = { from_env = \"NO_SUCH_KEY\" } }",
            "the header x-key of the upstream /a, from $NO_SUCH_KEY: it is not set",
        ),
        ("headers = { x-key = { from_file = \"missing\" } }", "missing: No such file or directory"),
        (
            "headers = { x-key = { from_command = [\"false\"] } }",
            "from the command false: it ended with exit status: 1",
        ),
        ("headers = { x-key = { from_command = [\"true\"] } }", "from the command true: it is empty"),
        (
            "headers = { x-key = { from_command = [\"printf\", \"a\\\\nb\"] } }",
            "it contains a character that is not allowed in a header",
        ),
    ] {
        let project = project_with(&format!(
            "slug = \"t\"\n[workspace]\nmode = \"none\"\n[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\n{config}\n"
        ));
        for command in [&["up"][..], &["run", "--", "true"]] {
            project.bottle(command).assert().failure().stderr(predicate::str::contains(wanted));
        }
        assert!(!project.on_host("run/t").exists(), "{config}");
    }
}

/// What a real network does with requests: it limits them, streams them, breaks them off and makes sockets of them.
#[test]
fn requests_are_passed_on_as_they_come_and_rules_decide_which() {
    let server = HttpsServer::serve(&["api.test"]).unwrap();
    let config = config(server.address()).replacen(
        "path = \"/file\"\n",
        "path = \"/file\"\nallow = [\"GET /v2/*\", \"POST,PUT /v1/x\"]\n",
        1,
    );
    let running = Keyed::new(&config, &server);
    let talk =
        |words: &str| format!("timeout 30 python3 - $API_BASE/socket {words} << 'END'\n{SOCKET}\nEND\n");

    // By method and path, and in no other spelling.
    let status = |words: &str| {
        running.0.guest(&format!("curl -sS -m 20 -o /dev/null -w '%{{http_code}}' --path-as-is {words}"))
    };
    for (words, code) in [
        ("$FILE_URL/v2/x?y", "200"),
        ("-X POST $FILE_URL/v1/x", "200"),
        ("$FILE_URL/v1/x", "403"),
        ("-X DELETE $FILE_URL/v2/x", "403"),
        ("$FILE_URL/V2/x", "403"),
        ("$FILE_URL/%76%32/x", "403"),
        ("$FILE_URL/v2;a/x", "403"),
        ("$FILE_URL/v2/..;/x", "400"),
        ("-X POST '$FILE_URL/v1/x?_method=DELETE'", "403"),
        ("-X POST '$FILE_URL/v1/x?%5Fmethod=DELETE'", "403"),
        ("-g -X POST '$FILE_URL/v1/x?labels%5B%5D=bug'", "200"),
    ] {
        assert_eq!(status(&words.replace('\'', "\"")), code, "{words}");
    }
    let said = running.0.guest("curl -sS -m 20 -X DELETE $FILE_URL/v2/x?key=secret");
    let wanted = "bottle: the rules for /file allow GET /v2/*, POST,PUT /v1/x; not DELETE /v2/x\n";
    assert_eq!(said, wanted);
    let said = running
        .0
        .guest("curl -sS -m 20 -X POST '$FILE_URL/v1/x?_method=DELETE'".replace('\'', "\"").as_str());
    assert!(said.contains("POST /v1/x, but not with this query"), "{said}");
    assert!(running.0.said(&["logs", "--denied"]).contains("reason=request-rule"));
    let check = |path: &str| running.0.said(&["check", path]);
    assert!(check("/file/v2/x").contains("allowed for GET, HEAD: "), "{}", check("/file/v2/x"));
    assert!(check("/file/v3").contains("refused: the rules for /file allow GET /v2/*"));
    assert!(running.0.guest("cat /opt/bottle/GUIDE.md").contains("`GET /v2/*`, `POST,PUT /v1/x`"));

    let busy = running.0.guest("curl -sS -m 20 -i $API_BASE/busy").to_lowercase();
    assert!(busy.contains(" 429 ") && busy.contains("retry-after: 7"), "{busy}");

    // A large body is streamed: neither process of bottle's holds much of it.
    let keeper = running.0.keeper();
    let holder = children(keeper).into_iter().find(|pid| command_line(*pid).contains(" keys ")).unwrap();
    let put = "truncate -s 192M /tmp/big && curl -sS -m 120 -v -T /tmp/big -H 'expect: 100-continue' $API_BASE/sink 2>&1";
    let sunk = running.0.guest(put);
    assert!(sunk.ends_with("201326592") && sunk.contains("100 Continue"), "{sunk}");
    for pid in [keeper, holder] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        let peak: u64 = peak.trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 128 << 10, "{}: {peak} kB", command_line(pid));
    }

    // A client that leaves, leaves the origin.
    let left = |path: &str| server.requests().iter().any(|seen| seen["left"] == path);
    running.0.guest("curl -sS -m 1 -o /dev/null $API_BASE/drip; curl -sS -m 1 $API_BASE/wait");
    eventually("the response is cancelled", || left("/drip"));
    eventually("the request is cancelled", || left("/wait"));

    // Messages pass both ways, whatever they end in, and one with the key ends the connection.
    let socket = running.0.guest(&talk("hello yes key"));
    assert_eq!(socket, "101\nhello\nyes\nclosed\n");
    let seen = server.requests().into_iter().rfind(|seen| seen["path"] == "/socket").unwrap();
    assert_eq!(
        (&seen["headers"]["x-api-key"], &seen["headers"]["upgrade"]),
        (&KEY.into(), &"websocket".into())
    );
    assert_eq!(seen["headers"]["sec-websocket-extensions"], Value::Null);
    // `deny` closes one that is open.
    let mut open = running.0.command(&["-q", "exec", "--", "sh", "-c", &talk("hello -")]);
    let mut open = open.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(open.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!([lines.next(), lines.next()], [Some("101".to_owned()), Some("hello".to_owned())]);
    running.0.bottle(&["-q", "deny", "t", "api.test"]).assert().success();
    assert_eq!(lines.next().as_deref(), Some("closed"));
    assert!(open.wait().unwrap().success());
    assert!(running.0.said(&["logs"]).contains("GET /api/socket"));
}

/// A WebSocket client: it sends each word, and prints what comes back. `-` waits for the end.
const SOCKET: &str = r#"
import os, socket, sys, urllib.parse
url = urllib.parse.urlparse(sys.argv[1])
to = socket.create_connection((url.hostname, url.port))
to.sendall(f"GET {url.path} HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n".encode())
head = b""
while not head.endswith(b"\r\n\r\n"): head += to.recv(1)
assert b"sec-websocket-accept" in head.lower() and b"x-api-key" not in head.lower(), head
print(head.split()[1].decode(), flush=True)
def read(count):
    data = b""
    while len(data) < count:
        try: part = to.recv(count - len(data))
        except OSError: part = b""
        if not part: print("closed"); sys.exit()
        data += part
    return data
for word in sys.argv[2:]:
    if word != "-": to.sendall(bytes([0x81, 0x80 | len(word)]) + bytes(4) + word.encode())
    kind, size = read(2)
    print(read(size if size < 126 else int.from_bytes(read(2), "big")).decode(), flush=True)
"#;
