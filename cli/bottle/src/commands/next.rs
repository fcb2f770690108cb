//! `bottle` alone: says what is useful next, in the project here.

use super::context::Context;
use crate::config::{Config, FILE};
use crate::lifecycle::observe::{Row, look};
use crate::lifecycle::state::State;
use crate::trust::{self, Standing};
use bottle_core::slug::Slug;
use bottle_core::specification::Workspace;
use bottle_host::control::{self, Answer, Request};
use bottle_host::failure::{Failure, Outcome};
use bottle_host::outln;
use bottle_host::state::Home;
use bottle_host::tools;

pub fn next(context: &Context) -> Outcome {
    for (command, why) in steps(&situation(context)?) {
        outln!("{command:<32} {why}")?;
    }
    outln!("{:<32} every command", "bottle --help")
}

/// What there is, as far as it decides what is useful next.
#[derive(Debug)]
enum Situation {
    /// bottle cannot start anything on this machine.
    Unequipped(String),
    /// There is no `bottle.toml` here.
    NoFile,
    /// The file is wrong, or the bottle is another project's.
    Wrong(Failure),
    /// A guest could have written the file, and nobody has accepted it.
    Untrusted,
    /// There is a file, and no bottle yet.
    New { agent: Option<Slug> },
    /// There is a bottle.
    Bottle { slug: Slug, state: State, copies: bool, asks: usize, refused: bool },
}

fn situation(context: &Context) -> Outcome<Situation> {
    let (slug, config) = match context.configured(None) {
        Ok(found) => found,
        Err(wrong) => return Ok(Situation::Wrong(wrong)),
    };
    if let Err(missing) = tools::smolvm() {
        return Ok(Situation::Unequipped(missing.what().to_owned()));
    }
    let home = Home::find()?;
    let folder = home.bottle(&slug);
    let row = look(&folder)?;
    if let Some(found) = &config.file
        && matches!(trust::standing(&home, found)?, Standing::Unseen(_))
    {
        return Ok(Situation::Untrusted);
    }
    if row.state == State::Ended && !folder.holds_work() {
        let agent = config.agent.map(|agent| agent.name);
        return Ok(if config.file.is_some() { Situation::New { agent } } else { Situation::NoFile });
    }
    Ok(bottle(row, &config, &folder))
}

fn bottle(row: Row, config: &Config, folder: &bottle_host::state::Folder) -> Situation {
    let asks = match control::ask(folder, &Request::Inbox) {
        Ok(Answer::Inbox { waiting }) => waiting.len(),
        _ => 0,
    };
    let refused = control::status(folder)
        .is_some_and(|status| status.counters.refused.values().any(|count| *count > 0));
    let copies = matches!(config.workspace, Workspace::Copy { .. });
    Situation::Bottle { slug: row.slug, state: row.state, copies, asks, refused }
}

/// Returns the commands that are useful next, the first one first, each with what it does.
fn steps(situation: &Situation) -> Vec<(String, String)> {
    let step = |command: &str, why: &str| (command.to_owned(), why.to_owned());
    match situation {
        Situation::Unequipped(what) => vec![(
            "bottle doctor".to_owned(),
            format!("shows what is missing ({what}), and `bottle doctor --fix` helps"),
        )],
        Situation::NoFile => vec![
            step("bottle init", &format!("writes a commented {FILE} for the project here")),
            step("bottle claude", "runs Claude Code on it; or codex, gemini, opencode, aider"),
            step("bottle run -- uname -a", "runs one command in a guest that is gone afterwards"),
        ],
        Situation::Wrong(failure) => {
            vec![("bottle plan".to_owned(), format!("shows this again: {}", failure.what()))]
        }
        Situation::Untrusted => {
            vec![step("bottle up", &format!("shows what changed in {FILE}, and asks about it"))]
        }
        Situation::New { agent: Some(agent) } => vec![
            (format!("bottle agent {agent}"), "starts the bottle, and the agent in it".to_owned()),
            step("bottle plan", "shows what would start, without starting anything"),
        ],
        Situation::New { agent: None } => vec![
            step("bottle plan", "shows what would start, without starting anything"),
            step("bottle up", "starts the bottle"),
        ],
        Situation::Bottle { slug, state: State::Running | State::Ephemeral, copies, asks, refused } => {
            let mut steps = Vec::new();
            if *asks > 0 {
                steps.push((
                    "bottle inbox".to_owned(),
                    format!("shows what the agent asks: {asks} of its requests wait for you"),
                ));
            }
            if *refused {
                let why = "shows the hosts that were refused, as lines for bottle.toml";
                steps.push((format!("bottle suggest {slug}"), why.to_owned()));
            }
            steps.push((format!("bottle shell {slug}"), "opens a shell in it".to_owned()));
            if *copies {
                steps.push((format!("bottle diff {slug}"), "shows what it changed in its copy".to_owned()));
            }
            steps
        }
        Situation::Bottle { state: State::Broken(why), .. } => {
            vec![("bottle ls".to_owned(), why.to_string())]
        }
        Situation::Bottle { slug, copies, .. } => {
            let mut steps = vec![(format!("bottle up {slug}"), "starts it again".to_owned())];
            if *copies {
                steps.push((format!("bottle diff {slug}"), "shows what it changed in its copy".to_owned()));
            }
            steps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::state::Break;

    #[test]
    fn whatever_there_is_something_is_useful_next() {
        let running = |asks, refused| Situation::Bottle {
            slug: "t".parse().unwrap(),
            state: State::Running,
            copies: true,
            asks,
            refused,
        };
        let stopped = Situation::Bottle {
            slug: "t".parse().unwrap(),
            state: State::Stopped,
            copies: false,
            asks: 0,
            refused: false,
        };
        let broken = Situation::Bottle {
            slug: "t".parse().unwrap(),
            state: State::Broken(Break::Unkept),
            copies: false,
            asks: 0,
            refused: false,
        };
        for (situation, first) in [
            (Situation::Unequipped("x".to_owned()), "bottle doctor"),
            (Situation::NoFile, "bottle init"),
            (Situation::Untrusted, "bottle up"),
            (Situation::New { agent: None }, "bottle plan"),
            (Situation::New { agent: Some("claude".parse().unwrap()) }, "bottle agent claude"),
            (running(2, true), "bottle inbox"),
            (running(0, true), "bottle suggest t"),
            (running(0, false), "bottle shell t"),
            (stopped, "bottle up t"),
            (broken, "bottle ls"),
        ] {
            assert_eq!(steps(&situation)[0].0, first, "{situation:?}");
        }
    }
}
