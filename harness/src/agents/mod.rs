//! Runs the real command-line agents, each in a bottle, against a scripted model.
//!
//! The agents are the vendors' own, installed by their registries' clients through the bottle's egress proxy. The
//! model (`model.py`) is a stand-in: it tells each agent to run one command, and shows nothing about what an agent
//! would do by itself. What is real is the way there: the command line, the configuration that the agent finds, its
//! requests and their key, its tools, and the files that come back.

mod agent;
mod conversation;
mod real;
mod screen;
mod setting;

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
pub use agent::{AGENTS, Agent};
use anyhow::{Result, ensure};
use conversation::converse;
use setting::config;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these agents
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only their full-screen interfaces
    #[arg(long)]
    screen: bool,
    /// What runs as the guest. In a real one there is no network but the bottle's: the agents are installed beforehand,
    /// by this machine's clients, and only given their prompt
    #[arg(long, value_enum, default_value = "namespace")]
    guest: Guest,
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
    if options.guest == Guest::Real {
        return real::main(checkout, &chosen);
    }
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
    let environment = Environment::new(checkout, Guest::Namespace)?;
    let project = environment.project("project")?;
    let registry = agent.registry.find()?;
    // The stand-in guest has this machine's programs, whatever its image is.
    let image = environment.path("image");
    fs::create_dir(&image)?;
    converse(&project, agent, &|model| config(agent, &image, model, &registry))
}
