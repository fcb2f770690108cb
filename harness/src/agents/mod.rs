//! Runs the real command-line agents, each in a bottle, against a scripted model.
//!
//! The agents are the vendors' own, installed by their registries' clients through the bottle's egress proxy. The
//! model (`model.py`) is a stand-in: it tells each agent to run one command, and shows nothing about what an agent
//! would do by itself. What is real is the way there: the command line, the configuration that the agent finds, its
//! requests and their key, its tools, and the files that come back.

mod agent;
mod screen;
mod setting;

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project};
use crate::https_server::HttpsServer;
pub use agent::{AGENTS, Agent};
use anyhow::{Context, Result, ensure};
use setting::{KEY, MODEL, ORIGINS, bottle, config};
use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

const SEARCH: &str = include_str!("search.py");
/// A word that every agent's guest has: what is looked for in the same way has to be found.
const WITNESS: &str = "kept-on-the-host";
/// Where the guest's copy of the project gets the results.
const RESULT: &str = "result.txt";

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these agents
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only their full-screen interfaces
    #[arg(long)]
    screen: bool,
}

/// Runs each agent, once with a prompt and once with its full-screen interface, and prints a line for each.
///
/// # Errors
/// Returns an error if something cannot be set up. An agent that fails is a line and the exit status.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let chosen =
        |agent: &&Agent| options.only.is_empty() || options.only.iter().any(|name| name == agent.name);
    let chosen: Vec<&Agent> = AGENTS.iter().filter(chosen).collect();
    ensure!(!chosen.is_empty(), "there is no such agent");
    let mut failed = false;
    for agent in chosen {
        let mut tell = |what: &str, run: &dyn Fn() -> Result<()>| {
            let since = Instant::now();
            let ran = run();
            failed |= ran.is_err();
            let said = match ran {
                Ok(()) => format!("ok      {:>4} s", since.elapsed().as_secs()),
                Err(error) => format!("FAILED  {error:#}"),
            };
            println!("{:<10} {:<12} {what:<8} {said}", agent.name, agent.version);
        };
        if !options.screen {
            tell("prompt", &|| run(checkout, agent));
        }
        if let Some(known) = &agent.screen {
            tell("screen", &|| screen::run(checkout, agent, known));
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs one agent in a fresh environment.
///
/// # Errors
/// Returns what did not hold.
pub fn run(checkout: &Checkout, agent: &Agent) -> Result<()> {
    let model = HttpsServer::run(MODEL, &ORIGINS)?;
    let environment = Environment::new(checkout, Guest::Namespace)?;
    let project = environment.project("project")?;
    let registry = agent.registry.find()?;
    // The stand-in guest has this machine's programs, whatever its image is.
    let image = environment.path("image");
    fs::create_dir(&image)?;
    project.write("bottle.toml", config(agent, &image, &model, &registry))?;
    project.write("search.py", SEARCH)?;
    project.write("greeting.py", "print('hello')\n")?;
    fs::write(model.folder().join("command"), command())?;
    fs::write(model.folder().join("answer"), agent.answer)?;
    fs::write(model.folder().join("first"), "429")?;
    let key: Vec<(&str, &str)> = vec![(agent.key, KEY)];
    let output = bottle(&project, &model, &key, &[&[agent.name, "--"], agent.prompt].concat())?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ended with {}: {}", output.status, end(&said));
    check_requests(agent, &model).with_context(|| end(&said))?;
    check_results(agent, &project, &said)?;
    let logs = grep(&environment, KEY)?;
    ensure!(logs.is_empty(), "the key is on the host's disk: {logs}");
    bottle(&project, &model, &key, &["--quiet", "rm", "--force"])?;
    Ok(())
}

/// What the model tells an agent to run: a change, the search for the key, and a host that is refused.
fn command() -> String {
    let backwards: String = KEY.bytes().rev().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "echo changed > changed.txt; python3 search.py {backwards} {WITNESS} > {RESULT}; \
         curl -sS -o /dev/null https://refused.test/ 2>> {RESULT}; cat /opt/bottle/GUIDE.md | head -1 >> {RESULT}"
    )
}

/// Every request had the key, where the vendor wants it, and none of the placeholders.
fn check_requests(agent: &Agent, model: &HttpsServer) -> Result<()> {
    let requests = model.requests();
    let posts = requests.iter().filter(|request| request["method"] == "POST").count();
    ensure!(posts >= agent.requests, "the model got {posts} requests instead of {} at least", agent.requests);
    for request in &requests {
        let value = request["headers"][agent.header].as_str().unwrap_or_default();
        ensure!(value.ends_with(KEY), "{} had no key", request["path"]);
        ensure!(!request.to_string().contains(WITNESS), "a placeholder left the guest: {}", request["path"]);
    }
    Ok(())
}

/// What the agent did is in the project's copy, and the key is not in the guest.
fn check_results(agent: &Agent, project: &Project, said: &str) -> Result<()> {
    let words = ["--quiet", "diff", "--names"];
    let names = project.command(&words).output()?;
    let names = String::from_utf8_lossy(&names.stdout).into_owned();
    ensure!(names.contains(agent.changed), "it did not change {}: {names}{}", agent.changed, end(said));
    if !agent.has_shell {
        return Ok(());
    }
    let result = project.command(&["--quiet", "exec", "--", "cat", RESULT]).output()?;
    let result = String::from_utf8_lossy(&result.stdout).into_owned();
    ensure!(result.contains("key: nowhere\n"), "the guest has the key: {result}");
    ensure!(
        result.contains("memory of") && !result.contains("witness: nowhere"),
        "nothing was searched: {result}"
    );
    ensure!(result.contains("403"), "a host that is not allowed was not refused: {result}");
    ensure!(result.contains("# Your sandbox"), "the guide is missing: {result}");
    Ok(())
}

/// Looks for a word below the environment's state, and returns the files that have it.
fn grep(environment: &Environment, word: &str) -> Result<String> {
    let output = Command::new("grep").args(["-rl", word]).arg(environment.path("state")).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the last lines of what was said.
fn end(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n    ")
}
