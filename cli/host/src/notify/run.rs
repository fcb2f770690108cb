//! Runs the command, for a bounded time.

use super::notice::Notice;
use crate::process::die_with_parent;
use anyhow::{Context, Result, bail};
use bottle_core::slug::Slug;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether it has ended.
const GLANCE: Duration = Duration::from_millis(20);

/// Runs the command of `[notify]`: the notice is one line of JSON on its standard input, and in a few variables.
/// It is ended after 10 s, with everything that it started in its process group.
///
/// # Errors
/// Returns an error if it cannot be started, fails, or takes too long.
pub fn run(words: &[impl AsRef<str>], slug: &Slug, notice: &Notice) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let (program, told) = (program.as_ref(), notice.told(slug));
    let mut command = Command::new(program);
    command.args(arguments.iter().map(AsRef::as_ref)).current_dir("/").process_group(0);
    command
        .env("BOTTLE_EVENT", notice.word())
        .env("BOTTLE_SLUG", slug.as_str())
        .env("BOTTLE_SAYS", &told.says);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    die_with_parent(&mut command, Signal::KILL);
    let mut child = command.spawn().with_context(|| format!("[notify] cannot run {program}"))?;
    let line = serde_json::to_string(&told)? + "\n";
    // A notice fits into a pipe, so this does not wait for a command that reads nothing.
    let _ = child.stdin.take().map(|mut input| input.write_all(line.as_bytes()));
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("[notify] {program}: {status}"),
            None if Instant::now() >= end => break,
            None => thread::sleep(GLANCE),
        }
    }
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.wait();
    bail!("[notify] {program} took longer than {} s", PATIENCE.as_secs())
}
