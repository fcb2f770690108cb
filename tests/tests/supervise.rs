//! supervise: an agent asks and a person decides, over MCP with the official Python client, and with curl.

use bottle_harness::page::Page;
use bottle_tests::{ProjectExt, RunningBottle, checkout, project_with, up_with};
use predicates::prelude::*;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A program for the guest: `client.py TOOL ARGUMENTS` calls a tool and prints the result.
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

struct Supervised(RunningBottle);

impl Supervised {
    fn new(slug: &str, page: &Page) -> Self {
        let clients = checkout().tools().join("clients");
        let project = project_with(&format!(
            "slug = \"{slug}\"\n[supervise]\n[egress]\nhosts = {{ \"page.test\" = \"127.0.0.1\", \"other.test\" = \"127.0.0.1\" }}\n\
             [guest.env]\nPAGE = \"http://page.test:{}/\"\nPYTHONPATH = \"/clients/python\"\n\
             [[guest.volumes]]\nhost = \"{}\"\nguest = \"/clients\"\n",
            page.port(),
            clients.display()
        ));
        project.put("client.py", CLIENT);
        Self(up_with(project, &[]))
    }

    /// Starts a script in the guest.
    fn start(&self, script: &str) -> Child {
        let words = ["-q", "exec", "--", "sh", "-c", script];
        self.0
            .command(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, script: &str) -> String {
        output_of(self.start(script))
    }

    fn curl(&self, tool: &str, body: &str) -> String {
        format!("curl -sS -m 50 -w ' %{{http_code}}' -d '{body}' $BOTTLE_SUPERVISE/{tool}")
    }

    fn inbox(&self) -> Vec<Value> {
        serde_json::from_value(self.0.json(&["inbox", "--json"])).unwrap()
    }

    /// Waits until this many requests are in the inbox, and returns them.
    fn wait_for(&self, count: usize) -> Vec<Value> {
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

fn output_of(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    if said.is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { said }
}

#[test]
fn over_mcp_an_approved_host_is_reached_at_once() {
    let page = Page::serve("the page").unwrap();
    let running = Supervised::new("mcp", &page);
    assert_eq!(
        running.run("python3 client.py list").trim(),
        r#"["ask", "decision", "report", "request_host"]"#
    );
    assert!(running.run("curl -sS $PAGE").contains("no rule allows page.test"));
    let request = format!(r#"{{"host": "page.test:{}", "reason": "docs \u001b[31m"}}"#, page.port());
    let asking = running.start(&format!("python3 client.py request_host '{request}'; curl -sS $PAGE"));
    let inbox = running.wait_for(1);
    assert_eq!(
        (&inbox[0]["id"], &inbox[0]["request"]["wish"]["kind"]),
        (&Value::from("mcp.1"), &Value::from("host"))
    );
    let list = running.0.said(&["inbox"]);
    assert!(list.contains("may it reach page.test") && !list.contains('\x1b'), "{list:?}");
    running.0.bottle(&["-q", "approve", "mcp.1"]).assert().success();
    let said = output_of(asking);
    assert!(said.contains(r#""decision": "approved""#) && said.ends_with("the page"), "{said}");
    // A second request is answered at once, and nothing waits.
    assert!(
        running
            .run(&format!("python3 client.py request_host '{request}'"))
            .contains("it was allowed already")
    );
    assert!(running.inbox().is_empty());

    let said = running.run(r#"python3 client.py report '{"status": "reading the docs"}'"#);
    assert!(said.contains("noted"), "{said}");
    running
        .0
        .bottle(&["status"])
        .assert()
        .success()
        .stdout(predicate::str::contains("reports   reading the docs"));
    let log = running.0.said(&["logs"]);
    for line in ["supervise asked", "supervise approved", "rules     allowed", "supervise report"] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn over_mcp_a_bad_call_is_an_error_and_does_not_wait() {
    let page = Page::serve("the page").unwrap();
    let running = Supervised::new("mcp-bad", &page);
    for (call, wanted) in [
        (r#"request_host '{"host": "127.0.0.1", "reason": "x"}'"#, "is an address"),
        (r#"request_host '{"host": "a.test", "reason": " "}'"#, "reason is empty"),
        (r#"request_host '{"host": "a.test"}'"#, "reason"),
        (r#"ask '{"question": "x", "shell": "rm -rf /"}'"#, "unknown field"),
    ] {
        let said = running.run(&format!("python3 client.py {call} 2>&1"));
        assert!(said.contains(wanted), "{call}: {said}");
    }
    assert!(running.inbox().is_empty());
}

#[test]
fn a_request_for_a_whole_public_suffix_is_refused_when_it_is_made() {
    let page = Page::serve("the page").unwrap();
    let running = Supervised::new("suffix", &page);
    let plain = running.start(&running.curl("request_host", r#"{"host": "*.github.io", "reason": "x"}"#));
    let over_mcp =
        running.start(r#"python3 client.py request_host '{"host": "*.co.uk", "reason": "x"}' 2>&1"#);
    for (asking, wanted) in [(plain, "*.NAME.github.io"), (over_mcp, "*.NAME.co.uk")] {
        let said = output_of(asking);
        assert!(said.contains("would open a public suffix") && said.contains(wanted), "{said}");
    }
    assert!(running.inbox().is_empty());
    assert!(running.0.said(&["logs", "--denied"]).contains("reason=public-suffix"));
    // One name below it is a person's to decide.
    let narrow =
        running.start(&running.curl("request_host", r#"{"host": "*.name.github.io", "reason": "x"}"#));
    running.wait_for(1);
    running.0.bottle(&["-q", "approve", "suffix.1"]).assert().success();
    assert!(output_of(narrow).contains("approved"));
}

#[test]
fn a_rule_of_the_operators_decides_the_requests_that_it_answers() {
    let page = Page::serve("the page").unwrap();
    let running = Supervised::new("ruled", &page);
    let ask = |host: &str| running.curl("request_host", &format!(r#"{{"host": "{host}", "reason": "x"}}"#));
    let open = running.start(&ask("a.wild.test"));
    running.wait_for(1);
    let closed = running.start(&ask("other.test"));
    running.wait_for(2);
    let neither = running.start(&ask("third.test"));
    running.wait_for(3);
    running.0.bottle(&["-q", "allow", "ruled", "*.wild.test"]).assert().success();
    assert!(output_of(open).contains("approved"));
    running.0.bottle(&["-q", "deny", "ruled", "other.test"]).assert().success();
    assert!(output_of(closed).contains("refused"));
    let waiting = running.wait_for(1);
    assert_eq!(waiting[0]["id"], "ruled.3");
    // What a pattern opens already is asked of nobody.
    assert!(running.run(&ask("b.wild.test")).contains("it was allowed already"));
    running.0.bottle(&["-q", "refuse", "ruled.3"]).assert().success();
    assert!(output_of(neither).contains("refused"));
}

#[test]
fn with_curl_a_question_is_answered_and_a_host_is_refused_with_a_reason() {
    let page = Page::serve("the page").unwrap();
    let running = Supervised::new("plain", &page);
    let question = running.start(&running.curl("ask", r#"{"question": "tabs or spaces?"}"#));
    running.wait_for(1);
    let host = running.start(&running.curl("request_host", r#"{"host": "other.test", "reason": "x"}"#));
    let inbox = running.wait_for(2);
    assert_eq!(inbox[0]["request"]["callers"], 1);
    running.0.bottle(&["-q", "refuse", "plain.2", "--why", "not today"]).assert().success();
    // Approval alone does not answer a question, and decides nothing.
    for words in [&["approve", "plain.1"][..], &["approve", "plain.1", " "]] {
        let usage = predicate::str::contains("plain.1 needs an answer; it asks: tabs or spaces?");
        running.0.bottle(words).assert().code(2).stderr(usage);
    }
    running
        .0
        .bottle(&["approve", "plain.1", "spaces"])
        .assert()
        .success()
        .stderr(predicate::str::contains("approved: it asks: tabs or spaces?"));
    assert_eq!(output_of(question), "{\"decision\":\"approved\",\"id\":1,\"says\":\"spaces\"}\n 200");
    assert_eq!(output_of(host), "{\"decision\":\"refused\",\"id\":2,\"says\":\"not today\"}\n 200");
    assert!(running.run("curl -sS http://other.test/").contains("no rule allows other.test"));
    running.0.bottle(&["-q", "approve", "plain.1"]).assert().code(66);

    // A client that does not wait long enough is told so, and gets the decision when it asks again.
    let asked = running.curl("ask", r#"{"question": "now?", "wait_seconds": 0}"#);
    assert_eq!(
        running.run(&asked),
        "{\"decision\":\"undecided\",\"id\":3,\"says\":\"your operator has not decided yet, and still can: go on, and ask for the decision later, with this id\"}\n 200"
    );
    let later = running.curl("decision", r#"{"id": 3, "wait_seconds": 0}"#);
    assert!(running.run(&later).contains("undecided"));
    running.0.bottle(&["-q", "approve", "plain.3", "yes"]).assert().success();
    // The answer is given again, since the first may have been lost on its way.
    for asked in [&asked, &later, &asked] {
        assert_eq!(running.run(asked), "{\"decision\":\"approved\",\"id\":3,\"says\":\"yes\"}\n 200");
    }

    for (tool, body, wanted) in [
        ("ask", "{", "EOF while parsing"),
        ("ask", r#"{"question": ""}"#, "question is empty"),
        ("nothing", "{}", "POST /request_host"),
        ("decision", r#"{"id": 77}"#, "there is no request with the id 77"),
        (
            "request_host",
            r#"{"host": "https://a.test/x", "reason": "x"}"#,
            "is a URL; a rule names the host alone: \"a.test\"",
        ),
        ("request_host", r#"{"host": "*", "reason": "x"}"#, "bottle: host: "),
    ] {
        let said = running.run(&running.curl(tool, body));
        assert!(
            said.contains(wanted) && (said.ends_with(" 400") || said.ends_with(" 404")),
            "{tool} {body}: {said}"
        );
    }
    // Long texts, and many of them.
    assert!(running.run("head -c 100000 /dev/zero | tr '\\0' x | curl -sS -w ' %{http_code}' --data-binary @- $BOTTLE_SUPERVISE/ask").contains("413"));
    let many = "for i in $(seq 33); do curl -sS -d \"{\\\"question\\\": \\\"$i\\\", \\\"wait_seconds\\\": 0}\" $BOTTLE_SUPERVISE/ask; done";
    let said = running.run(many);
    assert!(
        said.matches("undecided").count() == 32
            && said.contains("32 requests wait for your operator already"),
        "{said}"
    );
    for id in ["plain", "plain.x", "Plain.1", ".1"] {
        running.0.bottle(&["approve", id]).assert().code(2);
    }
    running.0.bottle(&["approve", "nobody.1"]).assert().code(66);
}
