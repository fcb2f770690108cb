//! Pumps frames between the tap and the keeper, with one thread per direction.

use super::tap::Tap;
use bottle_core::wire::{Inbox, Outbox};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

/// Pumps until either side fails. When this returns, both threads have ended and the stream is closed.
pub fn run(tap: &Arc<Tap>, stream: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = to_keeper(tap, stream);
            let _ = stream.shutdown(Shutdown::Both);
        });
        let _ = from_keeper(tap, stream);
        let _ = stream.shutdown(Shutdown::Both);
    });
}

/// Writes frames together that the kernel sends together. It reads the tap first, and waits only if there is
/// nothing, which saves one system call per frame while frames keep coming.
fn to_keeper(tap: &Tap, mut stream: &UnixStream) -> io::Result<()> {
    let mut outbox = Outbox::default();
    loop {
        while let Some(room) = outbox.room() {
            match tap.receive(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                received => outbox.keep(received?),
            }
        }
        match outbox.take() {
            [] => wait(tap, stream)?,
            frames => stream.write_all(frames)?,
        }
    }
}

/// Waits until the tap has a frame. This fails once the stream is closed, because the keeper may close it
/// while the guest is silent.
fn wait(tap: &Tap, stream: &UnixStream) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut waited =
            [PollFd::new(tap, PollFlags::IN), PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
        rustix::io::retry_on_intr(|| poll(&mut waited, None))?;
        if waited[1].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if !waited[0].revents().is_empty() {
            return Ok(());
        }
    }
}

fn from_keeper(tap: &Tap, mut stream: &UnixStream) -> io::Result<()> {
    let mut inbox = Inbox::default();
    loop {
        let read = stream.read(inbox.room())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inbox.arrived(read);
        while let Some(frame) = inbox.frame().map_err(io::Error::other)? {
            // The kernel refuses a frame if it cannot take it, for example when the interface goes down.
            // Networks lose frames.
            let _ = tap.send(frame);
        }
    }
}
