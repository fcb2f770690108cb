//! The process that holds the keys of `[[upstream]]`, and that no guest's byte reaches unread.
//!
//! The keeper reads what a guest sends; so it never has a key. It dials an upstream, as its rules
//! say, and hands the connection here with one end of a socket. This process speaks TLS on the
//! connection, as the name of the origin and nothing else, and passes on what is asked on the socket:
//! requests that the keeper has read and written anew, for paths below the upstream's own, each with
//! the header that carries the key. It opens no file and no connection of its own.

mod passed;
mod secrets;
mod serve;

pub use serve::main;

use anyhow::{Context, Result, bail};
use bottle_core::upstream::{NoRoute, Route, Upstream};
use bottle_host::defence::Defence;
use bottle_host::starter::Said;
use bottle_host::starter::wire;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

/// The longest reason for which there is no connection, in bytes.
const MAX_WHY: u64 = 4096;

/// What this process tells its keeper beside answers: a key was in the answer to this request, which
/// therefore ended there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Echoed {
    request: String,
}

/// Finds the upstream of a request's path and query. In a debug build the path below it may go
/// unchecked.
///
/// # Errors
/// [`NoRoute`] where there is none, or a server could read the path as another.
pub fn route<'a>(upstreams: &[Upstream], target: &'a str) -> std::result::Result<Route<'a>, NoRoute> {
    if Defence::UpstreamPath.stands() {
        bottle_core::upstream::route(upstreams, target)
    } else {
        bottle_core::upstream::find(upstreams, target)
    }
}

/// Names the upstream that a connection is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct For {
    upstream: usize,
}

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
