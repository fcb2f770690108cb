//! Runs the real command-line agents, each in a bottle, against a scripted model.
//!
//! The agents are the vendors' own, installed by their registries' clients: in stand-in guests through the bottle's egress
//! proxy, and for real guests on this machine. The model (`model.py`) is a stand-in: it tells each agent what to do ([`steps`]), and
//! shows nothing about what an agent would do by itself. What is real is the way there: the command line, the configuration
//! that the agent finds, its requests and their key, its tools, and the files that come back.

mod agent;
mod screen;
mod setting;
mod steps;

use crate::checkout::Checkout;
use crate::environment::Guest;
use crate::outer;
pub use agent::{AGENTS, Agent};
use anyhow::{Context, Result, ensure};
use setting::{Setting, fetch};
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these agents
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only their full-screen interfaces
    #[arg(long)]
    screen: bool,
    /// What runs as the guest; real ones have no full screen here
    #[arg(long, value_enum, default_value = "namespace")]
    guest: Guest,
    /// In real guests of this machine
    #[arg(long, hide = true)]
    here: bool,
}

/// Runs each agent, once with a prompt and once with its full-screen interface, and prints a line for each.
///
/// # Errors
/// Returns an error if something cannot be set up. An agent that fails is a line and the exit status.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let chosen =
        |agent: &&Agent| options.only.is_empty() || options.only.iter().any(|name| name == agent.name);
    let chosen: Vec<&'static Agent> = AGENTS.iter().filter(chosen).collect();
    ensure!(!chosen.is_empty(), "there is no such agent");
    if options.here {
        return Ok(here(checkout, &chosen));
    }
    if options.guest == Guest::Real {
        return in_real_guests(checkout, &chosen);
    }
    let mut failed = false;
    for agent in chosen {
        let mut tell = |what: &str, run: &dyn Fn() -> Result<()>| {
            let since = Instant::now();
            let ran = run();
            failed |= ran.is_err();
            say(agent, what, since, &ran);
        };
        if !options.screen {
            tell("prompt", &|| run(checkout, agent, Guest::Namespace));
        }
        if let Some(known) = &agent.screen {
            tell("screen", &|| screen::run(checkout, agent, known));
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How long an agent may take in an emulated guest: twice as long as the slowest.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs each agent in a real guest, on this machine or in an outer one for each.
fn in_real_guests(checkout: &Checkout, chosen: &[&'static Agent]) -> Result<ExitCode> {
    let mut worst = ExitCode::SUCCESS;
    for &agent in chosen {
        fetch(agent, checkout)?;
        let words = ["agents", "--guest", "real", "--here", "--only", agent.name].map(OsString::from);
        let words = [&[checkout.program("bottle-harness")?.into()][..], &words].concat();
        let code = outer::run_where_guests_boot(checkout, &words, false, Some(LIMIT))?;
        if worst != ExitCode::FAILURE && code != ExitCode::SUCCESS {
            worst = code;
        }
    }
    Ok(worst)
}

/// Runs each agent in a real guest of this machine. One whose guest did not start, or died, shows nothing.
fn here(checkout: &Checkout, chosen: &[&'static Agent]) -> ExitCode {
    for agent in chosen {
        let since = Instant::now();
        let ran = run(checkout, agent, Guest::Real);
        say(agent, "real", since, &ran);
        match ran {
            Ok(()) => {}
            Err(error) if error.is::<Died>() => return ExitCode::from(outer::INCONCLUSIVE),
            Err(_) => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}

fn say(agent: &Agent, what: &str, since: Instant, ran: &Result<()>) {
    let said = match ran {
        Ok(()) => format!("ok      {:>4} s", since.elapsed().as_secs()),
        Err(error) => format!("FAILED  {error:#}"),
    };
    println!("{:<10} {:<12} {what:<8} {said}", agent.name, agent.version);
}

/// The guest did not start, or is gone: what did not hold then shows nothing.
#[derive(Debug)]
struct Died;

impl fmt::Display for Died {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the guest died")
    }
}

/// Runs one agent in a fresh environment.
///
/// # Errors
/// Returns what did not hold.
pub fn run(checkout: &Checkout, agent: &'static Agent, guest: Guest) -> Result<()> {
    let setting = Setting::new(checkout, agent, guest)?;
    let ran = go(agent, &setting);
    let is_there = || setting.project.run(&["exec", "--", "true"]).is_ok();
    match ran {
        Err(error) if guest == Guest::Real && !is_there() => Err(error.context(Died)),
        ran => ran,
    }
}

fn go(agent: &Agent, setting: &Setting) -> Result<()> {
    let Setting { project, model, .. } = setting;
    steps::prepare(agent, project, model)?;
    if project.environment().is_real() {
        setting.start()?;
    }
    let is_over = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| steps::operate(project, &is_over));
        let output = setting.run();
        is_over.store(true, Relaxed);
        output
    })?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ended with {}: {}", output.status, end(&said));
    steps::check_results(project).with_context(|| end(&said))?;
    steps::check_requests(agent, model).with_context(|| end(&said))?;
    steps::check_host(project.environment())
}

/// Returns the last lines of what was said.
fn end(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n    ")
}
