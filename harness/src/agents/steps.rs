//! What the scripted model has an agent do, and what has to have come of it: a test that fails, a change after which it passes,
//! the search for the key, a host that is refused, a host that is asked for and then reached, and a push to the gate.

use super::agent::Agent;
use super::setting::{ASKED, GIVEN, KEY};
use crate::environment::{Environment, Project};
use crate::https_server::HttpsServer;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const SEARCH: &str = include_str!("search.py");
/// Ends well if the change has been made.
const TEST: &str = "import subprocess, sys\n\
    said = subprocess.run([sys.executable, 'greeting.py'], capture_output=True, text=True).stdout\n\
    sys.exit(said != 'changed\\n')\n";
/// What an agent without tools runs as the project's test.
pub const ALL: &str = "all.sh";
/// A word that every agent's guest has: what is looked for in the same way has to be found.
const WITNESS: &str = "kept-on-the-host";
/// Where the guest's copy of the project gets the results.
const RESULT: &str = "result.txt";
/// What the host answers that is asked for.
const PAGE: &str = "the page that was asked for";
const REASON: &str = "The test needs its page.";
/// How often the operator looks into the inbox. Each look is a process, whose start takes a large part of an emulated processor.
const GLANCE: Duration = Duration::from_millis(500);
const RARE_GLANCE: Duration = Duration::from_secs(5);

/// Writes the project, its repository, and the model's part.
///
/// # Errors
/// Returns an error if something cannot be written.
pub fn prepare(agent: &Agent, project: &Project, model: &HttpsServer) -> Result<()> {
    let is_real = project.environment().is_real();
    let config = fs::read_to_string(project.path("bottle.toml"))?;
    project.write("bottle.toml", config + "[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n")?;
    project.write("search.py", SEARCH)?;
    project.write("greeting.py", "print('hello')\n")?;
    project.write("test_greeting.py", TEST)?;
    let ask = format!("curl -sS $BOTTLE_SUPERVISE/request_host -d '{}'", wish());
    project.write(
        ALL,
        [&test(), &search(is_real), &refused(), &ask, &reached(), &push()]
            .map(|step| format!("{step}\n"))
            .concat(),
    )?;
    for words in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "greeting.py", "test_greeting.py"],
        &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "Begin"],
        &["clone", "--quiet", "--bare", ".", "../upstream.git"],
        &["remote", "add", "origin", "../upstream.git"],
    ] {
        let status = Command::new("git").args(words).current_dir(project.folder()).status().context("git")?;
        ensure!(status.success(), "git {words:?}");
    }
    let tell = |name: &str, text: &str| fs::write(model.folder().join(name), text);
    tell("steps.json", &Value::from(steps(is_real)).to_string())?;
    tell("answer", agent.answer)?;
    tell("troubles", &agent.troubles.join("\n"))?;
    tell("page", PAGE)?;
    Ok(())
}

/// What the model tells an agent with tools to do, one after the other.
fn steps(is_real: bool) -> Vec<Value> {
    let edit = format!("! python3 test_greeting.py && sed -i s/hello/changed/ greeting.py && {}", test());
    let shell = |command: String| json!({ "shell": command });
    vec![
        shell(edit),
        shell(search(is_real)),
        shell(refused()),
        json!({ "tool": "request_host", "arguments": wish() }),
        shell(reached()),
        shell(push()),
    ]
}

fn wish() -> Value {
    json!({ "host": ASKED, "reason": REASON })
}

fn test() -> String {
    format!("python3 test_greeting.py && echo 'test: passed' >> {RESULT}")
}

/// Programs that are this machine's own, and that the guest cannot write, are not searched.
fn search(is_real: bool) -> String {
    let backwards: String = KEY.bytes().rev().map(|byte| format!("{byte:02x}")).collect();
    let skipped =
        if is_real { GIVEN.join(" ") } else { "/usr /bin /lib /lib64 /sbin /run/stand-in".to_owned() };
    format!("python3 search.py {backwards} {WITNESS} {skipped} >> {RESULT} 2>&1")
}

fn refused() -> String {
    format!(
        "for host in refused.test {ASKED}; do curl -sS -o /dev/null https://$host/ 2>&1 | sed \"s/^/$host: /\" >> {RESULT}; done; \
         head -1 /opt/bottle/GUIDE.md >> {RESULT}"
    )
}

fn reached() -> String {
    format!("curl -sS https://{ASKED}/ >> {RESULT} 2>&1")
}

fn push() -> String {
    format!(
        "copy=$PWD; (git clone -q $BOTTLE_GIT_GATE/project.git /tmp/gate && cd /tmp/gate && git checkout -q -b agent && \
         cp $copy/greeting.py . && git -c user.name=agent -c user.email=agent@example.com commit -qam 'Change the greeting' && \
         git push -q origin agent) >> {RESULT} 2>&1"
    )
}

/// Approves every host that is asked for, until `is_over`.
pub fn operate(project: &Project, is_over: &AtomicBool) {
    let pause = if project.environment().is_real() { RARE_GLANCE } else { GLANCE };
    while !is_over.load(Relaxed) {
        let inbox = project.answer(&["inbox", "--json"]).unwrap_or_default();
        for request in inbox.as_array().into_iter().flatten() {
            if let Some(id) = request["id"].as_str() {
                let _ = project.run(&["approve", id]);
            }
        }
        thread::sleep(pause);
    }
}

/// Checks what the model got: enough requests, each with the key where the vendor wants it, and none of the placeholders. The host
/// that was asked for got no key.
///
/// # Errors
/// Returns what did not hold.
pub fn check_requests(agent: &Agent, model: &HttpsServer) -> Result<()> {
    let (asked, requests): (Vec<_>, Vec<_>) =
        model.requests().into_iter().partition(|request| request["headers"]["host"] == ASKED);
    let posts = requests.iter().filter(|request| request["method"] == "POST").count();
    let answers = if agent.has_tools { steps(false).len() + 1 } else { 1 };
    let least = agent.troubles.len() + answers;
    ensure!(posts >= least, "the model got {posts} requests instead of {least} at least");
    for trouble in agent.troubles {
        ensure!(requests.iter().any(|request| request["got"] == *trouble), "no request got {trouble}");
    }
    for request in &requests {
        let value = request["headers"][agent.header].as_str().unwrap_or_default();
        ensure!(value.ends_with(KEY), "{} had no key", request["path"]);
        ensure!(!request.to_string().contains(WITNESS), "a placeholder left the guest: {}", request["path"]);
    }
    ensure!(!asked.is_empty(), "{ASKED} got no request");
    ensure!(asked.iter().all(|request| !request.to_string().contains(KEY)), "{ASKED} got the key");
    Ok(())
}

/// Checks what the agent did: its change is in the project's copy, its push at the gate, and the key is not in the guest.
///
/// # Errors
/// Returns what did not hold.
pub fn check_results(project: &Project) -> Result<()> {
    let result = project.run(&["exec", "--", "cat", RESULT])?;
    let names = project.run(&["diff", "--names"])?;
    ensure!(names.contains("M greeting.py"), "it did not change the file: {names}{result}");
    for line in ["test: passed", "key: nowhere", PAGE, "# Your sandbox"] {
        ensure!(result.lines().any(|one| one.starts_with(line)), "no {line:?}: {result}");
    }
    ensure!(
        result.contains("memory of") && !result.contains("witness: nowhere"),
        "nothing was searched: {result}"
    );
    for host in ["refused.test", ASKED] {
        let is_refused = |line: &str| line.starts_with(&format!("{host}: ")) && line.contains("403");
        ensure!(result.lines().any(is_refused), "{host} was not refused: {result}");
    }
    let waiting = project.answer(&["git", "t", "list", "--json"])?;
    ensure!(waiting[0]["push"]["branch"] == "agent", "no push waits: {waiting} {result}");
    Ok(())
}

/// Looks for the key in this host's state and logs, where the witness has to be.
///
/// # Errors
/// Returns an error if the key is there.
pub fn check_host(environment: &Environment) -> Result<()> {
    let find = |word: &str| -> Result<String> {
        let output = Command::new("grep").args(["-rl", word]).arg(environment.path("state")).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let found = find(KEY)?;
    ensure!(found.is_empty(), "the key is on the host's disk: {found}");
    ensure!(!find(REASON)?.is_empty(), "no log has what was asked");
    Ok(())
}
