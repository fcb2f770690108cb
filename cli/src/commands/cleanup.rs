//! `bottle cleanup`: what crashes left behind. The plan first, then exactly the plan.

use super::context::Context;
use super::ls::{self, State};
use crate::failure::Outcome;
use crate::preflight;
use crate::state::Home;
use bottle_core::slug::Slug;
use std::fmt;
use std::io::{IsTerminal, Write};

/// One thing to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A machine that runs without a keeper. Its disk stays.
    StopMachine(Slug),
    /// Sockets and the helper's copy of a bottle that does not run.
    RemoveRuntime(Slug),
    /// Everything of a run that has ended, its log included.
    RemoveState(Slug),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopMachine(slug) => {
                write!(f, "stop the machine of {slug}, which has no keeper (its disk stays)")
            }
            Self::RemoveRuntime(slug) => write!(f, "remove the sockets of {slug}"),
            Self::RemoveState(slug) => {
                write!(f, "remove the files and the log of {slug}, whose run has ended")
            }
        }
    }
}

/// What there is to remove.
fn plan() -> Outcome<Vec<Step>> {
    let home = Home::find()?;
    let mut steps = Vec::new();
    for row in ls::rows()? {
        let folder = home.bottle(&row.slug);
        let sockets =
            folder.guest_socket().exists() || folder.control().exists() || folder.helper_dir().exists();
        match row.state {
            State::Running | State::Ephemeral => continue,
            State::Unkept => steps.push(Step::StopMachine(row.slug.clone())),
            State::Stopped | State::Ended => {}
        }
        if sockets {
            steps.push(Step::RemoveRuntime(row.slug.clone()));
        }
        if row.state == State::Ended {
            steps.push(Step::RemoveState(row.slug));
        }
    }
    Ok(steps)
}

pub fn cleanup(context: &Context, dry_run: bool, yes: bool) -> Outcome {
    let steps = plan()?;
    if steps.is_empty() {
        context.progress("there is nothing to clean up");
        return Ok(());
    }
    for step in &steps {
        println!("{step}");
    }
    if dry_run || !(yes || confirmed()) {
        return Ok(());
    }
    let home = Home::find()?;
    for step in steps {
        match step {
            Step::StopMachine(slug) => preflight::smolvm()?.stop(&slug)?,
            Step::RemoveRuntime(slug) => home.bottle(&slug).remove_runtime()?,
            Step::RemoveState(slug) => home.bottle(&slug).remove()?,
        }
    }
    Ok(())
}

fn confirmed() -> bool {
    if !std::io::stdin().is_terminal() {
        eprintln!("bottle: nobody to ask; --yes removes this");
        return false;
    }
    print!("Remove this? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}
