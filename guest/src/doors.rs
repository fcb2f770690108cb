//! The doors: one listener for each active sidecar, in a network namespace where nothing else listens.
//!
//! This runs on the host, in the jail. It binds the listeners, passes them to the keeper through a socket
//! that it was started with, and becomes gvproxy. If the kernel is the network stack, it instead creates the
//! tap, passes that to the keeper as well, and ends: the keeper's descriptors keep the namespace alive. A
//! listener belongs to the namespace in which it was created, so only the guest can connect to it, through
//! that stack.

use crate::link::endpoint;
use anyhow::{Context, Result, bail};
use bottle_core::subnet::Subnet;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsString;
use std::io::IoSlice;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// How many doors one message can carry: more than there are sidecars.
pub const MAX_DOORS: usize = 8;

/// How many descriptors one message can carry: the doors and a tap.
pub const MAX_DESCRIPTORS: usize = MAX_DOORS + 1;

/// Runs `bottle-guest doors`, which creates the listeners and passes them to the keeper. With a command, it
/// then becomes that command. With a subnet, it also creates the host's end of the link, and passes that
/// last.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let (mut fd, mut ports, mut subnet, mut command) = (None, Vec::new(), None, Vec::new());
    while let Some(word) = parser.next()? {
        match word {
            Long("fd") => fd = Some(parser.value()?.parse::<RawFd>()?),
            Long("ports") => {
                for port in parser.value()?.string()?.split(',') {
                    ports.push(port.parse::<u16>()?);
                }
            }
            Long("subnet") => subnet = Some(Subnet::try_from(parser.value()?.parse::<u8>()?)?),
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
    match (subnet, command.as_slice()) {
        (Some(subnet), []) => {
            let tap = endpoint::make_host_endpoint(subnet)?;
            hand_over(&keeper, &bind(subnet.proxy(), &ports)?, Some(tap.as_fd()))?;
            Ok(ExitCode::SUCCESS)
        }
        (None, [program, arguments @ ..]) => {
            hand_over(&keeper, &bind(Ipv4Addr::LOCALHOST, &ports)?, None)?;
            drop(keeper);
            Err(Command::new(program).args(arguments).exec()).context("cannot start gvproxy")
        }
        _ => bail!("expected either --subnet or a command"),
    }
}

fn bind(address: Ipv4Addr, ports: &[u16]) -> Result<Vec<TcpListener>> {
    ports
        .iter()
        .map(|&port| TcpListener::bind((address, port)).with_context(|| format!("port {port}")))
        .collect()
}

fn hand_over(keeper: &OwnedFd, doors: &[TcpListener], tap: Option<BorrowedFd<'_>>) -> Result<()> {
    let fds: Vec<_> = doors.iter().map(AsFd::as_fd).chain(tap).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(keeper, &[IoSlice::new(b"d")], &mut control, SendFlags::empty())
        .context("cannot pass the doors to the keeper")?;
    Ok(())
}
