//! `bottle ui` as a browser meets it, and as everything else on this machine does: real HTTP requests, a real
//! Chromium, and stand-in guests that write what they must not.

use bottle_core::visible;
use bottle_tests::{
    ProjectExt, RunningBottle, RunningBottleExt, checkout, eventually, git, project_with, up_with,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The page's headers that keep it to itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What a hostile guest writes wherever it can.
const MARKUP: &str = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>";

/// A running `bottle ui`. Dropping it ends it.
struct Ui {
    child: Child,
    host: String,
    link: String,
    cookie: String,
    folder: String,
}

/// A response: its status, headers and body.
struct Response(u16, BTreeMap<String, String>, String);

impl Ui {
    fn start(running: &RunningBottle, words: &[&str]) -> Self {
        let mut command = running.command(&[&["-q", "ui"], words].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut link = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut link).unwrap();
        let link = link.trim().to_owned();
        let host = link.split('/').nth(2).unwrap().to_owned();
        Self { child, host, link, cookie: String::new(), folder: String::new() }
    }

    /// Starts it and enters it, as a browser does.
    fn entered(running: &RunningBottle) -> Self {
        let mut ui = Self::start(running, &[]);
        let Response(status, headers, _) = ui.get(ui.path());
        assert_eq!(status, 303, "{headers:?}");
        let cookie = &headers["set-cookie"];
        let folder = headers["location"].clone();
        let wanted = format!("; Path={folder}; HttpOnly; SameSite=Strict");
        assert!(cookie.ends_with(&wanted) && folder.len() > 30, "{cookie}");
        (ui.cookie, ui.folder) = (cookie.split(';').next().unwrap().to_owned(), folder);
        ui
    }

    fn path(&self) -> &str {
        self.link.split_once(&self.host).unwrap().1
    }

    /// Sends these lines and this body, and returns the response.
    fn send(&self, lines: &[&str], body: &str) -> Response {
        let mut stream = TcpStream::connect(self.host.as_str()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
        // A refused body is not read, and writing it may fail.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8(said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{lines:?}: {said:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Response(status, headers, body.to_owned())
    }

    fn get(&self, path: &str) -> Response {
        self.send(&[&format!("GET {path} HTTP/1.1"), &format!("Host: {}", self.host)], "")
    }

    /// Asks for something as the page does.
    fn ask(&self, path: &str) -> Value {
        let lines = [
            format!("GET {}api/{path} HTTP/1.1", self.folder),
            format!("Host: {}", self.host),
            format!("Cookie: {}", self.cookie),
            "Sec-Fetch-Site: same-origin".to_owned(),
        ];
        let Response(status, headers, body) = self.send(&lines.each_ref().map(String::as_str), "");
        assert_eq!((status, headers["content-type"].as_str()), (200, "application/json"), "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The head of a change that the page asks for.
    fn head(&self, path: &str, length: usize) -> Vec<String> {
        vec![
            format!("POST {}api/{path} HTTP/1.1", self.folder),
            format!("Host: {}", self.host),
            format!("Origin: http://{}", self.host),
            "Sec-Fetch-Site: same-origin".to_owned(),
            format!("Cookie: {}", self.cookie),
            "Content-Type: application/json".to_owned(),
            format!("Content-Length: {length}"),
        ]
    }

    /// Changes something as the page does, and returns the status and the answer.
    fn change(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let head = self.head(path, body.len());
        let Response(status, _, said) =
            self.send(&head.iter().map(String::as_str).collect::<Vec<_>>(), &body);
        (status, serde_json::from_str(&said).unwrap_or(Value::String(said)))
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn supervised(more: &str) -> RunningBottle {
    up_with(project_with(&format!("slug = \"t\"\n[supervise]\n{more}")), &[])
}

/// Makes the agent ask for a host, without waiting for the answer.
fn ask_for(running: &RunningBottle, host: &str, reason: &str) {
    let body = json!({ "host": host, "reason": reason, "wait_seconds": 0 }).to_string();
    let script = format!("curl -sS -d '{body}' $BOTTLE_SUPERVISE/request_host");
    assert!(running.guest(&script).contains("undecided"), "{script}");
}

#[test]
fn only_the_page_itself_is_answered() {
    let running = supervised("");
    ask_for(&running, "docs.example.com", "to read");
    let ui = Ui::entered(&running);
    let refused = |status: u16, lines: &[String], body: &str| {
        let said = ui.send(&lines.iter().map(String::as_str).collect::<Vec<_>>(), body);
        assert_eq!(said.0, status, "{lines:?}: {}", said.2);
        // Refusals are kept to themselves as well.
        assert_eq!(said.1["content-security-policy"], POLICY);
        assert!(!said.2.contains("docs.example.com"), "{}", said.2);
    };
    let get = |path: &str, more: &[&str]| {
        let mut lines = vec![format!("GET {path} HTTP/1.1")];
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        lines
    };
    let (host, cookie) = (format!("Host: {}", ui.host), format!("Cookie: {}", ui.cookie));
    let page = format!("{}api/overview", ui.folder);
    let port = ui.host.split(':').nth(1).unwrap();

    // The link was used, another one is none, and nothing is there without the cookie.
    refused(403, &get(ui.path(), &[&host]), "");
    refused(403, &get("/open?token=", &[&host]), "");
    refused(401, &get(&page, &[&host]), "");
    refused(401, &get(&ui.folder, &[&host]), "");
    refused(401, &get("/", &[&host, &cookie]), "");
    refused(401, &get(&page, &[&host, &cookie.replace('=', "=0")]), "");
    // Another name that leads here, as after DNS rebinding.
    for name in
        [format!("rebound.example:{port}"), format!("[::1]:{port}"), "127.0.0.1".to_owned(), String::new()]
    {
        refused(421, &get(&page, &[&format!("Host: {name}"), &cookie]), "");
    }
    refused(421, &get(&page, &[&host, &host, &cookie]), "");
    refused(421, &get(&format!("http://rebound.example{page}"), &[&host, &cookie]), "");
    // Other pages, which may even be on another port of this host.
    for site in ["cross-site", "same-site"] {
        refused(403, &get(&page, &[&host, &cookie, &format!("Sec-Fetch-Site: {site}")]), "");
    }
    refused(403, &get(&page, &[&host, &cookie, "Origin: http://evil.example"]), "");
    refused(405, &[format!("DELETE {page} HTTP/1.1"), host.clone(), cookie.clone()], "");

    // A change that another page asks for, in every form that it could have.
    let wanted = json!({ "bottle": "t", "host": "evil.example", "scope": "bottle" }).to_string();
    let good = ui.head("rule", wanted.len());
    let with = |at: usize, line: &str| {
        let mut head = good.clone();
        if line.is_empty() {
            _ = head.remove(at);
        } else {
            line.clone_into(&mut head[at]);
        }
        head
    };
    for (status, at, line) in [
        (421, 1, "Host: rebound.example"),
        (403, 2, ""),
        (403, 2, "Origin: null"),
        (403, 2, "Origin: http://evil.example"),
        (403, 2, &format!("Origin: http://127.0.0.1:{}", port.parse::<u16>().unwrap() - 1)),
        (403, 3, "Sec-Fetch-Site: cross-site"),
        (403, 3, "Sec-Fetch-Site: same-site"),
        (403, 3, "Sec-Fetch-Site: none"),
        (401, 4, ""),
        (415, 5, "Content-Type: text/plain"),
        (415, 5, "Content-Type: application/x-www-form-urlencoded"),
        (415, 5, ""),
        (413, 6, "Transfer-Encoding: chunked"),
        (413, 6, "Content-Length: 100000"),
    ] {
        refused(status, &with(at, line), &wanted);
    }
    let rules = || running.json(&["status", "t", "--json"])["rules"].clone();
    assert_eq!(rules()["allow"], json!([]));
    // The witness: the page itself, and a browser that does not say where a request comes from.
    assert_eq!(ui.ask("overview")["inbox"][0]["says"], "May it reach docs.example.com?");
    let said = ui.send(&with(3, "X: y").iter().map(String::as_str).collect::<Vec<_>>(), &wanted);
    assert_eq!(said.0, 200, "{}", said.2);
    assert_eq!(rules()["allow"].as_array().unwrap().len(), 1);
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(said.1[name], value);
    }
}

/// Returns the first text in a value that has a character which deceives a reader.
fn hidden(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => {
            text.chars().any(|c| c != '\n' && c != '\t' && visible::is_hidden(c)).then_some(text)
        }
        Value::Array(values) => values.iter().find_map(hidden),
        Value::Object(fields) => fields.values().find_map(hidden),
        _ => None,
    }
}

#[test]
fn what_a_guest_writes_is_text_and_has_an_end() {
    let running = supervised("");
    ask_for(&running, "a.example.com", &format!("{MARKUP}\u{202e}\u{1b}[31m"));
    running
        .exec(
            "for i in $(seq 300); do curl -sS -o /dev/null http://h$i.example.com/$(head -c 3000 /dev/zero | tr '\\0' x); done; \
             curl -sS -o /dev/null \"http://<b>.example.com/\"; \
             printf 'x' > \"$(printf 'a<img src=x onerror=alert(1)>\\033[31m\\342\\200\\256')\"; \
             head -c 9000000 /dev/zero | tr '\\0' 'y' > large; seq 400000 > lines",
        )
        .success();
    let ui = Ui::entered(&running);
    let safe = |value: &Value, most: usize| {
        let len = value.to_string().len();
        assert!(len < most, "{len} bytes");
        assert_eq!(hidden(value), None);
    };
    let overview = ui.ask("overview");
    safe(&overview, 20_000);
    let words = overview["inbox"][0]["words"].as_str().unwrap();
    assert!(words.starts_with(MARKUP) && words.ends_with("\\u{202e}\\u{1b}[31m"), "{words}");
    eventually("the log is read", || {
        let said = ui.ask("log?bottle=t&after=0");
        let is_read = said["reading"] == false;
        let counted = said["destinations"].as_array().unwrap().len();
        if is_read && counted >= 30 {
            safe(&said, 400_000);
            return true;
        }
        false
    });
    assert!(ui.ask("log?bottle=t&after=0")["lines"].as_array().unwrap().len() <= 300);
    let changes = ui.ask("changes?bottle=t");
    safe(&changes, 4_000_000);
    let paths: Vec<&str> =
        changes["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"a<img src=x onerror=alert(1)>\\u{1b}[31m\\u{202e}"), "{paths:?}");
}

#[test]
fn what_was_seen_is_what_is_decided() {
    let running = supervised("# kept\n[egress]\n");
    let ui = Ui::entered(&running);
    // A request: only the one that was shown.
    ask_for(&running, "docs.example.com", "to read");
    let request = ui.ask("overview")["inbox"][0].clone();
    assert_eq!(request["changes"], json!([{ "added": true, "rule": "allow docs.example.com" }]));
    let answer = |seen: &Value| json!({ "bottle": "t", "number": 1, "seen": seen, "approved": true });
    let (status, said) = ui.change("answer", &answer(&json!("0".repeat(64))));
    assert!(
        status == 409 && said["error"].as_str().unwrap().contains("not the request that was shown"),
        "{said}"
    );
    assert_eq!(running.json(&["status", "t", "--json"])["rules"]["allow"], json!([]));
    assert_eq!(ui.change("answer", &answer(&request["seen"])).0, 200);
    assert_eq!(ui.ask("overview")["inbox"], json!([]));

    // A host: for the bottle, for the project, and not.
    let rule =
        |host: &str, scope: &str| ui.change("rule", &json!({ "bottle": "t", "host": host, "scope": scope }));
    assert_eq!(rule("*.github.io", "bottle").0, 409);
    assert_eq!(rule("p.example.com", "project").0, 200);
    assert_eq!(rule("n.example.com", "not").0, 200);
    let file = std::fs::read_to_string(running.folder().join("bottle.toml")).unwrap();
    assert_eq!(file, "slug = \"t\"\n[supervise]\n# kept\n[egress]\nallow = [\"p.example.com\"]\n");
    let rules = running.json(&["status", "t", "--json"])["rules"].clone();
    assert!(rules["deny"].to_string().contains("n.example.com"), "{rules}");

    // Files: only those that were picked, and only as they were shown.
    running.exec("mkdir -p new; echo one > new/a; echo two > b; ln -s /etc/passwd out").success();
    let files = ui.ask("changes?bottle=t")["files"].as_array().unwrap().clone();
    let of = |path: &str| {
        let file = files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{files:?}"));
        json!({ "key": file["key"], "digest": file["digest"] })
    };
    let apply = |picked: Value| ui.change("apply", &json!({ "bottle": "t", "picked": picked }));
    running.exec("echo other > new/a").success();
    let (status, said) = apply(json!([of("new/a"), of("b")]));
    assert!(status == 409 && said["error"].as_str().unwrap().contains("has changed since"), "{said}");
    assert!(!running.folder().join("b").exists());
    running.exec("echo one > new/a").success();
    let (status, said) = apply(json!([of("new/a")]));
    assert!(status == 200 && said["done"].as_str().unwrap().starts_with("1 applied"), "{said}");
    assert_eq!(std::fs::read_to_string(running.folder().join("new/a")).unwrap(), "one\n");
    assert!(!running.folder().join("b").exists());
    assert_eq!(apply(json!([of("out")])).0, 409);
    assert_eq!(apply(json!([])).0, 409);
}

#[test]
fn the_page_ends_when_nobody_looks_and_with_a_signal() {
    let running = supervised("");
    let mut idle = Ui::start(&running, &["--idle", "1s"]);
    assert!(idle.child.wait().unwrap().success());
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::TERM, rustix::process::Signal::INT]
    {
        let mut ui = Ui::start(&running, &[]);
        let pid = rustix::process::Pid::from_child(&ui.child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert!(ui.child.wait().unwrap().success());
    }
}

#[test]
fn in_a_terminal_enter_gives_another_link_and_the_page_ends_with_it() {
    let running = supervised("");
    let bottle = running.environment().checkout().program("bottle").unwrap();
    let mut command = running.environment().command("script");
    let line = format!("exec {} -q ui", bottle.display());
    command.args(["--quiet", "--flush", "--command", &line, "/dev/null"]).current_dir(running.folder());
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut links = BufReader::new(output).lines().map(Result::unwrap).filter(|line| line.contains("token="));
    let first = links.next().unwrap();
    keys.write_all(b"\n").unwrap();
    let second = links.next().unwrap();
    assert_ne!(first, second);
    for link in [&first, &second] {
        let host = link.split('/').nth(2).unwrap();
        let status = |path: &str| {
            let mut stream = TcpStream::connect(host).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            said.split(' ').nth(1).unwrap().to_owned()
        };
        let path = link.trim().split_once(host).unwrap().1;
        assert_eq!((status(path), status(path)), ("303".to_owned(), "403".to_owned()));
    }
    // A terminal that is closed sends its programs nothing more.
    script.kill().unwrap();
    script.wait().unwrap();
    let host = first.split('/').nth(2).unwrap();
    eventually("the page ends", || TcpStream::connect(host).is_err());
}

/// Brings a bottle up with everything that the page can show.
fn busy() -> RunningBottle {
    let project = project_with(
        "slug = \"t\"\n[supervise]\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n[egress]\nallow = [\"open.example.com\"]\n",
    );
    let folder = project.folder();
    git(folder, &["init", "-q", "-b", "main"]);
    project.put(".gitignore", "bottle.toml\n");
    let text: String = (1..40).map(|line| format!("line {line} of the file\n")).collect();
    project.put("main.py", &text);
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(folder, &["remote", "add", "origin", "../upstream.git"]);
    let running = up_with(project, &[]);
    for number in 1..4 {
        let reason = format!("to read page {number} of the documentation {MARKUP}");
        ask_for(&running, &format!("docs{number}.example.com"), &reason);
    }
    let question = json!({ "question": "Shall I use tabs?", "wait_seconds": 0 });
    running
        .exec(&format!(
            "curl -sS -d '{question}' $BOTTLE_SUPERVISE/ask; \
             curl -sS -d '{{\"status\": \"running the tests\"}}' $BOTTLE_SUPERVISE/report; \
             for i in 1 2 3 4 5 6; do curl -sS http://pypi.example.com/; curl -sS http://r$i.example.com:8080/; done; \
             curl -sS http://open.example.com/; \
             export HOME=/root; git config --global user.name agent; git config --global user.email a@example.com; \
             git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work; cd /tmp/work; git checkout -q -b feature; \
             sed -i 's/line 7 of/line seven in/; 20d' main.py; echo '<b>new</b>' > '<b>name'; git add .; \
             git commit -qm 'Change a line {MARKUP}'; git push -q origin feature; \
             git checkout -q -b leak; echo 'AKIAIOSFODNN7EXAMPLE' > key; git add .; git commit -qm key; git push -q origin leak; \
             cd /workspace; sed -i 's/line 3 /line three /; 30,31d' main.py; mkdir -p src; seq 30 > src/new.txt; rm -f .gitignore"
        ))
        .success();
    running
}

#[test]
fn in_a_browser_everything_fits_is_reached_by_keyboard_and_has_no_serious_finding() {
    let running = busy();
    let ui = Ui::start(&running, &[]);
    let root = checkout().root().to_owned();
    let pictures = root.join("target/ui");
    std::fs::create_dir_all(&pictures).unwrap();
    let output = Command::new("node")
        .arg(root.join("tests/browser/drive.mjs"))
        .arg(&ui.link)
        .arg(root.join("tools/axe/node_modules/axe-core/axe.min.js"))
        .arg(&pictures)
        .output()
        .expect("node: run `make setup`");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_str(&said).unwrap();
    // The check finds what is put there for it.
    assert_eq!(found["witness"], 1, "{found:#}");
    let views = found["views"].as_array().unwrap();
    assert_eq!(views.len(), 24);
    for view in views {
        assert!(view["passed"].as_u64() > Some(15), "{view:#}");
        assert_eq!(view["overflow"], false, "{view:#}");
        assert_eq!(view["violations"], json!([]), "{view:#}");
    }
    let keys = &found["keys"];
    assert!(keys["said"].as_str().unwrap().starts_with("approved: may it reach docs1.example.com"), "{keys}");
    assert!(
        keys["focus"] == true && keys["outline"] == "solid" && keys["steps"].as_u64() < Some(8),
        "{keys}"
    );
    // Markup is text, and the policy had nothing to refuse.
    assert_eq!((&found["hacked"], &found["trouble"]), (&json!(false), &json!([])), "{found:#}");
    assert!(found["text"].as_str().unwrap().contains(MARKUP));
    assert!(found["pushes"].as_str().unwrap().contains("an AWS access key in key:1"), "{}", found["pushes"]);
}
