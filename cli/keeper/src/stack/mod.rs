//! The network stack behind the guard, running: its doors, the link to it, and what stands around it.
//!
//! gvproxy is one: [`Jail`] puts the second wall around it, and needs Linux; [`Bare`] puts none:
//! elsewhere the guard stands alone, and `bottle doctor` says so. Linux itself is the other,
//! `kernel`, behind the same wall. The conformance harness judges them all.

mod bare;
mod endpoint;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod jail;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod kernel;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod namespace;

pub use bare::Bare;
pub use endpoint::Endpoint;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub use jail::Jail;

use anyhow::{Result, bail};
use bottle_core::plan::Plan;
use bottle_core::wire;
use bottle_host::defence::Defence;
use bottle_host::state::Folder;
use bottle_host::tools::{Gvproxy, Network, StackBackend};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
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
    fn start(found: &Gvproxy, network: &Network, folder: &Folder, plan: &Plan, log: &File)
    -> Result<Running>;
}

/// How it is run on this system.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub type Here = Jail;
/// How it is run on this system.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub type Here = Bare;

const START: Duration = Duration::from_secs(20);

/// Starts the stack of a plan, as it is run on this system.
///
/// # Errors
/// Where it does not come up within 20 s; its last words are in the log.
pub fn start(network: &Network, folder: &Folder, plan: &Plan, log: &File) -> Result<Running> {
    match &network.backend {
        // Without the second wall it is as elsewhere; the first one stands alone.
        StackBackend::Gvproxy(found) if !Defence::Jail.stands() => {
            Bare::start(found, network, folder, plan, log)
        }
        StackBackend::Gvproxy(found) => Here::start(found, network, folder, plan, log),
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        StackBackend::Kernel => kernel::start(network, plan, log),
        #[cfg(any(not(target_os = "linux"), bottle_portable))]
        StackBackend::Kernel => bail!("the kernel can be the network stack on Linux only"),
    }
}

/// A running stack, and what it takes to talk to it. It ends with the value.
#[derive(Debug)]
pub struct Running {
    /// gvproxy, where it is one.
    child: Option<Child>,
    /// The doors, in the order of the plan.
    pub doors: Vec<TcpListener>,
    /// The stack's end of the link.
    pub link: Arc<Endpoint>,
}

impl Running {
    /// The process to watch: it ends when the stack does. Without one, the stack ends with the keeper.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }
}

impl Running {
    /// Its process alone: its descriptors are somebody else's now.
    pub fn into_process(mut self) -> Process {
        Process(self.child.take())
    }
}

/// gvproxy, where it is the stack. It ends with the value.
#[derive(Debug)]
pub struct Process(Option<Child>);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
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
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, wire::IN_FLIGHT)?;
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
        // Looked at first: what it said before it ended counts.
        let ended = child.try_wait()?;
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if let Some(status) = ended {
            bail!("it ended with {status}");
        }
        if Instant::now() > end {
            bail!("it said nothing for {} s", START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
