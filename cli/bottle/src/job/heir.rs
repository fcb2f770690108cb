//! The process that finishes a run if the process of the run is killed.
//!
//! It holds the reading end of a pipe whose only writing end is the run's. It is a process of its own group and nobody's
//! child, so that what kills the run by its group, or by who started whom, leaves it alone; and it lasts only as long
//! as the run and what there is to finish. What kills it, too, is a control group. Then the next run on this machine
//! does its work.

use super::finish;
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use bottle_host::process::inherit;
use bottle_host::state::{Folder, Home, chosen};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::env;
use std::io::{PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long another process may take to finish the run instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// The heir of a run. Dropping this value tells it that the run has ended.
#[derive(Debug)]
pub struct Heir {
    _lifeline: PipeWriter,
}

impl Heir {
    /// Starts the heir of the run of a bottle.
    ///
    /// # Errors
    /// Returns an error if it cannot be started.
    pub fn of(folder: &Folder) -> Result<Self> {
        let (read, lifeline) = std::io::pipe()?;
        let mut command = command(folder.slug(), &read)?;
        command.envs(folder.environment());
        // The process that is started here ends at once, so that its own child has no parent.
        let status = command.status().context("cannot start the heir")?;
        anyhow::ensure!(status.success(), "the heir did not start: {status}");
        Ok(Self { _lifeline: lifeline })
    }
}

fn command(slug: &Slug, lifeline: &impl AsFd) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    if let Some(all) = chosen() {
        command.arg("--state-dir").arg(all);
    }
    let number = inherit(&mut command, lifeline.as_fd());
    command.args(["heir", slug.as_str(), "--fd", &number.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    Ok(command)
}

/// Runs the heir, or starts it without a parent.
///
/// # Errors
/// Returns an error if the run cannot be finished. The next run on this machine tries again.
pub fn main(slug: &Slug, lifeline: OwnedFd, has_parent: bool) -> Result<()> {
    if has_parent {
        command(slug, &lifeline)?.arg("--alone").current_dir("/").spawn().context("cannot start the heir")?;
        return Ok(());
    }
    // A scheduler sends these to everything that it finds of a job.
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let mut lifeline = std::fs::File::from(lifeline);
    while lifeline.read(&mut [0])? > 0 {}
    finish::one(&Home::find()?.bottle(slug), PATIENCE)?;
    Ok(())
}
