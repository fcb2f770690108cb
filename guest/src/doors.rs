//! The doors: one listener per active sidecar, on loopback inside gvproxy's own network namespace.
//!
//! This runs on the host, in the jail, before gvproxy does: it binds the listeners, hands them to
//! the keeper through a socket it was started with, and becomes gvproxy. A listener belongs to the
//! namespace that it was made in, so what connects to it can only be gvproxy.

use anyhow::{Context, Result, bail};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsString;
use std::io::IoSlice;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// How many listeners one message can carry: more than there are sidecars.
pub const MAX_DOORS: usize = 8;

/// `bottle-guest doors`: makes the listeners, hands them over, becomes the command.
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
    let [program, arguments @ ..] = command.as_slice() else { bail!("there is no command to become") };
    if ports.is_empty() || ports.len() > MAX_DOORS {
        bail!("1 to {MAX_DOORS} ports are wanted");
    }
    // SAFETY: the keeper started this process with the descriptor open and nobody else has it.
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner until it is given one")]
    let keeper = unsafe { OwnedFd::from_raw_fd(fd) };
    hand_over(&keeper, &ports)?;
    drop(keeper);
    Err(Command::new(program).args(arguments).exec()).context("cannot start gvproxy")
}

fn hand_over(keeper: &OwnedFd, ports: &[u16]) -> Result<()> {
    let doors = ports
        .iter()
        .map(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}")))
        .collect::<Result<Vec<_>>>()?;
    let fds: Vec<_> = doors.iter().map(AsFd::as_fd).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DOORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(keeper, &[IoSlice::new(b"d")], &mut control, SendFlags::empty())
        .context("cannot hand the doors to the keeper")?;
    Ok(())
}
