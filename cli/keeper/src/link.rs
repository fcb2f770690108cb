//! A frame's way through the host: guest socket, guard, network stack, and back.
//!
//! Two plain threads, one for each direction, with a blocking read in each: nothing else touches a
//! frame. Both go through the guard ([`crossing`]); there is no other path.

mod crossing;

use crate::admission::{Admission, Admitted};
use crate::counters::Counters;
use crate::stack::Endpoint;
use crate::watch::Watch;
use anyhow::Result;
use bottle_core::guard::{Guard, Reply, Verdict};
use bottle_core::wire;
use bottle_host::audit::Audit;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::out;
use bottle_host::peer::{Machine, Process};
use crossing::{Crossing, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Uid;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The link between a guest that comes and goes and a stack that may be restarted.
pub struct Link {
    crossing: Arc<Crossing>,
    guest_came: Condvar,
    guest_seen: AtomicBool,
    /// The process that made the newest connection.
    greeted: Mutex<Option<Process>>,
    admission: Admission,
    /// Connections are handled one after the other, in the order in which they were made.
    handling: Mutex<()>,
    welcome: Welcome,
}

/// Runs before a guest is greeted, with the user that its machine runs as. An error keeps the guest
/// out.
pub type Welcome = Box<dyn Fn(Uid) -> Result<()> + Send + Sync>;

/// How often connections that wait for their machine to be known are checked.
const POLL_INTERVAL: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Link {
    /// Creates a link without either end.
    pub fn new(guard: Guard, counters: Arc<Counters>, audit: Audit, welcome: Welcome) -> Arc<Self> {
        Arc::new(Self {
            admission: Admission::new(audit.clone()),
            crossing: Arc::new(Crossing::new(guard, counters, audit)),
            guest_came: Condvar::new(),
            guest_seen: AtomicBool::new(false),
            greeted: Mutex::new(None),
            handling: Mutex::new(()),
            welcome,
        })
    }

    /// Accepts connections of the guest's helper. The machine's newest connection counts: after a
    /// guest's restart the old one may take time to close. Nobody who is not the machine can hold
    /// this up.
    pub fn listen(self: &Arc<Self>, listener: UnixListener) -> Result<()> {
        let link = Arc::clone(self);
        thread::Builder::new().name("guest".to_owned()).spawn(move || {
            loop {
                let limit = link.admission.expire().then_some(&POLL_INTERVAL);
                let mut asked = [PollFd::new(&listener, PollFlags::IN)];
                if poll(&mut asked, limit) == Ok(0) {
                    continue;
                }
                match listener.accept() {
                    Ok((stream, _)) => {
                        let _in_order = lock(&link.handling);
                        if let Some(admitted) = link.admission.accept(stream) {
                            link.adopt(admitted);
                        }
                    }
                    // Probably out of descriptors: try again, but not in a busy loop.
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
        Ok(())
    }

    /// Greets only this machine from now on. Its waiting connections are handled on a separate
    /// thread, because giving a large copy of the project to the machine's user takes a while.
    pub fn expect(self: &Arc<Self>, machine: Machine) -> Result<()> {
        let link = Arc::clone(self);
        let expected = move || {
            let _in_order = lock(&link.handling);
            link.admission.expect(machine).into_iter().for_each(|admitted| link.adopt(admitted));
        };
        thread::Builder::new().name("expected".to_owned()).spawn(expected)?;
        Ok(())
    }

    /// Attaches a new stack.
    pub fn attach(self: &Arc<Self>, stack: Arc<Endpoint>) -> Result<()> {
        *lock(&self.crossing.stack) = Some(Arc::clone(&stack));
        let crossing = Arc::clone(&self.crossing);
        thread::Builder::new().name("to-guest".to_owned()).spawn(move || {
            let _ = crossing.pump_to_guest(&stack);
        })?;
        Ok(())
    }

    /// Detaches the stack: the guest's frames go nowhere until there is another.
    pub fn detach(&self) {
        if let Some(stack) = lock(&self.crossing.stack).take() {
            stack.close();
        }
    }

    /// Waits for a guest, for at most `limit`, and returns whether one is connected.
    pub fn wait_for_guest(&self, limit: Duration) -> bool {
        let guest = lock(&self.crossing.guest);
        let waited = self.guest_came.wait_timeout_while(guest, limit, |guest| guest.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Returns whether a guest was ever connected.
    pub fn has_seen_guest(&self) -> bool {
        self.guest_seen.load(Relaxed)
    }

    /// Returns the process of the guest that was greeted last.
    pub fn greeted(&self) -> Option<Process> {
        *lock(&self.greeted)
    }

    fn adopt(self: &Arc<Self>, Admitted { stream, peer }: Admitted) {
        if let Err(error) = (self.welcome)(peer.uid) {
            out::note(format_args!("the guest is kept out: {error:#}"));
            return;
        }
        let stream = Arc::new(stream);
        if (&*stream).write_all(&wire::HELLO).is_err() {
            return;
        }
        *lock(&self.greeted) = peer.process;
        fail_point::reached(FailPoint::KeeperGreeted);
        // If the buffer cannot be this large, the link works with what it has.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&*stream, wire::IN_FLIGHT);
        if let Some(old) = lock(&self.crossing.guest).replace(Arc::clone(&stream)) {
            let _ = old.shutdown(Shutdown::Both);
        }
        self.guest_seen.store(true, Relaxed);
        self.guest_came.notify_all();
        let link = Arc::clone(self);
        let spawned = thread::Builder::new().name("from-guest".to_owned()).spawn(move || {
            let _ = link.crossing.pump_from_guest(&stream);
            let _ = stream.shutdown(Shutdown::Both);
            let mut guest = lock(&link.crossing.guest);
            if guest.as_ref().is_some_and(|current| Arc::ptr_eq(current, &stream)) {
                *guest = None;
            }
        });
        if spawned.is_err() {
            *lock(&self.crossing.guest) = None;
        }
    }

    /// Sends a frame that was made on the host through the guard. It is not counted and not logged,
    /// because the guest did not send it.
    pub fn inject<'r>(&self, frame: &[u8], reply: &'r mut Reply) -> Verdict<'r> {
        self.crossing.cross(frame, reply)
    }

    /// Returns the watch for responses to such frames.
    pub fn watch(&self) -> &Watch {
        &self.crossing.watch
    }
}
