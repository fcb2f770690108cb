//! `[notify]`: what a person's command is told, by whom, and that nothing waits for it.

use bottle::args::Document;
use bottle_harness::schema::fits;
use bottle_tests::{
    Project, ProjectExt, RunningBottle, RunningBottleExt, children, command_line, eventually, git, kill,
    project_with, up_with,
};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// Makes a project whose command adds what it is told to a file. `more` is what else the command does.
fn told_in(project: &Project, more: &str, config: &str) -> std::path::PathBuf {
    let file = project.on_host("told");
    let script = format!(
        "cat >> '{0}'; echo \"$BOTTLE_EVENT|$BOTTLE_SLUG|$BOTTLE_SAYS\" >> '{0}.words'; {more}",
        file.display()
    );
    let words = serde_json::to_string(&["sh", "-c", &script]).unwrap();
    project
        .put("bottle.toml", &format!("slug = \"t\"\n[supervise]\n{config}\n[notify]\ncommand = {words}\n"));
    file
}

/// Returns what was told of this event so far.
fn told(file: &std::path::Path, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines = lines.inspect(|told| fits(Document::Notice, told).unwrap());
    lines.filter(|told| told["event"] == event).collect()
}

fn ask(running: &RunningBottle, host: &str, reason: &str) -> String {
    let body = json!({ "host": host, "reason": reason, "wait_seconds": 0 }).to_string();
    running.guest(&format!("curl -sS -m 5 -d '{body}' $BOTTLE_SUPERVISE/request_host"))
}

/// Returns the notifier that a keeper started.
fn notifier(running: &RunningBottle) -> Option<u64> {
    children(running.keeper()).into_iter().find(|pid| command_line(*pid).contains(" notifier "))
}

#[test]
fn a_request_a_push_a_leak_and_a_dead_keeper_are_told() {
    let project = project_with("");
    let file = told_in(&project, "", "[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n");
    let folder = project.folder();
    git(folder, &["init", "-q", "-b", "main"]);
    git(folder, &["commit", "-q", "--allow-empty", "-m", "first"]);
    git(folder, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(folder, &["remote", "add", "origin", "../upstream.git"]);
    let running = up_with(project, &[("BOTTLE_WITHOUT", "guard")]);
    assert!(running.said(&["plan"]).contains("notify    sh -c"));

    // An agent asks, twice for the same: it is told once, with the agent's text escaped.
    let reason = "to read $(touch /tmp/x) \u{1b}[31m\u{202e}";
    ask(&running, "docs.example.com", reason);
    ask(&running, "docs.example.com", reason);
    eventually("the request", || told(&file, "request").len() == 1);
    let request = &told(&file, "request")[0];
    assert_eq!((&request["id"], &request["bottle"]), (&json!("t.1"), &json!("t")));
    let asks = request["asks"].as_str().unwrap();
    assert!(asks.contains("$(touch /tmp/x) \\u{1b}[31m\\u{202e}"), "{asks}");
    let words = fs::read_to_string(file.with_extension("words")).unwrap();
    assert!(words.starts_with("request|t|t.1: may it reach docs.example.com?"), "{words}");

    running.guest(
        "export HOME=/root; git config --global user.name a; git config --global user.email a@example.com; \
         git clone -q $BOTTLE_GIT_GATE/project.git /tmp/w; cd /tmp/w; git checkout -q -b new; \
         git commit -q --allow-empty -m x; git push -q origin new",
    );
    eventually("the push", || told(&file, "push").len() == 1);
    assert_eq!(told(&file, "push")[0]["name"], "refs/heads/new");

    // Without its guard, `verify` finds what passes, and tells it before it ends.
    running.bottle(&["-q", "verify", "--host-only"]).assert().code(1);
    let leak = &told(&file, "leak")[0];
    assert!(leak["leaks"].as_array().unwrap().len() == 10 && leak.to_string().len() < 10_000, "{leak}");

    // A keeper that ends as it should is no news.
    running.bottle(&["-q", "restart", "t"]).assert().success();
    let is_gone = notifier(&running).expect("a notifier");
    kill(running.keeper());
    eventually("the keeper's death", || told(&file, "keeper-died").len() == 1);
    eventually("the notifier ends", || command_line(is_gone).is_empty());
    running.bottle(&["-q", "up", "t"]).assert().success();
    running.bottle(&["-q", "stop", "t"]).assert().success();
    assert_eq!(told(&file, "keeper-died").len(), 1);
    assert_eq!(told(&file, "request").len(), 1);
}

#[test]
fn a_command_that_hangs_or_is_missing_holds_nobody_up() {
    let project = project_with("");
    let file = told_in(&project, "exec sleep 1000", "");
    let running = up_with(project, &[]);
    let since = Instant::now();
    for number in 0..5 {
        assert!(ask(&running, &format!("h{number}.example.com"), "x").contains("undecided"));
    }
    running.json(&["status", "t", "--json"]);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    eventually("the first request", || told(&file, "request").len() == 1);
    // The next is told once the first command was ended at its limit.
    eventually("the second request", || told(&file, "request").len() == 2);
    running.bottle(&["-q", "stop", "t"]).assert().success();

    let project = project_with("slug = \"t\"\n[supervise]\n[notify]\ncommand = [\"no-such-program\"]\n");
    let running = up_with(project, &[]);
    assert!(ask(&running, "a.example.com", "x").contains("undecided"));
    let log = running.on_host("state/t/keeper.log");
    eventually("the reason", || {
        fs::read_to_string(&log).unwrap_or_default().contains("[notify] cannot run no-such-program")
    });
    running.bottle(&["approve", "t.1"]).assert().success();
}

#[test]
fn without_a_command_there_is_no_notifier_and_an_empty_one_is_an_error() {
    let running = up_with(project_with("slug = \"t\"\n"), &[]);
    assert_eq!(notifier(&running), None);
    for empty in ["[]", "[\"\"]"] {
        let project = project_with(&format!("[notify]\ncommand = {empty}\n"));
        let said = project.bottle(&["plan"]).assert().code(2);
        let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
        assert!(said.contains("the command of `[notify]` is empty") && said.contains("help: "), "{said}");
    }
}
