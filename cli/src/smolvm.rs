//! The `smolvm` command, driven from outside.

use crate::defence::Defence;
use crate::failure::{Failure, Kind, Outcome};
use crate::preflight::Smolvm;
use crate::resolve::{MachineUser, Resolved};
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use bottle_core::smolfile::{GUEST_SOCKET, Smolfile};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The label that marks a machine as ours.
const LABEL: &str = "bottle";

/// One machine, as `smolvm machine ls --json` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// `running`, `stopped`, ...
    pub state: String,
    /// The process of the virtual machine.
    pub pid: Option<i32>,
    /// What its maker wrote on it.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Machine {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// The bottle that it belongs to, if it is one of ours.
    pub fn bottle(&self) -> Option<Slug> {
        self.labels.get(LABEL).and_then(|slug| slug.parse().ok())
    }
}

impl Smolvm {
    /// A call of smolvm, with its libraries where it finds them.
    pub fn command(&self) -> Command {
        let program = std::path::absolute(&self.path);
        let mut command = Command::new(program.as_ref().unwrap_or(&self.path));
        // Whatever smolvm looks for in its current folder, a guest may have put it there.
        if Defence::PinnedPaths.stands() {
            command.current_dir("/");
        }
        if let Some(dir) = &self.lib_dir {
            command.env("SMOLVM_LIB_DIR", std::path::absolute(dir).as_ref().unwrap_or(dir));
        }
        command
    }

    /// The same, for a call that starts a machine's process.
    fn starting(&self, resolved: &Resolved) -> Command {
        let mut command = self.command();
        if resolved.user == MachineUser::Root {
            // smolvm 1.32.2 takes "off" and "0"; its other confinement of the process stays.
            command.env("SMOLVM_VM_UID_DROP", "off");
        }
        if !resolved.shares_what_others_change() {
            // smolvm watches what a guest shares and tells it of changes, beginning before it has
            // booted. The helper's folder does not change, and an emulated boot takes a quarter
            // longer for it (docs/performance.md).
            command.env("SMOL_NO_HOT_RELOAD", "1");
        }
        command
    }

    /// Every machine that smolvm knows.
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let mut command = self.command();
        command.args(["machine", "ls", "--json"]);
        let output = bounded(command, Some(PATIENCE))?;
        if !output.status.success() {
            anyhow::bail!("smolvm cannot list its machines: {}", last_words(&output));
        }
        serde_json::from_slice(&output.stdout).context("smolvm's list of machines")
    }

    /// The machine of a bottle.
    pub fn machine(&self, slug: &Slug) -> Result<Option<Machine>> {
        let name = slug.machine_name();
        Ok(self.machines()?.into_iter().find(|machine| machine.name == name))
    }

    /// Makes a bottle's machine.
    pub fn create(&self, slug: &Slug, smolfile: &Path, guest_socket: &Path) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "create", "--name", &slug.machine_name()]);
        command.arg("--label").arg(format!("{LABEL}={slug}"));
        command.arg("--smolfile").arg(smolfile);
        command.arg("--mount-socket").arg(socket_pair(guest_socket));
        self.finish(command, "create", None)
    }

    /// Makes a machine that does not run what another Smolfile says, on the disk that it has. Its
    /// image stays: for another image a machine is made anew.
    pub fn update(&self, slug: &Slug, was: &Smolfile, is: &Smolfile) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "update", "--name", &slug.machine_name()]);
        command.arg("--cpus").arg(is.cpus.to_string()).arg("--mem").arg(is.memory.to_string());
        // A folder that is shared in another way is taken away and given again.
        let gone = was.volumes.iter().filter(|volume| !is.volumes.contains(volume));
        for volume in gone {
            command.arg("--remove-volume").arg(volume.strip_suffix(":ro").unwrap_or(volume));
        }
        for volume in is.volumes.iter().filter(|volume| !was.volumes.contains(volume)) {
            command.arg("--volume").arg(volume);
        }
        let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
        let names: Vec<String> = is.env.iter().map(name).collect();
        for name in was.env.iter().map(name).filter(|known| !names.contains(known)) {
            command.arg("--remove-env").arg(name);
        }
        for variable in is.env.iter().filter(|variable| !was.env.contains(variable)) {
            command.arg("--env").arg(variable);
        }
        if was.workdir != is.workdir {
            command.arg("--workdir").arg(is.workdir.as_deref().unwrap_or("/"));
        }
        self.finish(command, "update", Some(PATIENCE))
    }

    /// Starts a bottle's machine.
    pub fn start(&self, slug: &Slug, resolved: &Resolved) -> Outcome {
        let mut command = self.starting(resolved);
        command.args(["machine", "start", "--name", &slug.machine_name()]);
        self.finish(command, "start", None)
    }

    /// Stops a bottle's machine.
    pub fn stop(&self, slug: &Slug) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "stop", "--name", &slug.machine_name()]);
        self.finish(command, "stop", Some(PATIENCE))
    }

    /// Deletes a machine with its disk.
    pub fn delete(&self, machine: &str) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "delete", "--name", machine, "-f"]);
        self.finish(command, "delete", Some(PATIENCE))
    }

    /// Starts a program in the guest and leaves it there.
    pub fn detach(&self, slug: &Slug, words: &[String]) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "exec", "--name", &slug.machine_name(), "--detach", "--"]).args(words);
        self.finish(command, "exec", Some(PATIENCE))
    }

    /// A call that runs a program in the guest.
    pub fn exec(&self, slug: &Slug, terminal: Terminal, words: &[String]) -> Command {
        let mut command = self.command();
        command.args(["machine", "exec", "--name", &slug.machine_name()]);
        command.args(terminal.options()).arg("--").args(words);
        command
    }

    /// A call that runs a program in a machine that is gone afterwards.
    pub fn run(
        &self,
        smolfile: &Path,
        guest_socket: &Path,
        resolved: &Resolved,
        terminal: Terminal,
        words: &[String],
    ) -> Command {
        let mut command = self.starting(resolved);
        command.args(["machine", "run", "--smolfile"]).arg(smolfile);
        command.arg("--mount-socket").arg(socket_pair(guest_socket));
        command.args(terminal.options()).arg("--").args(words);
        command
    }

    /// Runs a call to its end. One that fetches an image has no limit but smolvm's own.
    fn finish(&self, command: Command, verb: &str, limit: Option<Duration>) -> Outcome {
        let output = bounded(command, limit).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Failure::new(
                Kind::Guest,
                format!("smolvm did not {verb} the machine in {} s", PATIENCE.as_secs()),
            )
            .help("`bottle ls` shows what runs; try again"),
            _ => Failure::new(Kind::Unavailable, format!("cannot run {}: {error}", self.path.display())),
        })?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Guest,
            format!("smolvm could not {verb} the machine: {}", last_words(&output)),
        ))
    }
}

/// Several times what smolvm takes for anything but fetching an image, also under emulation.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs a command to its end, or ends it at the limit: what smolvm waits for may never come, and
/// nobody is to hang because of that.
fn bounded(mut command: Command, limit: Option<Duration>) -> std::io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let Some(limit) = limit else { return child.wait_with_output() };
    let pid = Pid::from_child(&child);
    let (done, waited) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    match waited.recv_timeout(limit) {
        Ok(output) => output,
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            Err(ErrorKind::TimedOut.into())
        }
    }
}

/// How a guest's program is connected to this process's own streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Standard input is a pipe, a file or nothing.
    Pipe,
    /// Both ends are a terminal.
    Tty,
}

impl Terminal {
    /// What this process's own streams call for.
    pub fn here() -> Self {
        let tty = |fd| rustix::termios::isatty(fd);
        if tty(rustix::stdio::stdin()) && tty(rustix::stdio::stdout()) { Self::Tty } else { Self::Pipe }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Pipe => &["-i"],
            Self::Tty => &["-i", "-t"],
        }
    }
}

fn socket_pair(host: &Path) -> OsString {
    let mut pair = host.as_os_str().to_owned();
    pair.push(":");
    pair.push(GUEST_SOCKET);
    pair
}

/// The last lines of what a failed call said.
fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    // Its own log has colours, which are nobody's here.
    let text = anstream::adapter::strip_str(&text).to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty() && !line.starts_with("note:") && !line.starts_with("Starting machine")
        })
        .collect();
    let words = lines[lines.len().saturating_sub(3)..].join(" ");
    // The guest's console follows, a screen of JSON.
    match words.split(": guest console:").next().unwrap_or_default() {
        "" => format!("it ended with {}", output.status),
        words => words.trim_start_matches("Error: ").to_owned(),
    }
}
