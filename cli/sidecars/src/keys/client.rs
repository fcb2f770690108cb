//! The keeper's side of the socket to the process that holds the keys.

use super::protocol::{Echoed, For};
use anyhow::{Context, Result, bail};
use bottle_host::starter::Said;
use bottle_host::starter::wire;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

/// The longest reason for which there is no connection, in bytes.
const MAX_WHY: u64 = 4096;

/// The keeper's way to the keys.
#[derive(Clone, Debug)]
pub struct Keys(Arc<OwnedFd>);

impl Keys {
    /// The process at the other end of a socket.
    pub fn at(socket: OwnedFd) -> Self {
        Self(Arc::new(socket))
    }

    /// Waits until every key is found.
    ///
    /// # Errors
    /// Which one is not, and where it was looked for.
    pub async fn ready(&self) -> Result<()> {
        let keys = self.clone();
        let said = tokio::task::spawn_blocking(move || wire::receive::<Said>(&*keys.0)).await??;
        match said.context("the process that holds the keys has ended")?.0 {
            Said::Failed(why) => bail!(why),
            _ => Ok(()),
        }
    }

    /// Tells of each answer that had a key in it, for as long as that process lives.
    ///
    /// # Errors
    /// Where there can be no thread to wait for it.
    pub fn tell(&self, mut of: impl FnMut(String) + Send + 'static) -> io::Result<()> {
        let keys = self.clone();
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while let Ok(Some((Echoed { request }, _))) = wire::receive(&*keys.0) {
                of(request);
            }
        })?;
        Ok(())
    }

    /// A connection to an upstream, of which this is the connection to its origin.
    ///
    /// # Errors
    /// Why the origin is not who it has to be.
    pub async fn connect(&self, upstream: usize, origin: TcpStream) -> io::Result<UnixStream> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let (theirs, origin) = (theirs.into_std()?, origin.into_std()?);
        wire::send(&*self.0, &For { upstream }, &[theirs.as_fd(), origin.as_fd()])
            .map_err(|_| io::Error::other("the process that holds the keys has ended: `bottle restart`"))?;
        drop((theirs, origin));
        let mut why = Vec::new();
        loop {
            match ours.read_u8().await {
                Ok(b'\n') if why.is_empty() => return Ok(ours),
                Ok(b'\n') => break,
                Ok(byte) if (why.len() as u64) < MAX_WHY => why.push(byte),
                Ok(_) => break,
                Err(error) if why.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Err(io::Error::other(String::from_utf8_lossy(&why).into_owned()))
    }
}
