//! The target of one attack: an operator's home, a project and a bottle, and everything that must not change.

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project, SMALL_MACHINE};
use crate::processes::{naming, wait_at_most};
use anyhow::{Context, Result, ensure};
use bottle_host::defence::{Defence, WITHOUT};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The bottle of an attack.
pub const SLUG: &str = "t";
/// Lets the guest write to the project itself.
pub const WRITABLE: &str = "[workspace]\nmode = \"read-write\"\n";
/// How long one of the operator's commands may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The outcome of an attack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "what")]
pub enum Verdict {
    /// Nothing happened on the host that should not have.
    Held,
    /// Something did happen.
    Succeeded(String),
    /// The attack could not be tried.
    Inconclusive(String),
}

impl Verdict {
    /// Returns `Succeeded` if the condition is true, otherwise `Held`.
    pub fn succeeded_if(condition: bool, what: impl Into<String>) -> Self {
        if condition { Self::Succeeded(what.into()) } else { Self::Held }
    }

    /// Returns whether it proves nothing either way.
    pub fn is_inconclusive(&self) -> bool {
        matches!(self, Self::Inconclusive(_))
    }

    /// Returns whether the attack succeeded.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }

    /// Returns the verdict as one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Succeeded(_) => "succeeded",
            Self::Inconclusive(_) => "unclear",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Held => Ok(()),
            Self::Succeeded(what) | Self::Inconclusive(what) => write!(f, ": {what}"),
        }
    }
}

/// How one of the operator's commands ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status, or `None` if it had to be killed.
    pub status: Option<ExitStatus>,
    /// Its output, standard output first.
    pub output: Vec<u8>,
    /// How long it took.
    pub took: Duration,
    /// The most memory that it and the target's other processes used at any moment, in bytes.
    pub peak: u64,
}

impl Ended {
    /// Returns its output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Returns whether it ended on its own with status 0.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// The target of one attack. Dropping it removes everything.
pub struct Target {
    project: Project,
    helper: PathBuf,
    without: Option<Defence>,
    watched: Vec<PathBuf>,
    before: BTreeMap<PathBuf, String>,
    up: bool,
    variables: Vec<(String, String)>,
}

impl Target {
    /// Creates an operator with a home and files, and a project. Nothing is running yet.
    pub fn new(checkout: &Checkout, guest: Guest, without: Option<Defence>) -> Result<Self> {
        let mut target = Self {
            project: Environment::new(checkout, guest)?.project("project")?,
            helper: checkout.helper()?,
            without,
            watched: Vec::new(),
            before: BTreeMap::new(),
            up: false,
            variables: Vec::new(),
        };
        for (name, text) in [
            ("home/.bashrc", "# mine\n"),
            ("home/.ssh/authorized_keys", "mine\n"),
            ("home/.gitconfig", "[user]\n\tname = operator\n\temail = operator@example.com\n"),
            ("outside/file", "mine\n"),
            ("outside/folder/inner", "mine\n"),
            ("project/kept", "one\ntwo\nthree\n"),
            ("project/folder/inner", "inner\n"),
        ] {
            target.put(name, text)?;
        }
        target.watch("home");
        target.watch("outside");
        Ok(target)
    }

    /// Returns a path of this target: `home`, `outside`, `project`, `state`, `run`.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.project.environment().path(name)
    }

    /// Writes a file of this target, and creates the folders above it.
    pub fn put(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Returns the path of a file that exists only if a program of the guest's choice has run on the host.
    pub fn proof(&self) -> PathBuf {
        self.path("proof")
    }

    /// Returns whether the guest is a virtual machine.
    pub fn is_real(&self) -> bool {
        self.project.environment().is_real()
    }

    /// Watches a path. After [`Target::begin`], nothing in it may change.
    pub fn watch(&mut self, name: &str) {
        self.watched.push(self.path(name));
    }

    /// Returns the defence that is switched off in this run.
    pub fn without(&self) -> Option<Defence> {
        self.without
    }

    /// Returns the path of the helper, for an attack that uses it.
    pub fn helper(&self) -> &Path {
        &self.helper
    }

    /// Records the watched files, which must stay as they are.
    pub fn begin(&mut self) -> Result<()> {
        for path in &self.watched {
            record(path, &mut self.before)?;
        }
        Ok(())
    }

    /// Starts the bottle with this configuration, which follows `slug`. From here on the watched files must
    /// not change.
    pub fn up(&mut self, config: &str) -> Result<()> {
        self.up_by(config, self.command(&["up"]))
    }

    /// Returns a configuration for this target's bottle, with a small machine if it is emulated. Unless the
    /// configuration says otherwise, the guest can write to the project itself, which is the most that it can
    /// be given.
    pub fn config(&self, config: &str) -> String {
        let machine = if self.is_real() && !config.contains("[guest]") { SMALL_MACHINE } else { "" };
        let workspace = if config.contains("[workspace]") { "" } else { WRITABLE };
        format!("slug = \"{SLUG}\"\n{config}\n{machine}{workspace}")
    }

    /// Runs a script in the guest as root and returns its output. It must succeed.
    pub fn guest(&self, script: &str) -> Result<String> {
        let ended = self.operator(&["exec", "--", "sh", "-ec", script])?;
        ensure!(ended.is_success(), "in the guest: {}", ended.text());
        Ok(ended.text())
    }

    /// Writes a file in the guest.
    pub fn into_guest(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut command = self.command(&["exec", "--", "sh", "-c", &format!("cat > '{path}'")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().context("standard input")?.write_all(bytes)?;
        ensure!(child.wait()?.success(), "{path} could not be written in the guest");
        Ok(())
    }

    /// Replaces the guest's helper with a shell script, as root in the guest can.
    pub fn replace_helper(&self, script: &str) -> Result<()> {
        self.into_guest("/tmp/helper", format!("#!/bin/sh\n{script}\n").as_bytes())?;
        self.guest("chmod 755 /tmp/helper; mount --bind /tmp/helper /opt/bottle/bottle-guest").map(|_| ())
    }

    /// Returns a command that runs `bottle` as the operator, in the project.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.project.command(&["--quiet"]);
        command.args(words).env("HOME", self.path("home"));
        if self.is_real() {
            // smolvm keeps its machines there, and an operator's home is watched.
            command.env("XDG_CACHE_HOME", self.path("cache")).env("XDG_DATA_HOME", self.path("data"));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(defence) = self.without {
            command.env(WITHOUT, defence.name());
        }
        command
    }

    /// Runs `bottle` as the operator.
    pub fn operator(&self, words: &[&str]) -> Result<Ended> {
        self.run(self.command(words))
    }

    /// Runs a command without input until it ends or takes too long.
    pub fn run(&self, mut command: Command) -> Result<Ended> {
        let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?).process_group(0);
        let since = Instant::now();
        let mut child = command.spawn()?;
        let (over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
        let status = thread::scope(|scope| -> Result<_> {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    peak.fetch_max(self.memory(), Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            });
            // An emulated guest is slow.
            let patience = if self.is_real() { 4 * PATIENCE } else { PATIENCE };
            let status = wait_at_most(&mut child, patience);
            over.store(true, Relaxed);
            status
        })?;
        if status.is_none() {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            child.wait()?;
        }
        let mut output = Vec::new();
        for file in [&mut out, &mut err] {
            file.rewind()?;
            file.read_to_end(&mut output)?;
        }
        Ok(Ended { status, output, took: since.elapsed(), peak: peak.into_inner() })
    }

    /// Returns the memory of the target's processes, in bytes.
    pub fn memory(&self) -> u64 {
        const PAGE: u64 = 4096;
        let resident = |pid: &u32| {
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            statm.split(' ').nth(1)?.parse::<u64>().ok()
        };
        naming(self.project.environment().folder()).iter().filter_map(resident).sum::<u64>() * PAGE
    }

    /// Returns the current log, one entry per line.
    pub fn log(&self) -> Result<String> {
        Ok(self.operator(&["audit", SLUG])?.text())
    }

    /// Starts the bottle as [`Target::up`] does, with these variables set.
    pub fn up_with(&mut self, config: &str, env: &[(&str, &str)]) -> Result<()> {
        let mut command = self.command(&["up"]);
        command.envs(env.iter().copied());
        self.up_by(config, command)
    }

    /// Starts the bottle as [`Target::up`] does, in its own network and mount namespaces, where root has run
    /// this script first.
    pub fn up_in(&mut self, script: &str, config: &str) -> Result<()> {
        let up = self.command(&["up"]);
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"]);
        command.arg(up.get_program()).args(up.get_args()).current_dir(self.project.folder());
        copy_variables(&up, &mut command);
        self.up_by(config, command)
    }

    /// Starts the bottle as [`Target::up_with`] does, but removes walls from its keeper, in addition to the
    /// defence of this run: a hole that something has to find.
    pub fn up_without(&mut self, config: &str, walls: &[Defence]) -> Result<()> {
        let gone: Vec<&str> = walls.iter().copied().chain(self.without).map(Defence::name).collect();
        self.up_with(config, &[(WITHOUT, &gone.join(","))])
    }

    fn up_by(&mut self, config: &str, command: Command) -> Result<()> {
        self.project.write("bottle.toml", self.config(config))?;
        self.begin()?;
        self.up = true;
        let ended = self.run(command)?;
        ensure!(ended.is_success(), "bottle up: {}", ended.text());
        Ok(())
    }

    /// Sets a variable for the operator's commands from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Judges from outside, and returns the attack's own verdict if nothing was found.
    pub(super) fn judge(&mut self, verdict: Result<Verdict>) -> Result<Verdict> {
        if self.proof().exists() {
            return Ok(Verdict::Succeeded("a program of the guest's choice ran on the host".to_owned()));
        }
        let mut after = BTreeMap::new();
        for path in &self.watched {
            record(path, &mut after)?;
        }
        if !self.before.is_empty() {
            let mut paths = self.before.keys().chain(after.keys());
            if let Some(path) = paths.find(|path| self.before.get(*path) != after.get(*path)) {
                let name = path.strip_prefix(self.project.environment().folder()).unwrap_or(path);
                return Ok(Verdict::Succeeded(format!("{} changed", name.display())));
            }
        }
        verdict
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.up {
            let mut command = self.command(&["rm", "--force", SLUG]);
            command.env_remove(WITHOUT);
            let _ = self.run(command);
        }
    }
}

/// Gives a command the variables that were set for another one.
pub fn copy_variables(from: &Command, to: &mut Command) {
    to.envs(from.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

/// The folders in a home where smolvm keeps its machines.
const SMOLVM_FOLDERS: [&str; 2] = [".cache", ".local"];

/// Records what is below a path: the mode, owner and content of each file.
fn record(path: &Path, into: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let content = if meta.is_file() {
        Sha256::digest(fs::read(path)?).iter().map(|byte| format!("{byte:02x}")).collect()
    } else if meta.is_symlink() {
        fs::read_link(path)?.display().to_string()
    } else {
        String::new()
    };
    into.insert(path.to_owned(), format!("{:o} {} {} {content}", meta.mode(), meta.uid(), meta.gid()));
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !SMOLVM_FOLDERS.iter().any(|name| entry.file_name() == *name) {
                record(&entry.path(), into)?;
            }
        }
    }
    Ok(())
}
