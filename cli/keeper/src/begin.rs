//! How a keeper begins: it starts the helper processes that do what it must not do, then starts itself again
//! without the operator's environment in its memory.

use anyhow::{Context, Result};
use bottle_core::parent::{Parent, ParentLogin};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::upstream::SecretSource;
use bottle_host::defence::WITHOUT;
use bottle_host::process::{die_with_parent, inherit};
use bottle_host::services;
use bottle_host::starter::wire;
use bottle_host::state::Home;
use bottle_host::trial;
use rustix::process::Signal;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The variables that a keeper keeps: those that control name resolution and name certificates, and those that tests
/// set.
const KEPT: [&str; 9] = [
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "BOTTLE_DIE_AFTER",
    "BOTTLE_LOG_SEGMENT",
    WITHOUT,
    trial::TRY,
];

/// The arguments of a keeper. It passes them on when it starts itself again.
#[derive(Debug)]
pub struct Arguments {
    /// The bottle.
    pub slug: Slug,
    /// The keeper ends when this is closed, unless a machine has adopted it.
    pub owner: OwnedFd,
    /// The keeper writes here that it is ready, or why it is not.
    pub ready: OwnedFd,
    /// The guest's socket.
    pub guest: OwnedFd,
}

/// Starts the keeper's helpers, and then this process again. Returns only if that fails.
///
/// # Errors
/// Returns the reason for the failure.
pub fn start_again(arguments: &Arguments) -> Result<std::convert::Infallible> {
    let folder = Home::find()?.bottle(&arguments.slug);
    let plan = folder.read_plan()?;
    let program = std::env::current_exe()?;

    let mut starter = Command::new(&program);
    starter.arg("starter").arg(arguments.slug.as_str());
    // Even the starter does not need the keys, and the programs that it starts would inherit them.
    for name in named_keys(&plan) {
        starter.env_remove(name);
    }
    let starter = with_socket(&mut starter).context("cannot start the starter")?;
    let keys = if !plan.needs_keys() {
        None
    } else {
        let mut keys = Command::new(&program);
        keys.arg("keys").arg(arguments.slug.as_str());
        Some(with_socket(&mut keys).context("cannot start the process that holds the keys")?)
    };

    let notifier = if services::read(&folder)?.notify.is_empty() {
        None
    } else {
        let mut notifier = Command::new(&program);
        notifier.arg("notifier").arg(arguments.slug.as_str());
        for name in named_keys(&plan) {
            notifier.env_remove(name);
        }
        // What is for the keeper's terminal is not for it, and it outlives the keeper to tell of its death.
        notifier.process_group(0);
        Some(with_socket_of_its_own(&mut notifier).context("cannot start the notifier")?)
    };

    let mut keeper = Command::new(&program);
    keeper.arg("keeper").arg(arguments.slug.as_str()).env_clear().envs(folder.environment());
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            keeper.env(name, value);
        }
    }
    let fds = [
        ("--owner-fd", Some(&arguments.owner)),
        ("--ready-fd", Some(&arguments.ready)),
        ("--guest-fd", Some(&arguments.guest)),
        ("--starter-fd", Some(&starter)),
        ("--keys-fd", keys.as_ref()),
        ("--notifier-fd", notifier.as_ref()),
    ];
    for (option, fd) in fds {
        let Some(fd) = fd else { continue };
        keeper.arg(option).arg(fd.as_raw_fd().to_string());
        // Inherited descriptors must survive exec.
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    }
    Err(keeper.exec()).context("cannot start the keeper again")
}

/// Returns the variables that hold this plan's keys.
fn named_keys(plan: &Plan) -> impl Iterator<Item = &str> {
    let logins = plan.parent.iter().flat_map(Parent::proxies).filter_map(|(_, proxy)| match &proxy.login {
        Some(ParentLogin::Secret(secret)) => Some(secret),
        // The programs that the starter starts need the proxy themselves.
        Some(ParentLogin::Url(_)) | None => None,
    });
    let secrets = plan.upstreams.iter().flat_map(|upstream| upstream.headers.values()).chain(logins);
    secrets.filter_map(|secret| match &secret.source {
        SecretSource::Env(name) => Some(name.as_str()),
        SecretSource::File(_) | SecretSource::Command(_) | SecretSource::Login(_) => None,
    })
}

/// Starts a process that serves this one on a socket, and dies with it.
fn with_socket(command: &mut Command) -> Result<OwnedFd> {
    die_with_parent(command, Signal::KILL);
    with_socket_of_its_own(command)
}

/// Starts a process that serves this one on a socket, and ends when the socket does.
fn with_socket_of_its_own(command: &mut Command) -> Result<OwnedFd> {
    let (ours, theirs) = wire::pair()?;
    let number = inherit(command, theirs.as_fd());
    command.arg("--fd").arg(number.to_string()).stdin(Stdio::null());
    // Nobody waits for the child: it ends with this process, or this process ends with it.
    command.spawn()?;
    Ok(ours)
}
