//! gvproxy, running: its doors, the link to it, and what stands around it.
//!
//! [`Jail`] puts the second wall around it, and needs Linux. [`Bare`] puts none: elsewhere the guard
//! stands alone, and `bottle doctor` says so. The conformance harness judges both.

mod bare;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod jail;

pub use bare::Bare;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub use jail::Jail;

use crate::preflight::Network;
use crate::state::Folder;
use anyhow::{Result, bail};
use bottle_core::plan::Plan;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How gvproxy is run.
pub trait Wall {
    /// Whether it finds nothing on its network but the doors.
    const JAILED: bool;

    /// Where gvproxy is told to make its end of the link.
    fn link(folder: &Folder) -> PathBuf;

    /// Starts it.
    ///
    /// # Errors
    /// Where it does not come up within 20 s; its last words are in the log.
    fn start(network: &Network, folder: &Folder, plan: &Plan, log: &File) -> Result<Stack>;
}

/// How it is run on this system.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub type Here = Jail;
/// How it is run on this system.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub type Here = Bare;

const START: Duration = Duration::from_secs(20);

/// A running gvproxy, and what it takes to talk to it. It ends with the value.
#[derive(Debug)]
pub struct Stack {
    child: Child,
    /// The doors, in the order of the plan.
    pub doors: Vec<TcpListener>,
    /// Frames to and from gvproxy, one a packet.
    pub link: OwnedFd,
}

impl Stack {
    /// The process to watch: it ends when gvproxy does.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Connects to a gvproxy that is coming up: frames to and from it, one a packet.
fn connect(path: &Path, child: &mut Child) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    // The longest frame must fit, and several should. The kernel caps this at net.core.wmem_max.
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, 1 << 20)?;
    wait_until(child, || match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Some(())),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    Ok(socket)
}

/// Asks again and again, until there is an answer, the process has ended or its time is over.
fn wait_until<T>(child: &mut Child, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + START;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > end {
            bail!("it said nothing for {} s", START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
