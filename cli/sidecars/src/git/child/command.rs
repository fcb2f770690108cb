//! A git process before it starts: its repository, its settings, and its permissions.

use super::limits::{CONFIG, Limits, MEMORY_LIMITS};
use bottle_host::defence::Defence;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variables that tell git which repository to work on (`git rev-parse --local-env-vars`), except those
/// that only carry the operator's settings.
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

/// A git process that has not started yet.
#[derive(Debug)]
pub struct Git {
    pub(super) command: Command,
    pub(super) limits: Limits,
    /// Whether it gets its own process group. A git that may ask a person at the terminal does not: the
    /// terminal would stop it as a background process.
    pub(super) grouped: bool,
    pub(super) interactive: bool,
    pub(super) input: Vec<u8>,
    /// The confinement. The operator's own git has none, and programs started by a hook are already confined.
    pub(super) confined: Option<Confined>,
}

/// The files that a confined git may use.
#[derive(Debug)]
pub(super) struct Confined {
    /// The folder that git may write to.
    pub(super) store: PathBuf,
    /// The files and folders that git may only read.
    pub(super) read: Vec<PathBuf>,
}

impl Confined {
    fn to(store: &Path) -> Option<Self> {
        Some(Self { store: store.to_owned(), read: Vec::new() })
    }
}

impl Git {
    /// Returns git for one of our repositories.
    pub fn store(dir: &Path) -> Self {
        let mut git = Self::clean("git", Limits::LOOK);
        git.command.env("GIT_DIR", dir).env("HOME", dir);
        git.confined = Confined::to(dir);
        git.without_hooks();
        git
    }

    /// Returns git for use in a running hook. It works on the repository being pushed to, with the pushed
    /// objects.
    pub fn in_hook() -> Self {
        Self::hook_program("git")
    }

    /// Returns another program that inspects a push. It runs git itself.
    pub fn scanner(program: &str) -> Self {
        Self::hook_program(program)
    }

    /// Returns git without a repository. It only reads its input.
    pub fn without_repository() -> Self {
        let mut git = Self::clean("git", Limits::LOOK);
        git.command.env("GIT_DIR", "/dev/null").env("HOME", "/dev/null").current_dir("/");
        git.confined = Confined::to(Path::new("/dev/null"));
        git.without_hooks();
        git
    }

    /// Returns the operator's own git, with their global configuration and credentials, for one of
    /// our repositories. Variables that name another repository are removed.
    pub fn operator(dir: &Path) -> Self {
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

    /// Returns `git http-backend` for one request to a store. It runs the store's hooks.
    pub fn backend(store: &Path, limits: Limits) -> Self {
        let mut git = Self::clean("git", limits);
        let root = store.parent().unwrap_or(store);
        // A hook needs a folder for temporary files, and may write nowhere else.
        git.command.arg("http-backend").env("HOME", root).env("GIT_PROJECT_ROOT", root).env("TMPDIR", store);
        git.confined = Confined::to(store);
        git
    }

    fn hook_program(program: &str) -> Self {
        let mut git = Self::clean(program, Limits::LOOK);
        // git itself sets these for its hooks, and a guest cannot change them.
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

    /// Returns a program that inherits only `PATH` from this process's environment.
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
            interactive: false,
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

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command.args(words);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Allows git to read this file, or the contents of this folder.
    #[must_use]
    pub fn allow_read(mut self, path: &Path) -> Self {
        self.confined.iter_mut().for_each(|confined| confined.read.push(path.to_owned()));
        self
    }

    /// Removes the confinement. Only debug builds do this, so that git can read the operator's own
    /// repository.
    #[must_use]
    pub fn unconfined(mut self) -> Self {
        self.confined = None;
        self
    }

    /// Sets its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Allows git to talk to the person at the terminal.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }
}

fn configuration() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let memory_limits: &[_] = if Defence::GitLimits.stands() { MEMORY_LIMITS } else { &[] };
    CONFIG.iter().chain(memory_limits)
}
