//! supervise: an agent asks, a person decides; over MCP with the official Python client, and with curl.

use bottle_harness::page::Page;
use bottle_harness::place::Place;
use bottle_tests::World;
use predicates::prelude::*;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// In the guest: `client.py TOOL ARGUMENTS` calls a tool and prints what came of it.
const CLIENT: &str = r#"
import asyncio, json, os, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

async def main():
    async with streamablehttp_client(os.environ["BOTTLE_SUPERVISE"] + "/mcp") as (reader, writer, _):
        async with ClientSession(reader, writer) as session:
            await session.initialize()
            if sys.argv[1] == "list":
                print(json.dumps(sorted(tool.name for tool in (await session.list_tools()).tools)))
                return
            result = await session.call_tool(sys.argv[1], json.loads(sys.argv[2]))
            print(json.dumps({"error": result.isError, "outcome": result.structuredContent, "text": result.content[0].text}))

asyncio.run(main())
"#;

struct Up(World);

impl Up {
    fn new(slug: &str, page: &Page) -> Self {
        let clients = Place::find().unwrap().tools().join("clients");
        let world = World::with(&format!(
            "slug = \"{slug}\"\n[supervise]\n[egress]\nhosts = {{ \"page.test\" = \"127.0.0.1\", \"other.test\" = \"127.0.0.1\" }}\n\
             [guest.env]\nPAGE = \"http://page.test:{}/\"\nPYTHONPATH = \"/clients/python\"\n\
             [[guest.volumes]]\nhost = \"{}\"\nguest = \"/clients\"\n",
            page.port(),
            clients.display()
        ));
        world.write("client.py", CLIENT);
        world.bottle(&["-q", "up"]).assert().success();
        Self(world)
    }

    /// Starts a script in the guest that will wait.
    fn start(&self, script: &str) -> Child {
        let words = ["-q", "exec", "--", "sh", "-c", script];
        self.0
            .process(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn say(&self, script: &str) -> String {
        said(self.start(script))
    }

    fn plain(&self, tool: &str, body: &str) -> String {
        format!("curl -sS -m 50 -w ' %{{http_code}}' -d '{body}' $BOTTLE_SUPERVISE/{tool}")
    }

    fn inbox(&self) -> Vec<Value> {
        let output = self.0.bottle(&["inbox", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until so many requests wait, and gives them.
    fn until(&self, count: usize) -> Vec<Value> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let inbox = self.inbox();
            if inbox.len() == count {
                return inbox;
            }
            assert!(Instant::now() < end, "{inbox:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force"]).output();
    }
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    if said.is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { said }
}

#[test]
fn over_mcp_a_host_is_asked_for_approved_and_reached_at_once() {
    let page = Page::serve("the page").unwrap();
    let up = Up::new("mcp", &page);
    assert_eq!(up.say("python3 client.py list").trim(), r#"["ask", "report", "request_host"]"#);
    assert!(up.say("curl -sS $PAGE").contains("no rule allows page.test"));
    let wish = format!(r#"{{"host": "page.test:{}", "reason": "docs \u001b[31m"}}"#, page.port());
    let asking = up.start(&format!("python3 client.py request_host '{wish}'; curl -sS $PAGE"));
    let inbox = up.until(1);
    assert_eq!(
        (&inbox[0]["id"], &inbox[0]["request"]["wish"]["kind"]),
        (&Value::from("mcp.1"), &Value::from("host"))
    );
    let list = up.0.bottle(&["inbox"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("may it reach page.test") && !list.contains('\x1b'), "{list:?}");
    up.0.bottle(&["-q", "approve", "mcp.1"]).assert().success();
    let said = said(asking);
    assert!(said.contains(r#""decision": "approved""#) && said.ends_with("the page"), "{said}");
    // Asked for again, it is there already; and nothing waits.
    assert!(up.say(&format!("python3 client.py request_host '{wish}'")).contains("it was allowed already"));
    assert!(up.inbox().is_empty());

    let said = up.say(r#"python3 client.py report '{"status": "reading the docs"}'"#);
    assert!(said.contains("noted"), "{said}");
    up.0.bottle(&["status"])
        .assert()
        .success()
        .stdout(predicate::str::contains("reports   reading the docs"));
    let log = up.0.bottle(&["logs"]).output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    for line in ["supervise asked", "supervise approved", "rules     allowed", "supervise report"] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn over_mcp_a_bad_call_is_an_error_and_not_a_wait() {
    let page = Page::serve("the page").unwrap();
    let up = Up::new("mcp-bad", &page);
    for (call, wanted) in [
        (r#"request_host '{"host": "127.0.0.1", "reason": "x"}'"#, "is an address"),
        (r#"request_host '{"host": "a.test", "reason": " "}'"#, "reason is empty"),
        (r#"request_host '{"host": "a.test"}'"#, "reason"),
        (r#"ask '{"question": "x", "shell": "rm -rf /"}'"#, "unknown field"),
    ] {
        let said = up.say(&format!("python3 client.py {call} 2>&1"));
        assert!(said.contains(wanted), "{call}: {said}");
    }
    assert!(up.inbox().is_empty());
}

#[test]
fn with_curl_a_question_is_answered_and_a_host_refused_with_the_reason() {
    let page = Page::serve("the page").unwrap();
    let up = Up::new("plain", &page);
    let question = up.start(&up.plain("ask", r#"{"question": "tabs or spaces?"}"#));
    up.until(1);
    let host = up.start(&up.plain("request_host", r#"{"host": "other.test", "reason": "x"}"#));
    let inbox = up.until(2);
    assert_eq!(inbox[0]["request"]["callers"], 1);
    up.0.bottle(&["-q", "refuse", "plain.2", "--why", "not today"]).assert().success();
    // A yes alone answers no question, and nothing is decided by it.
    for words in [&["approve", "plain.1"][..], &["approve", "plain.1", " "]] {
        let usage = predicate::str::contains("plain.1 needs an answer; it asks: tabs or spaces?");
        up.0.bottle(words).assert().code(2).stderr(usage);
    }
    up.0.bottle(&["approve", "plain.1", "spaces"])
        .assert()
        .success()
        .stderr(predicate::str::contains("approved: it asks: tabs or spaces?"));
    assert_eq!(said(question), "{\"decision\":\"approved\",\"says\":\"spaces\"}\n 200");
    assert_eq!(said(host), "{\"decision\":\"refused\",\"says\":\"not today\"}\n 200");
    assert!(up.say("curl -sS http://other.test/").contains("no rule allows other.test"));
    up.0.bottle(&["-q", "approve", "plain.1"]).assert().code(66);

    // Who does not wait long enough is told so, and gets the decision when it asks again.
    let asked = up.plain("ask", r#"{"question": "now?", "wait_seconds": 0}"#);
    assert_eq!(up.say(&asked), "{\"decision\":\"undecided\"}\n 200");
    up.0.bottle(&["-q", "approve", "plain.3", "yes"]).assert().success();
    // Given again where the first answer may have been lost on its way.
    for _ in 0..2 {
        assert_eq!(up.say(&asked), "{\"decision\":\"approved\",\"says\":\"yes\"}\n 200");
    }

    for (tool, body, wanted) in [
        ("ask", "{", "EOF while parsing"),
        ("ask", r#"{"question": ""}"#, "question is empty"),
        ("nothing", "{}", "POST /request_host"),
        ("request_host", r#"{"host": "*", "reason": "x"}"#, "bottle: host: "),
    ] {
        let said = up.say(&up.plain(tool, body));
        assert!(
            said.contains(wanted) && (said.ends_with(" 400") || said.ends_with(" 404")),
            "{tool} {body}: {said}"
        );
    }
    // Long texts, and many of them.
    assert!(up.say("head -c 100000 /dev/zero | tr '\\0' x | curl -sS -w ' %{http_code}' --data-binary @- $BOTTLE_SUPERVISE/ask").contains("413"));
    let many = "for i in $(seq 33); do curl -sS -d \"{\\\"question\\\": \\\"$i\\\", \\\"wait_seconds\\\": 0}\" $BOTTLE_SUPERVISE/ask; done";
    let said = up.say(many);
    assert!(
        said.matches("undecided").count() == 32
            && said.contains("32 requests wait for your operator already"),
        "{said}"
    );
    for id in ["plain", "plain.x", "Plain.1", ".1"] {
        up.0.bottle(&["approve", id]).assert().code(2);
    }
    up.0.bottle(&["approve", "nobody.1"]).assert().code(66);
}
