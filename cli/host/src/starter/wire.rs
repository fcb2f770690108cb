//! Messages between processes of one bottle: JSON, with descriptors.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The longest message, in bytes.
const MAX: usize = 64 << 10;
/// How many descriptors one message may carry: doors and the link.
const MAX_DESCRIPTORS: usize = 16;

/// Returns the two ends of a socket that preserves message boundaries.
///
/// # Errors
/// Returns an error if there are no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message with descriptors.
///
/// # Errors
/// Returns an error if the message is too long, or if nobody is at the other end.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX || fds.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slices = [IoSlice::new(&bytes)];
    rustix::io::retry_on_intr(|| sendmsg(&socket, &slices, &mut control, SendFlags::empty()))?;
    Ok(())
}

/// Waits for a message. Returns `None` if nobody is at the other end any more.
///
/// # Errors
/// Returns an error if it is not a message of this kind, or if it is too long.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    receive_with(socket, RecvFlags::empty())
}

fn receive_with<T: DeserializeOwned>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            received => break received?,
        }
    };
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    };
    let fds: Vec<OwnedFd> = control.drain().filter_map(rights).flatten().collect();
    for fd in &fds {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let message = bytes.get(..received.bytes).unwrap_or_default();
    Ok(Some((serde_json::from_slice(message)?, fds)))
}

/// Receives messages without blocking other tasks.
#[derive(Debug)]
pub struct Incoming(UnixStream);

impl Incoming {
    /// Creates a receiver for the messages of a socket.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be polled.
    pub fn on(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    /// Waits for the next message. Returns `None` if nobody is at the other end any more.
    ///
    /// # Errors
    /// Returns an error if it is not a message of this kind, or if it is too long.
    pub async fn next<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            self.0.readable().await?;
            match self.0.try_io(Interest::READABLE, || receive_with(&self.0, RecvFlags::DONTWAIT)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_message_comes_whole_with_its_descriptors_and_the_end_is_told() {
        let (near, far) = pair().unwrap();
        let (mut out, into) = io::pipe().unwrap();
        send(&near, &["one", "two"], &[into.as_fd()]).unwrap();
        drop(into);
        let (words, fds): (Vec<String>, _) = receive(&far).unwrap().unwrap();
        assert_eq!((words, fds.len()), (vec!["one".to_owned(), "two".to_owned()], 1));
        std::fs::File::from(fds.into_iter().next().unwrap()).write_all(b"through").unwrap();
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        assert_eq!(said, "through");
        assert!(send(&near, &"x".repeat(MAX), &[]).is_err());
        send(&near, &"no number", &[]).unwrap();
        assert!(receive::<u32>(&far).is_err());
        drop(near);
        assert!(receive::<u32>(&far).unwrap().is_none());
    }
}
