//! Frames between the tap and the keeper: one thread each way.

use super::tap::Tap;
use bottle_core::wire::{Inbox, Outbox};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

/// Pumps until either side fails. Comes back with both threads ended and the stream closed.
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

/// What the kernel sends together is written together. The tap is asked first, and waited for only
/// where there is nothing: while frames come, one system call less for each.
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

/// Waits until the tap has a frame; fails once the stream is closed, as the keeper may close it
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
            // The kernel refuses a frame that it cannot take, as when the interface goes down.
            // Losing a frame is what a network does.
            let _ = tap.send(frame);
        }
    }
}
