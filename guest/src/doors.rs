//! The doors: one listener for each active sidecar, in a network namespace where nothing else listens.
//!
//! This runs on the host, in the jail. It binds the listeners, passes them to the keeper through a socket
//! that it was started with, and becomes gvproxy. A listener belongs to the namespace in which it was created, so only
//! the guest can connect to it, through that stack.

use anyhow::{Context, Result, bail};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsString;
use std::io::IoSlice;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// How many doors one message can carry: more than there are sidecars.
pub const MAX_DOORS: usize = 8;

/// Runs `bottle-guest doors`, which creates the listeners, passes them to the keeper, and becomes the command that it
/// was given.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let (mut fd, mut ports, mut command) = (None, Vec::new(), Vec::new());
    while let Some(word) = parser.next()? {
        match word {
            Long("fd") => fd = Some(parser.value()?.parse::<RawFd>()?),
            Long("ports") => {
                for port in parser.value()?.string()?.split(',') {
                    ports.push(port.parse::<u16>()?);
                }
            }
            Value(first) => {
                command.push(first);
                command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let fd = fd.context("--fd is missing")?;
    if ports.is_empty() || ports.len() > MAX_DOORS {
        bail!("expected 1 to {MAX_DOORS} ports");
    }
    // SAFETY: the keeper started this process with the descriptor open, and nothing else owns it.
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner yet")]
    let keeper = unsafe { OwnedFd::from_raw_fd(fd) };
    let [program, arguments @ ..] = command.as_slice() else { bail!("expected a command") };
    hand_over(&keeper, &bind(&ports)?)?;
    drop(keeper);
    Err(Command::new(program).args(arguments).exec()).context("cannot start gvproxy")
}

fn bind(ports: &[u16]) -> Result<Vec<TcpListener>> {
    let listen =
        |&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"));
    ports.iter().map(listen).collect()
}

fn hand_over(keeper: &OwnedFd, doors: &[TcpListener]) -> Result<()> {
    let fds: Vec<_> = doors.iter().map(AsFd::as_fd).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DOORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(keeper, &[IoSlice::new(b"d")], &mut control, SendFlags::empty())
        .context("cannot pass the doors to the keeper")?;
    Ok(())
}
