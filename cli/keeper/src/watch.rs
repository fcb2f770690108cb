//! Separates the network stack's responses to an examination from the guest's traffic.

use bottle_core::examine::{Arrived, Block, What, flag};
use bottle_core::guard::Guard;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many unwanted responses are kept. One is enough for a verdict.
const KEPT: usize = 1024;
/// How many frames from doors may wait to be read.
const QUEUE: usize = 64;

/// Stands between the stack and the guest during an examination.
#[derive(Debug, Default)]
pub struct Watch {
    is_on: AtomicBool,
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    block: Block,
    doors: BTreeSet<SocketAddrV4>,
    /// How many replies to ARP requests are expected that the guest did not make.
    hellos: u32,
    returned: BTreeSet<Returned>,
    heard: SyncSender<Vec<u8>>,
}

/// A response of the stack from something other than a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Returned {
    /// The protocol: `tcp`, `udp`, `ping`.
    pub way: &'static str,
    /// The address that responded.
    pub from: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

/// A running examination. It ends when this value is dropped.
#[derive(Debug)]
pub struct Watching<'w> {
    watch: &'w Watch,
    /// The frames that came from doors.
    pub heard: Receiver<Vec<u8>>,
}

impl Watch {
    /// Begins an examination, unless another is running.
    pub fn begin(&self, block: Block, doors: BTreeSet<SocketAddrV4>) -> Option<Watching<'_>> {
        let mut current = self.lock();
        if current.is_some() {
            return None;
        }
        let (sender, heard) = sync_channel(QUEUE);
        *current = Some(Current { block, doors, hellos: 0, returned: BTreeSet::new(), heard: sender });
        self.is_on.store(true, Relaxed);
        Some(Watching { watch: self, heard })
    }

    /// Returns whether a frame from the stack belongs to the examination, and so must not reach the guest.
    pub fn intercepts(&self, guard: &Guard, frame: &[u8]) -> bool {
        self.is_on.load(Relaxed)
            && self.lock().as_mut().is_some_and(|current| current.intercepts(guard, frame))
    }

    /// Returns whether a frame from the guest pretends to belong to the examination.
    pub fn is_spoofed(&self, frame: &[u8]) -> bool {
        self.is_on.load(Relaxed) && self.lock().as_ref().is_some_and(|current| current.block.sent(frame))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn intercepts(&mut self, guard: &Guard, frame: &[u8]) -> bool {
        if self.hellos > 0 && guard.is_hello_back(frame) {
            self.hellos -= 1;
            return true;
        }
        let Some(arrived) = Arrived::parse(frame).filter(|arrived| self.block.has(arrived.port)) else {
            return false;
        };
        match arrived.what {
            What::Tcp { from, .. } if self.doors.contains(&SocketAddrV4::new(arrived.from, from)) => {
                // A frame that does not fit in the queue is sent again, because the stack gets no response to
                // it.
                let _ = self.heard.try_send(frame.to_vec());
            }
            // The stack refused the connection, so nothing is there.
            What::Tcp { flags, .. } if flags & flag::RST != 0 => {}
            What::Unreachable { .. } => {}
            What::Tcp { from, .. } => self.note("tcp", arrived.from, from),
            What::Udp { from, .. } => self.note("udp", arrived.from, from),
            What::Echo => self.note("ping", arrived.from, 0),
        }
        true
    }

    fn note(&mut self, way: &'static str, from: Ipv4Addr, port: u16) {
        if self.returned.len() < KEPT {
            self.returned.insert(Returned { way, from, port });
        }
    }
}

impl Watching<'_> {
    /// Expects a reply of the gateway to an ARP request that the guest did not make.
    pub fn expect_hello(&self) {
        if let Some(current) = self.watch.lock().as_mut() {
            current.hellos += 1;
        }
    }

    /// Returns the responses so far from anything but a door.
    pub fn returned(&self) -> BTreeSet<Returned> {
        self.watch.lock().as_ref().map(|current| current.returned.clone()).unwrap_or_default()
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self.watch.lock() = None;
        self.watch.is_on.store(false, Relaxed);
    }
}
