//! A git before it starts: what it works on, what it is told, and what it may do.

use super::limits::{CONFIG, FRUGAL, Limits};
use bottle_host::defence::Defence;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A git that has not been started.
#[derive(Debug)]
pub struct Git {
    pub(super) command: Command,
    pub(super) limits: Limits,
    /// Whether it gets a process group of its own. What may ask a person at the terminal does not: in
    /// the background it would be stopped.
    pub(super) grouped: bool,
    pub(super) asking: bool,
    pub(super) input: Vec<u8>,
    /// What it is confined to. The operator's own git is not, and what a hook starts is already.
    pub(super) confined: Option<Confined>,
}

/// The files of a git that reads what a guest wrote.
#[derive(Debug)]
pub(super) struct Confined {
    /// Where it may write.
    pub(super) store: PathBuf,
    /// What it may read beside that.
    pub(super) read: Vec<PathBuf>,
}

impl Confined {
    fn to(store: &Path) -> Option<Self> {
        Some(Self { store: store.to_owned(), read: Vec::new() })
    }
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
}

fn configuration() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let frugal: &[_] = if Defence::GitLimits.stands() { FRUGAL } else { &[] };
    CONFIG.iter().chain(frugal)
}
