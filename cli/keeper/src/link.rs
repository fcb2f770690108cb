//! The guest's way into the host: its socket, who may use it, and what crosses it.
//!
//! With a network stack on the host, frames cross the link. Two plain threads, one per direction, read them
//! in blocking calls, and nothing else touches a frame. Both go through the guard ([`crossing`]); there is no
//! other path. Where the guest's own kernel is the stack, only streams to doors ([`crate::streams`]) and
//! reports of refusals inside the guest cross.

mod crossing;

use crate::admission::{Admission, Admitted};
use crate::counters::Counters;
use crate::streams::Streams;
use anyhow::Result;
use bottle_core::guard::Guard;
use bottle_core::report::Report;
use bottle_core::wire::{self, Inbox};
use bottle_host::audit::Audit;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::out;
use bottle_host::peer::{Machine, Peer, Process};
pub use crossing::Crossing;
use crossing::{Connected, broken, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Uid;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What crosses the guest's socket.
pub enum Traffic {
    /// Frames, which cross the guard to a stack that may be restarted.
    Frames(Arc<Crossing>),
    /// Streams to doors.
    Streams(Arc<Streams>),
}

/// The link to a guest that comes and goes.
pub struct Link {
    traffic: Traffic,
    counters: Arc<Counters>,
    audit: Audit,
    guest: Connected,
    guest_came: Condvar,
    guest_seen: AtomicBool,
    /// The process that made the newest connection.
    greeted: Mutex<Option<Process>>,
    admission: Admission,
    /// Held while a connection is handled, so that connections are handled one by one, in the order in which
    /// they were made.
    handling: Mutex<()>,
    welcome: Welcome,
}

/// A check that runs before a guest is greeted, with the user that its machine runs as. An error keeps the
/// guest out.
pub type Welcome = Box<dyn Fn(Uid) -> Result<()> + Send + Sync>;

/// How often connections that wait for their machine to become known are checked.
const POLL_INTERVAL: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Link {
    /// Creates a link for frames, with neither end attached.
    pub fn of_frames(guard: Guard, counters: Arc<Counters>, audit: Audit, welcome: Welcome) -> Arc<Self> {
        let guest = Connected::default();
        let crossing = Crossing::new(guard, Arc::clone(&counters), audit.clone(), Arc::clone(&guest));
        Self::new(Traffic::Frames(Arc::new(crossing)), counters, audit, guest, welcome)
    }

    /// Creates a link for streams. It must be called inside a tokio runtime.
    pub fn of_streams(counters: Arc<Counters>, audit: Audit, welcome: Welcome) -> Arc<Self> {
        let streams = Streams::new(audit.clone());
        Self::new(Traffic::Streams(streams), counters, audit, Connected::default(), welcome)
    }

    fn new(
        traffic: Traffic,
        counters: Arc<Counters>,
        audit: Audit,
        guest: Connected,
        welcome: Welcome,
    ) -> Arc<Self> {
        Arc::new(Self {
            traffic,
            counters,
            admission: Admission::new(audit.clone()),
            audit,
            guest,
            guest_came: Condvar::new(),
            guest_seen: AtomicBool::new(false),
            greeted: Mutex::new(None),
            handling: Mutex::new(()),
            welcome,
        })
    }

    /// Returns what crosses.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Accepts connections of the guest's helper. The machine's newest connection is the one that counts:
    /// after a guest's restart the old one may take time to close. Nobody but the machine can hold this up.
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
                    // Descriptors have probably run out. Try again, but not in a busy loop.
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
        Ok(())
    }

    /// Greets only this machine from now on. Its waiting connections are handled on a separate thread,
    /// because giving a large copy of the project to the machine's user takes a while.
    pub fn expect(self: &Arc<Self>, machine: Machine) -> Result<()> {
        let link = Arc::clone(self);
        let expected = move || {
            let _in_order = lock(&link.handling);
            link.admission.expect(machine).into_iter().for_each(|admitted| link.adopt(admitted));
        };
        thread::Builder::new().name("expected".to_owned()).spawn(expected)?;
        Ok(())
    }

    /// Waits up to `limit` for a guest, and returns whether one is connected.
    pub fn wait_for_guest(&self, limit: Duration) -> bool {
        let guest = lock(&self.guest);
        let waited = self.guest_came.wait_timeout_while(guest, limit, |guest| guest.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Returns whether a guest has ever connected.
    pub fn has_seen_guest(&self) -> bool {
        self.guest_seen.load(Relaxed)
    }

    /// Returns the process of the guest that was greeted last.
    pub fn greeted(&self) -> Option<Process> {
        *lock(&self.greeted)
    }

    fn adopt(self: &Arc<Self>, Admitted { stream, peer }: Admitted) {
        let link = Arc::clone(self);
        match &self.traffic {
            Traffic::Frames(crossing) => {
                let crossing = Arc::clone(crossing);
                let Some(stream) = self.greet(stream, &peer) else { return };
                let from_guest = move || link.until_it_ends(&stream, || crossing.pump_from_guest(&stream));
                if thread::Builder::new().name("from-guest".to_owned()).spawn(from_guest).is_err() {
                    *lock(&self.guest) = None;
                }
            }
            Traffic::Streams(streams) => streams.take(stream, move |stream, place| {
                let in_order = lock(&link.handling);
                let Some(stream) = link.greet(stream, &peer) else { return };
                drop((in_order, place));
                link.until_it_ends(&stream, || link.read_reports(&stream));
            }),
        }
    }

    /// Greets a guest whose machine is welcome. From then on its connection is the one that counts.
    fn greet(&self, stream: UnixStream, peer: &Peer) -> Option<Arc<UnixStream>> {
        if let Err(error) = (self.welcome)(peer.uid) {
            out::note(format_args!("the guest is kept out: {error:#}"));
            return None;
        }
        let stream = Arc::new(stream);
        (&*stream).write_all(&wire::HELLO).ok()?;
        *lock(&self.greeted) = peer.process;
        fail_point::reached(FailPoint::KeeperGreeted);
        // If the buffer cannot be this large, the link works with what it has.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&*stream, wire::IN_FLIGHT);
        if let Some(old) = lock(&self.guest).replace(Arc::clone(&stream)) {
            let _ = old.shutdown(Shutdown::Both);
        }
        self.guest_seen.store(true, Relaxed);
        self.guest_came.notify_all();
        Some(stream)
    }

    /// Serves a guest's connection, and forgets it when it ends.
    fn until_it_ends(&self, stream: &Arc<UnixStream>, serve: impl FnOnce() -> io::Result<()>) {
        let _ = serve();
        let _ = stream.shutdown(Shutdown::Both);
        let mut guest = lock(&self.guest);
        if guest.as_ref().is_some_and(|current| Arc::ptr_eq(current, stream)) {
            *guest = None;
        }
    }

    /// Counts and logs what the guest's helper refused.
    fn read_reports(&self, mut stream: &UnixStream) -> io::Result<()> {
        let mut inbox = Inbox::default();
        loop {
            let read = stream.read(inbox.room())?;
            if read == 0 {
                return Ok(());
            }
            inbox.arrived(read);
            while let Some(report) = inbox.frame().map_err(|error| broken(&self.audit, &error))? {
                let Some(Report { refusal, frame }) = Report::parse(report) else {
                    return Err(broken(&self.audit, &"it is no report"));
                };
                self.counters.refused(refusal);
                self.audit.refused(refusal, frame);
            }
        }
    }
}
