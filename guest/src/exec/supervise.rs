//! A command that is watched: nothing of it is left after its deadline, or once the host wants it to end.

use super::{descendants, foreground};
use crate::report::{Code, How, Report};
use crate::status::exit_number;
use anyhow::Result;
use rustix::process::{Pid, Signal, getpid, set_child_subreaper};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command has after `SIGTERM` before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long killing may take. A process that starts others faster than they are killed is given up on.
const KILLING: Duration = Duration::from_secs(5);
/// How often a running command is looked at. The first looks come sooner, for commands that are short.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Runs a command to its end, to its deadline if it has one, or until this process is told to end. After the latter two,
/// everything that it started is ended, too. With `terminal` it is the foreground program of this process's terminal.
///
/// # Errors
/// Returns an error if the command cannot be waited for.
pub fn run(mut command: Command, limit: Option<Duration>, terminal: bool) -> Result<Report> {
    // Whatever the command leaves behind becomes a child of this process, and can be found.
    set_child_subreaper(Some(getpid()))?;
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    let program = command.get_program().display().to_string();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_run(&format!("cannot run {program}"), &error)),
    };
    if terminal {
        foreground::give(&child);
    }
    // A clock that has no such time means that there is no deadline.
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    if let Some(status) = wait(&mut child, end, &told, terminal)? {
        return Ok(ended(status));
    }
    let how = if told.load(Relaxed) { How::Interrupted } else { How::TimedOut };
    descendants::signal(Signal::TERM);
    wait(&mut child, Instant::now().checked_add(GRACE), &AtomicBool::new(false), terminal)?;
    let end = Instant::now() + KILLING;
    while descendants::signal(Signal::KILL) > 0 && Instant::now() < end {
        descendants::reap();
        thread::sleep(Duration::from_millis(1));
    }
    let message = match (how, limit) {
        (How::TimedOut, Some(limit)) => {
            format!("{program} took more than {} s and was ended", limit.as_secs_f64())
        }
        _ => format!("{program} was told to end"),
    };
    Ok(Report { how, status: None, signal: None, code: None, message: Some(message) })
}

/// Reports a command that cannot be run, or what it needs that is not there.
pub fn not_run(what: &str, why: &io::Error) -> Report {
    Report {
        how: How::NotRun,
        status: None,
        signal: None,
        code: Some(Code::of_io(why)),
        message: Some(format!("{what}: {why}")),
    }
}

fn ended(status: ExitStatus) -> Report {
    Report {
        how: How::Exited,
        status: Some(exit_number(status)),
        signal: status.signal(),
        code: None,
        message: None,
    }
}

fn wait(
    child: &mut Child,
    end: Option<Instant>,
    told: &AtomicBool,
    terminal: bool,
) -> Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if told.load(Relaxed) || end.is_some_and(|end| Instant::now() >= end) {
            return Ok(None);
        }
        if terminal {
            foreground::go_on(Pid::from_child(child));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
