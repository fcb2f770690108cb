//! How a keeper begins: it starts the processes that do what it may not, and then itself anew, with
//! nothing of the operator's environment in its memory.

use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::upstream::SecretSource;
use bottle_host::defence::WITHOUT;
use bottle_host::process::{die_with_parent, inherit};
use bottle_host::starter::wire;
use bottle_host::state::Home;
use bottle_host::trial;
use rustix::process::Signal;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What a keeper keeps of the environment: how names are resolved, and what tests say.
const KEPT: [&str; 7] = [
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "RUST_BACKTRACE",
    "BOTTLE_DIE_AFTER",
    "BOTTLE_LOG_SEGMENT",
    WITHOUT,
    trial::TRY,
];

/// What a keeper is given when it is started anew.
#[derive(Debug)]
pub struct Given {
    /// The bottle.
    pub slug: Slug,
    /// The keeper ends when this is closed, unless a machine has adopted it.
    pub owner: OwnedFd,
    /// Where it says that it is ready, or why not.
    pub ready: OwnedFd,
    /// The guest's socket.
    pub guest: OwnedFd,
}

/// Starts the keeper's helpers, and this process anew. Returns only where that fails.
///
/// # Errors
/// What kept it from that.
pub fn anew(given: &Given) -> Result<std::convert::Infallible> {
    let folder = Home::find()?.bottle(&given.slug);
    let plan = folder.read_plan()?;
    let program = std::env::current_exe()?;

    let mut starter = Command::new(&program);
    starter.arg("starter").arg(given.slug.as_str());
    // Not even who starts programs needs the keys: what it starts would have them, too.
    for name in named_keys(&plan) {
        starter.env_remove(name);
    }
    let starter = with_socket(&mut starter).context("cannot start the starter")?;
    let keys = if plan.upstreams.is_empty() {
        None
    } else {
        let mut keys = Command::new(&program);
        keys.arg("keys").arg(given.slug.as_str());
        Some(with_socket(&mut keys).context("cannot start the process that holds the keys")?)
    };

    let mut keeper = Command::new(&program);
    keeper.arg("keeper").arg(given.slug.as_str()).env_clear().envs(folder.environment());
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            keeper.env(name, value);
        }
    }
    let fds = [
        ("--owner-fd", Some(&given.owner)),
        ("--ready-fd", Some(&given.ready)),
        ("--guest-fd", Some(&given.guest)),
        ("--starter-fd", Some(&starter)),
        ("--keys-fd", keys.as_ref()),
    ];
    for (option, fd) in fds {
        let Some(fd) = fd else { continue };
        keeper.arg(option).arg(fd.as_raw_fd().to_string());
        // What is handed down must survive exec.
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    }
    Err(keeper.exec()).context("cannot start the keeper anew")
}

/// The variables that hold keys of this plan.
fn named_keys(plan: &Plan) -> impl Iterator<Item = &str> {
    let secrets = plan.upstreams.iter().flat_map(|upstream| upstream.headers.values());
    secrets.filter_map(|secret| match &secret.source {
        SecretSource::Env(name) => Some(name.as_str()),
        SecretSource::File(_) | SecretSource::Command(_) => None,
    })
}

/// Starts a process that serves this one on a socket, and ends with it.
fn with_socket(command: &mut Command) -> Result<OwnedFd> {
    let (ours, theirs) = wire::pair()?;
    let number = inherit(command, theirs.as_fd());
    command.arg("--fd").arg(number.to_string()).stdin(Stdio::null());
    die_with_parent(command, Signal::KILL);
    // It is never waited for: it ends with this process, or this one with it.
    command.spawn()?;
    Ok(ours)
}
