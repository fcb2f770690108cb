//! A running stack.

use super::endpoint::Endpoint;
use std::net::TcpListener;
use std::process::Child;
use std::sync::Arc;

/// A running stack, with its doors and its link. It ends when this value is dropped.
#[derive(Debug)]
pub struct Running {
    /// The process of gvproxy, if that is the stack.
    pub(super) child: Option<Child>,
    /// The doors' listeners, in the order of the plan.
    pub doors: Vec<TcpListener>,
    /// The stack's end of the link.
    pub link: Arc<Endpoint>,
}

impl Running {
    /// Returns the process to watch, which ends when the stack does. If there is none, the stack ends with
    /// the keeper.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    /// Keeps only the process, once its descriptors have been handed to another process.
    pub fn into_process(mut self) -> Process {
        Process(self.child.take())
    }
}

/// The process of gvproxy, if that is the stack. It ends when this value is dropped.
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

pub(super) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
