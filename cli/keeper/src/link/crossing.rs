//! The guard between the guest's connection and the network stack. It is the only way across, in either
//! direction.

use crate::counters::Counters;
use crate::stack::Endpoint;
use crate::watch::Watch;
use bottle_core::guard::{Guard, Reply, Verdict};
use bottle_core::wire::{self, Inbox, Outbox};
use bottle_host::audit::Audit;
use bottle_host::defence::Defence;
use serde_json::json;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The guest's current connection: the newest one.
pub type Connected = Arc<Mutex<Option<Arc<UnixStream>>>>;

/// Both ends of the link, with the guard between them.
pub struct Crossing {
    guard: Guard,
    counters: Arc<Counters>,
    audit: Audit,
    guest: Connected,
    stack: Mutex<Option<Arc<Endpoint>>>,
    writing: Mutex<()>,
    /// Whether the guard decides, as it always does except in a debug build that turns it off.
    guarded: bool,
    watch: Watch,
}

impl Crossing {
    /// Creates a crossing with neither end attached.
    pub fn new(guard: Guard, counters: Arc<Counters>, audit: Audit, guest: Connected) -> Self {
        Self {
            guard,
            counters,
            audit,
            guest,
            stack: Mutex::new(None),
            writing: Mutex::new(()),
            guarded: Defence::Guard.stands(),
            watch: Watch::default(),
        }
    }

    /// Attaches a new stack.
    pub fn attach(self: &Arc<Self>, stack: Arc<Endpoint>) -> io::Result<()> {
        *lock(&self.stack) = Some(Arc::clone(&stack));
        let crossing = Arc::clone(self);
        thread::Builder::new().name("to-guest".to_owned()).spawn(move || {
            let _ = crossing.pump_to_guest(&stack);
        })?;
        Ok(())
    }

    /// Detaches the stack. Until another is attached, the guest's frames go nowhere.
    pub fn detach(&self) {
        if let Some(stack) = lock(&self.stack).take() {
            stack.close();
        }
    }

    /// Returns the watch for responses to frames made on the host.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Forwards the guest's frames until it closes its connection.
    pub fn pump_from_guest(&self, stream: &Arc<UnixStream>) -> io::Result<()> {
        let (mut inbox, mut reply, mut replies) = (Inbox::default(), Reply::default(), Vec::new());
        loop {
            let read = (&**stream).read(inbox.room())?;
            if read == 0 {
                return Ok(());
            }
            inbox.arrived(read);
            while let Some(frame) = inbox.frame().map_err(|error| broken(&self.audit, &error))? {
                if self.watch.is_spoofed(frame) {
                    continue;
                }
                if let Some(answer) = self.decide(frame, &mut reply) {
                    replies.extend(wire::header(answer.len()).unwrap_or_default());
                    replies.extend(answer);
                }
            }
            // Replies to frames that arrived together are written together, because each write is an
            // interrupt in the guest.
            if !replies.is_empty() {
                let _one_at_a_time = lock(&self.writing);
                (&**stream).write_all(&replies)?;
                replies.clear();
            }
        }
    }

    /// Forwards or refuses one frame. Returns the reply to the guest, if there is one.
    fn decide<'r>(&self, frame: &[u8], reply: &'r mut Reply) -> Option<&'r [u8]> {
        match self.cross(frame, reply) {
            Verdict::Forward => {
                self.counters.from_guest(frame.len());
                None
            }
            Verdict::Answer(answer) => Some(answer),
            Verdict::Refuse(refusal, answer) => {
                self.counters.refused(refusal);
                self.audit.refused(refusal, frame);
                answer
            }
        }
    }

    /// Asks the guard about a frame, and sends it to the stack if it passes. There is no other way to the
    /// stack. Nothing is counted or logged, because the guest may not have sent the frame.
    pub fn cross<'r>(&self, frame: &[u8], reply: &'r mut Reply) -> Verdict<'r> {
        let verdict = match self.guard.from_guest(frame, reply) {
            verdict if self.guarded => verdict,
            _ => Verdict::Forward,
        };
        if verdict == Verdict::Forward {
            let stack = lock(&self.stack).clone();
            if let Some(stack) = stack {
                // If the stack has ended, the keeper starts it again.
                let _ = stack.send(frame);
            }
        }
        verdict
    }

    /// Forwards the stack's frames to the guest. Frames that arrive together are written together, because
    /// each write wakes the guest's helper.
    fn pump_to_guest(&self, stack: &Endpoint) -> io::Result<()> {
        let mut outbox = Outbox::default();
        loop {
            while let Some(room) = outbox.room() {
                let len = match stack.receive(room) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    received => received?,
                };
                if len == 0 {
                    return Ok(());
                }
                if self.watch.intercepts(&self.guard, outbox.frame(len)) {
                    continue;
                }
                match self.guard.to_guest(outbox.frame(len)) {
                    Err(refusal) if self.guarded => self.counters.dropped(refusal),
                    _ => {
                        self.counters.to_guest(len);
                        outbox.keep(len);
                    }
                }
            }
            match outbox.take() {
                [] => stack.wait()?,
                frames => self.write(frames),
            }
        }
    }

    /// Writes whole frames to the guest, if one is connected. Both threads write under this lock, so frames
    /// never mix.
    fn write(&self, frames: &[u8]) {
        let Some(guest) = lock(&self.guest).clone() else { return };
        let written = {
            let _one_at_a_time = lock(&self.writing);
            (&*guest).write_all(frames)
        };
        if written.is_err() {
            let _ = guest.shutdown(Shutdown::Both);
        }
    }
}

/// Logs that a guest's connection has lost its framing. The caller closes it.
pub fn broken(audit: &Audit, why: &dyn Display) -> io::Error {
    if Defence::RefusalsLogged.stands() {
        audit.caused("link", "refused", "framing", "", json!({ "why": why.to_string() }));
    }
    io::Error::other(why.to_string())
}

/// Locks a mutex. If a thread panicked with this lock, nothing that it protects can be half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
