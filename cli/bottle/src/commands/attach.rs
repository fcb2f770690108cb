//! `bottle attach`: the output of a detached command, and its status at its end.

use super::context::Context;
use super::workload;
use anyhow::Context as _;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use signal_hook::consts::SIGINT;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The status of a command that ctrl-C ends, as a shell has it.
const INTERRUPTED: u8 = 130;

/// Shows what a detached command prints until it ends, and returns its status. Ctrl-C leaves it running.
pub fn attach(context: &Context, slug: Option<Slug>) -> Outcome<ExitCode> {
    let folder = context.folder(slug)?;
    let leaves = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, Arc::clone(&leaves)).context("signals")?;
    context.detail("ctrl-C leaves the command running; it reads nothing that is typed here");
    workload::show(&folder, || !leaves.load(Relaxed))?;
    if let Some(status) = workload::status(&folder)? {
        return Ok(ExitCode::from(status));
    }
    let slug = folder.slug();
    if leaves.load(Relaxed) {
        context.say(&format!("the command goes on; `bottle attach {slug}` comes back to it"));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Err(Failure::new(Kind::Guest, format!("nobody knows how the detached command in {slug} ended"))
        .help("its recorder was killed; what it printed is above"))
}
