//! `bottle claude`, and the like: an agent in a bottle for the project here, in one command.

use super::context::{AgentChoice, Context};
use super::{enter, up, workload};
use crate::agent;
use crate::args::AgentRun;
use bottle_core::execution::Execution;
use bottle_core::slug::Slug;
use bottle_core::text::Word;
use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::Home;
use std::process::ExitCode;

/// Starts the bottle if it is not up, sets the agent up if it is not there, and runs it.
pub fn run(context: &Context, name: Slug, how: AgentRun) -> Outcome<ExitCode> {
    let AgentRun { bottle, setup_allow, smoke, renew, rebuild, trust, detach, arguments } = how;
    let has_bottle = bottle.is_some();
    let context = context.for_agent(AgentChoice { name, setup_allow, has_bottle });
    let (slug, config) = context.configured(bottle)?;
    let profile = config.agent.as_ref().and_then(|agent| agent.profile.clone());
    let profile =
        profile.ok_or_else(|| Failure::new(Kind::Internal, "the agent's profile was not applied"))?;
    if smoke && profile.smoke.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("the profile of {} has no `smoke`", profile.name))
            .help("`smoke = [\"PROGRAM\", \"--version\"]` in it names a command that shows that it is installed"));
    }
    let options = up::Options { trust, renew: renew || rebuild, rebuild };
    up::up_with(&context, &slug, &config, &options, "up")?;
    // A bottle that was up already may be up for something else.
    let folder = Home::find()?.bottle(&slug);
    let plan = folder.read_plan()?;
    if plan.agent != config.agent.map(|agent| agent.name) {
        let what = format!("{slug} is up, and not for {}", profile.name);
        return Err(Failure::new(Kind::Busy, what).help(format!(
            "`bottle stop {slug}` first; `--bottle NAME` gives the agent a bottle of its own"
        )));
    }
    let program = if smoke { &profile.smoke } else { &profile.command };
    let words: Vec<String> = program.iter().map(Word::to_string).chain(arguments).collect();
    let how = Execution { seeds: true, ..Execution::default() };
    if detach {
        workload::start(&context, &folder, &how.words(&words))?;
        return Ok(ExitCode::SUCCESS);
    }
    enter::exec(&context, Some(slug), &how, None, &words)
}

/// Lists the agents, and says of a profile that cannot be used why.
pub fn list() -> Outcome {
    for name in agent::names() {
        let found = agent::find(&name);
        let name = name.as_str();
        match found {
            Ok(profile) => out::line(format_args!("{name:<12} {}", Line(&profile.name)))?,
            Err(failure) => out::line(format_args!("{name:<12} cannot be used: {}", Line(failure.what())))?,
        }
    }
    for file in agent::misnamed() {
        let said = "cannot be used: an agent's name has a to z, 0 to 9 and '-' only";
        out::line(format_args!("{:<12} {said}", Line(&file).to_string()))?;
    }
    Ok(())
}

/// Returns the name of an agent that is a subcommand.
pub fn named(name: &str) -> Outcome<Slug> {
    Ok(name.parse().map_err(anyhow::Error::from)?)
}
