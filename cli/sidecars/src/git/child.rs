//! The one place that starts git, and what looks at a push beside it.
//!
//! Whatever a guest pushed, git reads. So every child gets an environment of ours, a configuration of
//! ours ([`CONFIG`]) and limits: of memory, processor time, descriptors and file sizes for each of its
//! processes, and of wall-clock time for its whole process group. A limit that is reached ends git
//! with an error, and nothing is pushed then.
//!
//! Three kinds of environment:
//! - [`Git::store`] works on a repository of ours and reads no configuration but that repository's;
//! - [`Git::pushed`] is the same within a hook, where git says which repository and where the objects
//!   are that were pushed and not taken yet;
//! - [`Git::operators`] is the operator's own git, with the global configuration and the credentials
//!   ([`super::outgoing`]);
//!   it works on a repository of ours, too, so no other repository's configuration, hook or attribute
//!   has a say.

mod limits;
mod running;

pub use limits::{CONFIG, FRUGAL, Limits};

use super::confine::confine;
use anyhow::{Context, Result, bail, ensure};
use bottle_host::defence::Defence;
use bottle_host::process::die_with_parent;
use limits::bound;
use running::Running;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

const MIB: u64 = 1 << 20;
/// What is read of git's complaints.
const MAX_COMPLAINT: u64 = 16 << 10;
/// The most that a command whose whole answer is taken may print.
const MAX_ANSWER: u64 = 64 * MIB;

/// A git that has not been started.
#[derive(Debug)]
pub struct Git {
    command: Command,
    limits: Limits,
    /// Whether it gets a process group of its own. What may ask a person at the terminal does not: in
    /// the background it would be stopped.
    grouped: bool,
    asking: bool,
    input: Vec<u8>,
    /// What it is confined to. The operator's own git is not, and what a hook starts is already.
    confined: Option<Confined>,
}

/// The files of a git that reads what a guest wrote.
#[derive(Debug)]
struct Confined {
    /// Where it may write.
    store: PathBuf,
    /// What it may read beside that.
    read: Vec<PathBuf>,
}

impl Confined {
    fn to(store: &Path) -> Option<Self> {
        Some(Self { store: store.to_owned(), read: Vec::new() })
    }
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it printed.
    pub out: Vec<u8>,
    /// What it complained of.
    pub complaint: String,
}

impl Git {
    /// git, on a repository of ours.
    pub fn store(dir: &Path) -> Self {
        let mut git = Self::clean("git", Limits::LOOK);
        git.command.env("GIT_DIR", dir).env("HOME", dir);
        git.confined = Confined::to(dir);
        git.without_hooks();
        git
    }

    /// git, where a hook runs: in the repository that is pushed to, with what was pushed.
    pub fn pushed() -> Self {
        Self::in_hook("git")
    }

    /// Another program that looks at a push. It runs git itself.
    pub fn scanner(program: &str) -> Self {
        Self::in_hook(program)
    }

    /// git that only reads what it is given, in no repository.
    pub fn nowhere() -> Self {
        let mut git = Self::clean("git", Limits::LOOK);
        git.command.env("GIT_DIR", "/dev/null").env("HOME", "/dev/null").current_dir("/");
        git.confined = Confined::to(Path::new("/dev/null"));
        git.without_hooks();
        git
    }

    /// The operator's own git, with their global configuration and credentials, on a repository of
    /// ours. What the environment says about repositories is about others.
    pub fn operators(dir: &Path) -> Self {
        let mut git = Self::new("git", Limits::SEND, false);
        for name in REPOSITORY {
            git.command.env_remove(name);
        }
        git.command.env("GIT_DIR", dir).current_dir(dir).env("LC_ALL", "C");
        if Defence::GitConfig.stands() {
            git.command.args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]);
            git.command.args(["-c", "protocol.ext.allow=never", "-c", "protocol.fd.allow=never"]);
            git.command.args(["-c", "push.recurseSubmodules=no"]);
        }
        git
    }

    /// `git http-backend` for one request to a store, with git's own hooks.
    pub fn backend(store: &Path, limits: Limits) -> Self {
        let mut git = Self::clean("git", limits);
        let root = store.parent().unwrap_or(store);
        // A hook needs a place for what it takes down, and may write nowhere else.
        git.command.arg("http-backend").env("HOME", root).env("GIT_PROJECT_ROOT", root).env("TMPDIR", store);
        git.confined = Confined::to(store);
        git
    }

    fn in_hook(program: &str) -> Self {
        let mut git = Self::clean(program, Limits::LOOK);
        // Git's own words to its hook; a guest has no say in them.
        for name in
            ["GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"]
        {
            if let Some(value) = std::env::var_os(name) {
                git.command.env(name, value);
            }
        }
        git.without_hooks();
        git
    }

    /// A program with nothing of this process' environment but where programs are.
    fn clean(program: &str, limits: Limits) -> Self {
        let mut git = Self::new(program, limits, true);
        let handed_on = |name: &&str| std::env::var_os(name).is_some();
        let names = [
            "PATH",
            #[cfg(debug_assertions)]
            bottle_host::defence::WITHOUT,
            #[cfg(debug_assertions)]
            bottle_host::trial::TRY,
        ];
        let kept: Vec<_> = names.iter().filter(|name| handed_on(name)).collect();
        git.command.env_clear();
        for name in kept {
            git.command.env(name, std::env::var_os(name).unwrap_or_default());
        }
        git.command
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0");
        git.configure(configuration());
        git
    }

    fn new(program: &str, limits: Limits, grouped: bool) -> Self {
        let grouped = grouped && Defence::GitLimits.stands();
        Self {
            command: Command::new(program),
            limits,
            grouped,
            asking: false,
            input: Vec::new(),
            confined: None,
        }
    }

    /// What is done to every child just before it starts.
    fn confine(&mut self) -> Result<()> {
        if Defence::GitLimits.stands() {
            bound(&mut self.command, &self.limits);
        }
        if self.grouped {
            self.command.process_group(0);
        }
        die_with_parent(&mut self.command, Signal::KILL);
        match &self.confined {
            Some(Confined { store, read }) => confine(&mut self.command, store, read),
            None => Ok(()),
        }
    }

    fn configure(&mut self, settings: impl Iterator<Item = &'static (&'static str, &'static str)>) {
        let mut count = 0;
        for (key, value) in settings {
            self.command.env(format!("GIT_CONFIG_KEY_{count}"), key);
            self.command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        self.command.env("GIT_CONFIG_COUNT", count.to_string());
    }

    fn without_hooks(&mut self) {
        self.configure(configuration().chain(&[("core.hooksPath", "/dev/null")]));
    }

    /// Other limits than the usual.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds words of the command line.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command.args(words);
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets it read these files, or what is in this folder.
    #[must_use]
    pub fn reading(mut self, path: &Path) -> Self {
        self.confined.iter_mut().for_each(|confined| confined.read.push(path.to_owned()));
        self
    }

    /// Lets it read and write whatever this process may. For the operator's own repository alone, in a
    /// debug build that has git read it.
    #[must_use]
    pub fn unconfined(mut self) -> Self {
        self.confined = None;
        self
    }

    /// Says what it reads on its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Lets it talk with whoever is at the terminal.
    #[must_use]
    pub fn asking(mut self) -> Self {
        self.asking = true;
        self
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// Where it cannot be started, takes too long or prints too much.
    pub fn end(mut self) -> Result<Ended> {
        // A file and not a pipe: what git leaves behind (ssh's master) may hold a pipe open for hours.
        let out = tempfile::tempfile()?;
        self.command.stdout(out.try_clone()?);
        let (running, mut complaint) = self.start()?;
        let (status, _) = running.end()?;
        let mut printed = Vec::new();
        read_start(out, MAX_ANSWER + 1, &mut printed)?;
        ensure!(printed.len() as u64 <= MAX_ANSWER, "git printed more than is read");
        Ok(Ended { status, out: printed, complaint: complaint_of(&mut complaint) })
    }

    /// Runs it, and returns what it printed.
    ///
    /// # Errors
    /// In git's own words where it did not end well.
    pub fn said(self) -> Result<Vec<u8>> {
        let ended = self.end()?;
        ensure!(ended.status.success(), "git: {}", why(ended.status, &ended.complaint));
        Ok(ended.out)
    }

    /// Runs it, and returns what it printed as text without the last newline.
    ///
    /// # Errors
    /// As [`Git::said`].
    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.said()?).trim_end_matches('\n').to_owned())
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`Git::said`].
    pub fn run(self) -> Result<()> {
        self.said().map(|_| ())
    }

    /// Runs it, and reads what it prints as it comes. Whoever has read enough ends git with an error.
    ///
    /// # Errors
    /// As [`Git::said`], and what the reader says.
    pub fn read<T>(mut self, take: impl FnOnce(&mut BufReader<ChildStdout>) -> Result<T>) -> Result<T> {
        self.command.stdout(Stdio::piped());
        let (mut running, mut complaint) = self.start()?;
        let out = running.child.stdout.take().context("standard output")?;
        let taken = take(&mut BufReader::new(out));
        if taken.is_err() {
            running.kill();
        }
        let (status, late) = running.end()?;
        let complaint = complaint_of(&mut complaint);
        if late || taken.is_ok() {
            ensure!(status.success() && !late, "git: {}", why(status, &complaint));
        }
        taken
    }

    /// The command for who waits for it by himself, and how long it may take.
    ///
    /// # Errors
    /// Where it cannot be confined.
    pub fn into_parts(mut self) -> Result<(Command, Limits)> {
        self.confine()?;
        Ok((self.command, self.limits))
    }

    fn start(mut self) -> Result<(Running, File)> {
        let complaint = tempfile::tempfile()?;
        self.command.stderr(complaint.try_clone()?);
        if self.asking {
            self.command.stdin(Stdio::inherit());
        } else if self.input.is_empty() {
            self.command.stdin(Stdio::null());
        } else {
            let mut input = tempfile::tempfile()?;
            input.write_all(&self.input)?;
            input.seek(SeekFrom::Start(0))?;
            self.command.stdin(input);
        }
        self.confine()?;
        let program = self.command.get_program().to_owned();
        let child = self.command.spawn().with_context(|| program.to_string_lossy().into_owned())?;
        Ok((Running::new(child, self.grouped, self.limits.wall), complaint))
    }
}

/// The variables that say which repository git works on (`git rev-parse --local-env-vars`), but for
/// those that only carry settings of the operator's.
const REPOSITORY: [&str; 13] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

fn configuration() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let frugal: &[_] = if Defence::GitLimits.stands() { FRUGAL } else { &[] };
    CONFIG.iter().chain(frugal)
}

fn read_start(mut file: File, most: u64, into: &mut Vec<u8>) -> Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.take(most).read_to_end(into)?;
    Ok(())
}

fn complaint_of(file: &mut File) -> String {
    let mut complaint = Vec::new();
    if let Ok(file) = file.try_clone() {
        let _ = read_start(file, MAX_COMPLAINT, &mut complaint);
    }
    String::from_utf8_lossy(&complaint).trim().to_owned()
}

fn why(status: ExitStatus, complaint: &str) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (complaint, status.signal()) {
        (_, Some(_)) => format!("it took more time or memory than it may have ({status}) {complaint}"),
        ("", None) => status.to_string(),
        (complaint, None) => complaint.to_owned(),
    }
}

/// Reads up to a byte, which is left out, and not more than so many.
///
/// # Errors
/// Where there are more.
pub fn until(reader: &mut impl BufRead, end: u8, most: usize) -> Result<Option<Vec<u8>>> {
    let mut piece = Vec::new();
    let read = Read::take(&mut *reader, most as u64 + 1).read_until(end, &mut piece)?;
    match piece.last() {
        _ if read == 0 => Ok(None),
        Some(last) if *last == end => {
            piece.pop();
            Ok(Some(piece))
        }
        _ if read > most => bail!("git listed a name longer than {most} bytes"),
        _ => bail!("git ended in the middle of what it listed"),
    }
}
