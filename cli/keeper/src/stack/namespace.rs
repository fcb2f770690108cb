//! The namespaces around a network stack. bubblewrap gives it an empty filesystem, no capabilities, no access
//! to host sockets, and its own network namespace.
//!
//! The helper is the first program inside. It creates the doors there and hands them out.

use super::wait::wait_until;
use anyhow::{Context, Result, bail};
use bottle_core::plan::Plan;
use bottle_guest::doors::MAX_DOORS;
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

/// Creates the socket through which the helper hands out descriptors. Returns the keeper's end, and the end
/// for the helper.
pub fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // Inherited descriptors must survive exec.
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
    Ok((ours, theirs))
}

/// Returns bubblewrap with only the helper visible inside. The caller adds whatever else is needed, and then
/// calls [`make_doors`].
pub fn command(network: &Network, log: &File) -> Result<Command> {
    let mut command = Command::new(network.bwrap()?);
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    // Its environment could contain the operator's keys.
    command.env_clear();
    command.args(["--clearenv", "--hostname", "jail", "--chdir", "/"]);
    command.arg("--ro-bind").arg(std::fs::canonicalize(&network.helper)?).arg(HELPER);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // bubblewrap sets this itself, but does not check whether its parent has already died.
    die_with_parent(&mut command, Signal::KILL);
    Ok(command)
}

/// Adds the helper's arguments: it creates the doors of a plan.
pub fn make_doors(command: &mut Command, socket: &OwnedFd, plan: &Plan) {
    let ports: Vec<String> = plan.doors.iter().map(|(_, port)| port.to_string()).collect();
    command.args(["--", HELPER, "doors"]);
    command.arg("--fd").arg(socket.as_raw_fd().to_string()).arg("--ports").arg(ports.join(","));
}

/// Receives what the helper hands out: a listener for each planned door.
pub fn receive(socket: &OwnedFd, child: &mut Child, plan: &Plan) -> Result<Vec<OwnedFd>> {
    let descriptors = wait_until(child, || receive_now(socket))?;
    let expected = plan.doors.iter().count();
    if descriptors.len() != expected {
        bail!("the jail handed out {} descriptors instead of {expected}", descriptors.len());
    }
    Ok(descriptors)
}

fn receive_now(socket: &OwnedFd) -> Result<Option<Vec<OwnedFd>>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DOORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
        Ok(_) => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(error).context("cannot receive descriptors from the jail"),
    }
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    };
    Ok(Some(control.drain().filter_map(rights).flatten().collect()))
}
