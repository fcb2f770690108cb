//! A connection to a server in a guest: a call of smolvm that runs the helper there.

use super::command::Smolvm;
use super::launch::Terminal;
use crate::process::die_with_parent;
use bottle_core::helper::HELPER;
use bottle_core::slug::Slug;
use rustix::process::Signal;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// How long a call may take to end once its stream is closed.
const REST: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

/// The call that carries a connection.
#[derive(Debug)]
pub struct Carrier(Child);

impl Smolvm {
    /// Opens a stream to a port of the guest's own loopback. It carries the chunks of [`bottle_core::stream`], and it
    /// breaks off if nothing listens there.
    ///
    /// # Errors
    /// Returns an error if smolvm cannot be called.
    pub fn connect(&self, slug: &Slug, port: NonZeroU16) -> io::Result<(UnixStream, Carrier)> {
        let (ours, theirs) = UnixStream::pair()?;
        let port = port.to_string();
        let mut call = self.exec(slug, Terminal::Pipe, &[HELPER, "connect", "--port", &port]);
        call.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
        die_with_parent(&mut call, Signal::TERM);
        Ok((ours, Carrier(call.spawn()?)))
    }
}

impl Carrier {
    /// Waits for a call whose stream is closed, and ends it if it does not.
    pub async fn end(mut self) {
        let until = tokio::time::Instant::now() + REST;
        while tokio::time::Instant::now() < until {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            tokio::time::sleep(GLANCE).await;
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
