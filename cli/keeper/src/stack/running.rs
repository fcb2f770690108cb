//! A running stack.

use super::endpoint::Endpoint;
use rustix::process::Pid;
use std::net::TcpListener;
use std::process::Child;
use std::sync::Arc;

/// A running stack, with its doors and its link. It ends when this value is dropped.
#[derive(Debug)]
pub struct Running {
    /// gvproxy's process.
    pub process: Process,
    /// The doors' listeners, in the order of the plan.
    pub doors: Vec<TcpListener>,
    /// The stack's end of the link.
    pub link: Arc<Endpoint>,
}

/// gvproxy's process. It ends when this value is dropped.
#[derive(Debug)]
pub struct Process(pub(super) Child);

impl Process {
    /// Returns the process to watch.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

pub(super) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
