//! A command with a deadline, after which nothing of it is left.

use super::descendants;
use crate::status::{exit_code, not_run};
use anyhow::Result;
use rustix::process::{Signal, getpid, set_child_subreaper};
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// The status of a command that was ended at its deadline: that of `timeout` in coreutils.
const TIMED_OUT: u8 = 124;
/// How long a command has after `SIGTERM` before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long killing may take. A process that starts others faster than they are killed is given up on.
const KILLING: Duration = Duration::from_secs(5);
/// How often a running command is looked at. The first looks come sooner, for commands that are short.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Runs a command to its end or to its deadline. After the deadline, everything that it started is ended, too.
pub fn run(mut command: Command, limit: Duration) -> Result<ExitCode> {
    // Whatever the command leaves behind becomes a child of this process, and can be found.
    set_child_subreaper(Some(getpid()))?;
    let program = command.get_program().to_owned();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_run(&program, &error)),
    };
    // A clock that has no such time means that there is no deadline.
    let end = Instant::now().checked_add(limit);
    if let Some(status) = wait(&mut child, end)? {
        return Ok(status);
    }
    descendants::signal(Signal::TERM);
    wait(&mut child, Instant::now().checked_add(GRACE))?;
    let end = Instant::now() + KILLING;
    while descendants::signal(Signal::KILL) > 0 && Instant::now() < end {
        descendants::reap();
        thread::sleep(Duration::from_millis(1));
    }
    eprintln!("bottle: {} took more than {} s and was ended", program.display(), limit.as_secs_f64());
    Ok(ExitCode::from(TIMED_OUT))
}

fn wait(child: &mut Child, end: Option<Instant>) -> Result<Option<ExitCode>> {
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(exit_code(status)));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
