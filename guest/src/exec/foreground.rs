//! A command in a terminal: it is the terminal's foreground program, and does not stay stopped.
//!
//! In a guest there is no shell behind a command to which Ctrl-Z could lead. A full-screen program that stops itself would
//! wait for good, and the keys with it. So a command that stops goes on at once.

use super::options::Options;
use crate::status::{exit_code, not_run};
use anyhow::Result;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process_group, waitid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use signal_hook::consts::{SIGHUP, SIGTERM};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command waits to be the foreground program, unless there is no terminal.
const LONGEST: Duration = Duration::from_secs(1);
/// The variables that say which characters a terminal shows, strongest first.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// Returns a command that runs what the options say once the terminal is its own: this program, in a process group of its
/// own, which becomes it. Whoever waits for it stays root.
///
/// # Errors
/// Returns an error if this program's own path cannot be read.
pub fn command(options: Options) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.process_group(0).args(["exec", "--foreground"]);
    let Options { workdir, env, user, seed, command: words, .. } = options;
    let named = [("--workdir", workdir.map(PathBuf::into_os_string)), ("--user", user)];
    for (name, value) in named.into_iter().chain([("--seed", seed.map(PathBuf::into_os_string))]) {
        value.into_iter().for_each(|value| _ = command.arg(name).arg(value));
    }
    for (name, value) in env {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        command.arg("--env").arg(variable);
    }
    command.arg("--").args(words);
    Ok(command)
}

/// Gives a command UTF-8, unless the guest or whoever asked for the command names a locale.
pub fn localize(command: &mut Command) {
    let is_set =
        |name: &&str| std::env::var_os(name).is_some() || command.get_envs().any(|(known, _)| known == *name);
    if !LOCALE.iter().any(is_set) {
        command.env("LANG", "C.UTF-8");
    }
}

/// Makes a command the foreground program of this process's terminal.
pub fn give(child: &Child) {
    // Without a terminal there is nothing to give.
    let _ = tcsetpgrp(stdin(), Pid::from_child(child));
}

/// Waits until this process is the foreground program of its terminal.
pub fn wait_for_it() {
    let end = Instant::now() + LONGEST;
    while tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Lets a command go on if it has stopped.
pub fn go_on(pid: Pid) {
    let stopped = waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG);
    if stopped.is_ok_and(|stopped| stopped.is_some()) {
        let _ = kill_process_group(pid, Signal::CONT);
    }
}

/// Runs a command to its end, and ends with its status. It gets the signals that tell this process to end. Without a
/// terminal, its streams are its own: what it closes is closed.
///
/// # Errors
/// Returns an error if the command cannot be waited for.
pub fn run(mut command: Command, terminal: bool) -> Result<ExitCode> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGTERM])?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_run(command.get_program(), &error)),
    };
    if terminal {
        give(&child);
    } else {
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)?;
        dup2_stderr(&nothing)?;
    }
    let pid = Pid::from_child(&child);
    thread::spawn(move || {
        for signal in &mut signals {
            let told = if signal == SIGHUP { Signal::HUP } else { Signal::TERM };
            let _ = kill_process_group(pid, told);
        }
    });
    let next = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    loop {
        match rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), next))? {
            Some(status) if status.stopped() => go_on(pid),
            _ => return Ok(exit_code(child.wait()?)),
        }
    }
}
