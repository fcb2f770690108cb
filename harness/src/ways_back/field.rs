//! Where an attack takes place: an operator's home, a project, a bottle; and what is looked at from
//! outside, before and after.

use crate::ground::Guest;
use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Context, Result, bail};
use bottle_host::defence::{Defence, WITHOUT};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The bottle of an attack.
pub const SLUG: &str = "t";
/// How long one command of the operator's may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of an attack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "what")]
pub enum Verdict {
    /// Nothing happened on the host that should not have.
    Held,
    /// Something did.
    Succeeded(String),
    /// It could not be tried.
    Inconclusive(String),
}

impl Verdict {
    /// Succeeded where this is so, held otherwise.
    pub fn succeeded_if(so: bool, what: impl Into<String>) -> Self {
        if so { Self::Succeeded(what.into()) } else { Self::Held }
    }

    /// Whether it says nothing either way.
    pub fn is_unclear(&self) -> bool {
        matches!(self, Self::Inconclusive(_))
    }

    /// In one word.
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
        match self {
            Self::Held => f.write_str("held"),
            Self::Succeeded(what) => write!(f, "succeeded: {what}"),
            Self::Inconclusive(why) => write!(f, "unclear: {why}"),
        }
    }
}

/// How a command of the operator's ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status; `None` where it had to be killed.
    pub status: Option<ExitStatus>,
    /// What it printed on both streams, standard output first.
    pub said: Vec<u8>,
    /// How long it took.
    pub took: Duration,
    /// The most memory that it and everything of this field had at one moment, in bytes.
    pub peak: u64,
}

impl Ended {
    /// What it printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Whether it ended by itself, and well.
    pub fn is_well(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Where one attack takes place. Everything of it is gone with the value.
pub struct Field {
    room: Room,
    bottle: PathBuf,
    helper: PathBuf,
    guest: Guest,
    without: Option<Defence>,
    canaries: Vec<PathBuf>,
    before: BTreeMap<PathBuf, String>,
    up: bool,
    variables: Vec<(String, String)>,
}

impl Field {
    /// Makes one: an operator with a home and files, a project, and nothing that runs.
    pub fn new(place: &Place, guest: Guest, without: Option<Defence>) -> Result<Self> {
        let room = match guest {
            Guest::Real => Room::real(place)?,
            Guest::Namespace => Room::new(place)?,
        };
        let mut field = Self {
            bottle: place.program("bottle")?,
            helper: place.helper()?,
            room,
            guest,
            without,
            canaries: Vec::new(),
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
            field.put(name, text)?;
        }
        field.watch("home");
        field.watch("outside");
        Ok(field)
    }

    /// A path of this field: `home`, `outside`, `project`, `state`, `run`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Writes a file of this field, with the folders above it.
    pub fn put(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A file that exists only where a program of the guest's choice has run on the host.
    pub fn proof(&self) -> PathBuf {
        self.path("proof")
    }

    /// Whether the guest is a virtual machine.
    pub fn is_real(&self) -> bool {
        self.guest == Guest::Real
    }

    /// From [`Field::begin`] on nothing below this may change.
    pub fn watch(&mut self, name: &str) {
        self.canaries.push(self.path(name));
    }

    /// The defence that is taken away in this run.
    pub fn without(&self) -> Option<Defence> {
        self.without
    }

    /// What the helper's program is, for an attack that is made with it.
    pub fn helper(&self) -> &Path {
        &self.helper
    }

    /// The watched files are as they should stay.
    pub fn begin(&mut self) -> Result<()> {
        for canary in &self.canaries {
            take(canary, &mut self.before)?;
        }
        Ok(())
    }

    /// Starts the bottle of this field with this configuration, after `slug`. The watched files are
    /// as they should stay from here on.
    pub fn up(&mut self, config: &str) -> Result<()> {
        self.up_by(config, self.command(&["up"]))
    }

    /// A configuration of this field's bottle: small where it is a virtual machine under emulation.
    pub fn config(&self, config: &str) -> String {
        let machine = "[guest]\ncpus = 1\nmemory = 512\n";
        let machine = if self.is_real() && !config.contains("[guest]") { machine } else { "" };
        format!("slug = \"{SLUG}\"\n{config}\n{machine}")
    }

    /// Runs a script in the guest, as root. It must end well.
    pub fn guest(&self, script: &str) -> Result<String> {
        let ended = self.operator(&["exec", "--", "sh", "-ec", script])?;
        if !ended.is_well() {
            bail!("in the guest: {}", ended.text());
        }
        Ok(ended.text())
    }

    /// Puts a file into the guest, byte by byte as it is.
    pub fn into_guest(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut command = self.command(&["exec", "--", "sh", "-c", &format!("cat > '{path}'")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().context("standard input")?.write_all(bytes)?;
        if !child.wait()?.success() {
            bail!("{path} could not be put into the guest");
        }
        Ok(())
    }

    /// From now on the guest's helper is this shell script. Root in the guest can do that.
    pub fn replace_helper(&self, script: &str) -> Result<()> {
        self.into_guest("/tmp/helper", format!("#!/bin/sh\n{script}\n").as_bytes())?;
        self.guest("chmod 755 /tmp/helper; mount --bind /tmp/helper /opt/bottle/bottle-guest").map(|_| ())
    }

    /// `bottle` as the operator runs it, in the project, with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.bottle);
        command.arg("--quiet").args(words).current_dir(self.room.project());
        command.envs(self.room.env().iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.path("home"));
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

    /// The operator runs `bottle` with these words.
    pub fn operator(&self, words: &[&str]) -> Result<Ended> {
        self.run(self.command(words))
    }

    /// Runs a command to its end, or until patience ends; nothing is typed into it.
    pub fn run(&self, mut command: Command) -> Result<Ended> {
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
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
            // An emulated guest takes its time.
            let patience = if self.is_real() { 4 * PATIENCE } else { PATIENCE };
            let status = crate::processes::ended_within(&mut child, patience);
            over.store(true, Relaxed);
            status
        })?;
        if status.is_none() {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            child.wait()?;
        }
        let mut said = read_all(out)?;
        said.extend(read_all(err)?);
        Ok(Ended { status, said, took: since.elapsed(), peak: peak.into_inner() })
    }

    /// The memory of every process of this field, in bytes: those whose environment names it.
    pub fn memory(&self) -> u64 {
        const PAGE: u64 = 4096;
        let resident = |pid: &u32| {
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            statm.split(' ').nth(1)?.parse::<u64>().ok()
        };
        self.processes().iter().filter_map(resident).sum::<u64>() * PAGE
    }

    /// Every process of this field.
    pub fn processes(&self) -> Vec<u32> {
        let name = self.room.path().as_os_str().as_bytes();
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(name.len()).any(|part| part == name)
        })
        .collect()
    }

    /// What the log says now, a line each.
    pub fn log(&self) -> Result<String> {
        Ok(self.operator(&["audit", SLUG])?.text())
    }

    /// Starts the bottle of this field as [`Field::up`] does, with these variables set.
    pub fn up_with(&mut self, config: &str, env: &[(&str, &str)]) -> Result<()> {
        let mut command = self.command(&["up"]);
        command.envs(env.iter().copied());
        self.up_by(config, command)
    }

    /// Starts the bottle of this field in network and mount namespaces of its own, in which root has
    /// run this script before.
    pub fn up_in(&mut self, script: &str, config: &str) -> Result<()> {
        let up = self.command(&["up"]);
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"]);
        command.arg(up.get_program()).args(up.get_args()).current_dir(self.room.project());
        command.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.up_by(config, command)
    }

    fn up_by(&mut self, config: &str, command: Command) -> Result<()> {
        self.put("project/bottle.toml", self.config(config))?;
        self.begin()?;
        self.up = true;
        let ended = self.run(command)?;
        if !ended.is_well() {
            bail!("bottle up: {}", ended.text());
        }
        Ok(())
    }

    /// From now on the operator's commands have this variable.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Judges from outside, after what the attack itself found.
    pub(super) fn judge(&mut self, said: Result<Verdict>) -> Result<Verdict> {
        if self.proof().exists() {
            return Ok(Verdict::Succeeded("a program of the guest's choice ran on the host".to_owned()));
        }
        let mut after = BTreeMap::new();
        for canary in &self.canaries {
            take(canary, &mut after)?;
        }
        if !self.before.is_empty() {
            let paths = self.before.keys().chain(after.keys());
            if let Some(path) = paths.clone().find(|path| self.before.get(*path) != after.get(*path)) {
                let name = path.strip_prefix(self.room.path()).unwrap_or(path);
                return Ok(Verdict::Succeeded(format!("{} changed", name.display())));
            }
        }
        said
    }

    /// Starts the bottle of this field as [`Field::up`] does, but with walls taken away from its
    /// keeper, whatever else is taken away in this run: a hole that something has to find.
    pub fn up_without(&mut self, config: &str, walls: &[Defence]) -> Result<()> {
        let gone: Vec<&str> = walls.iter().copied().chain(self.without).map(Defence::name).collect();
        let mut command = self.command(&["up"]);
        command.env(WITHOUT, gone.join(","));
        self.up_by(config, command)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        if self.up {
            let mut command = self.command(&["rm", "--force", SLUG]);
            command.env_remove(WITHOUT);
            let _ = self.run(command);
        }
    }
}

/// Where smolvm keeps its machines in a home.
const SMOLVMS: [&str; 2] = [".cache", ".local"];

/// What is below a path: kind, mode, owner and content of each.
fn take(path: &Path, into: &mut BTreeMap<PathBuf, String>) -> Result<()> {
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
            if !SMOLVMS.iter().any(|name| entry.file_name() == *name) {
                take(&entry.path(), into)?;
            }
        }
    }
    Ok(())
}

fn read_all(mut file: fs::File) -> Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
