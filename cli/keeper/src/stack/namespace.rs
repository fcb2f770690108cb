//! A place for a network stack: bubblewrap's, with an empty filesystem, no capabilities, no way to a
//! host socket, and a network namespace of its own.
//!
//! The helper runs first inside, makes the doors there and hands them out.

use super::wait::wait_until;
use anyhow::{Context, Result, bail};
use bottle_core::plan::Plan;
use bottle_guest::doors::MAX_DESCRIPTORS;
use bottle_host::process::die_with_parent;
use bottle_host::tools::Network;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};
use rustix::process::Signal;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

const HELPER: &str = "/bin/bottle-guest";

/// The socket that the helper hands out through: the keeper's end, and the one that goes inside.
pub fn hand() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // What is handed down must survive exec.
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
    Ok((ours, theirs))
}

/// bubblewrap with nothing in it but the helper. What else is to be seen inside is added, and then
/// [`make_doors`] is.
pub fn command(network: &Network, log: &File) -> Result<Command> {
    let mut command = Command::new(&network.bwrap);
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    // Its environment may hold keys of the operator's.
    command.env_clear();
    command.args(["--clearenv", "--hostname", "jail", "--chdir", "/"]);
    command.arg("--ro-bind").arg(std::fs::canonicalize(&network.helper)?).arg(HELPER);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // bubblewrap asks for this itself, and not whether it comes too late.
    die_with_parent(&mut command, Signal::KILL);
    Ok(command)
}

/// Lets the helper make the doors of a plan.
pub fn make_doors(command: &mut Command, hand: &OwnedFd, plan: &Plan) {
    let ports: Vec<String> = plan.doors.iter().map(|(_, port)| port.to_string()).collect();
    command.args(["--", HELPER, "doors"]);
    command.arg("--fd").arg(hand.as_raw_fd().to_string()).arg("--ports").arg(ports.join(","));
}

/// What the helper hands out: one door for each that is planned, and so many descriptors more.
pub fn receive(hand: &OwnedFd, child: &mut Child, plan: &Plan, more: usize) -> Result<Vec<OwnedFd>> {
    let descriptors = wait_until(child, || receive_now(hand))?;
    if descriptors.len() != plan.doors.iter().count() + more {
        bail!("the jail handed out {} descriptors", descriptors.len());
    }
    Ok(descriptors)
}

fn receive_now(hand: &OwnedFd) -> Result<Option<Vec<OwnedFd>>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    match recvmsg(hand, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
        Ok(_) => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(error).context("the jail's hand"),
    }
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    };
    Ok(Some(control.drain().filter_map(rights).flatten().collect()))
}
