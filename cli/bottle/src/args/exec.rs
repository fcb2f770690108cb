//! `bottle exec`.

use super::values::{Size, variable};
use bottle_core::execution::Execution;
use bottle_core::text::{EnvName, MountPath, Word};
use bottle_host::smolvm::Terminal;
use std::time::Duration;

// How to run a command in a guest.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, clap::Args)]
pub struct How {
    /// The folder in the guest to start in [default: the workspace]
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<MountPath>,
    /// A variable for the command; repeat it for more
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(EnvName, Word)>,
    /// The user of the guest to run as: a name or a number, and optionally a group: node, 1000:1000 [default: root]
    #[arg(long, short, value_name = "USER")]
    user: Option<Word>,
    /// End the command, and everything that it started, after this time, like 30s or 2h, with status 124
    #[arg(long, value_name = "TIME", value_parser = crate::time::while_long)]
    timeout: Option<Duration>,
    /// At the end, write one line of JSON to this descriptor: how the command ended, and who decided that
    #[arg(long, value_name = "FD", conflicts_with = "tty", value_parser = clap::value_parser!(i32).range(3..))]
    pub status_fd: Option<i32>,
    /// End the command, and everything that it started, once one of its two output streams has more bytes than this, like
    /// 10M
    #[arg(long, value_name = "SIZE", conflicts_with = "tty")]
    pub max_output: Option<Size>,
    /// Give the command a terminal [default: if standard input and output are one]
    #[arg(long, short, overrides_with = "no_tty")]
    tty: bool,
    /// Give the command pipes, even in a terminal
    #[arg(long, short = 'T')]
    no_tty: bool,
    /// Pass standard input on, which is always done
    #[arg(long, short, hide = true)]
    interactive: bool,
}

impl How {
    /// Returns what this says about the command.
    pub fn execution(&self) -> Execution {
        Execution {
            workdir: self.workdir.clone(),
            env: self.env.iter().cloned().collect(),
            user: self.user.clone(),
            seeds: false,
            timeout: self.timeout,
            report: None,
            called: None,
            terminal: false,
        }
    }

    /// Returns the terminal that was asked for, if one was.
    pub fn terminal(&self) -> Option<Terminal> {
        match (self.tty, self.no_tty) {
            (true, _) => Some(Terminal::Tty),
            (false, true) => Some(Terminal::Pipe),
            (false, false) => None,
        }
    }
}
