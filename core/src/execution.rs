//! How a command is run in a guest.

use crate::helper::{HELPER, SEED_DIR};
use crate::text::{EnvName, MountPath, Word};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// The shell of nearly every root filesystem.
pub const SHELL: &str = "/bin/sh";

/// How a command is run, as far as it differs from what smolvm does: as root, in the machine's folder and environment,
/// for as long as it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// The folder that it starts in.
    pub workdir: Option<MountPath>,
    /// Variables that are added to the machine's own.
    pub env: BTreeMap<EnvName, Word>,
    /// The user that it runs as: `NAME`, `UID`, `NAME:GROUP` or `UID:GID`.
    pub user: Option<Word>,
    /// Whether the agent's files are written to the home folder first.
    pub seeds: bool,
    /// How long it may take. Then everything that it started is ended, and the status is 124.
    pub timeout: Option<Duration>,
    /// The word of the report that the helper makes of how it ended, if somebody reads one.
    pub report: Option<String>,
    /// The word by which the helper finds it, to send it a signal.
    pub called: Option<String>,
    /// Whether it gets the terminal that it is started in, as the foreground program.
    pub terminal: bool,
}

impl Execution {
    /// Returns the words that run a command so: the command itself, if nothing differs.
    pub fn words(&self, command: &[String]) -> Vec<String> {
        if *self == Self::default() {
            return command.to_vec();
        }
        let mut words: Vec<String> = [HELPER, "exec"].map(ToString::to_string).to_vec();
        let mut option = |name: &str, value: String| words.extend([name.to_string(), value]);
        if let Some(workdir) = &self.workdir {
            option("--workdir", workdir.to_string());
        }
        for (name, value) in &self.env {
            option("--env", format!("{name}={value}"));
        }
        if let Some(user) = &self.user {
            option("--user", user.to_string());
        }
        if self.seeds {
            option("--seed", SEED_DIR.to_string());
        }
        if let Some(timeout) = self.timeout {
            option("--timeout-ms", timeout.as_millis().to_string());
        }
        if let Some(word) = &self.report {
            option("--report", word.clone());
        }
        if let Some(word) = &self.called {
            option("--called", word.clone());
        }
        if self.terminal {
            words.push("--terminal".to_string());
        }
        words.push("--".to_string());
        words.extend_from_slice(command);
        words
    }
}
