//! The keeper's end of the socket to the process that holds the keys.

use super::protocol::{Connect, KeyFound};
use anyhow::{Context, Result, bail};
use bottle_core::egress::HostName;
use bottle_host::starter::Said;
use bottle_host::starter::wire;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

/// The longest message that says why there is no connection, in bytes.
const MAX_WHY: u64 = 4096;

/// The keeper's connection to the process that holds the keys.
#[derive(Clone, Debug)]
pub struct Keys(Arc<OwnedFd>);

impl Keys {
    /// Wraps the socket to that process.
    pub fn at(socket: OwnedFd) -> Self {
        Self(Arc::new(socket))
    }

    /// Waits until every key has been found.
    ///
    /// # Errors
    /// Returns which key was not found, and where it was looked for.
    pub async fn ready(&self) -> Result<()> {
        let keys = self.clone();
        let said = tokio::task::spawn_blocking(move || wire::receive::<Said>(&*keys.0)).await??;
        match said.context("the process that holds the keys has ended")?.0 {
            Said::Failed(why) => bail!(why),
            _ => Ok(()),
        }
    }

    /// Calls `report` for each response that contained a key, and `ended` when that process ends.
    ///
    /// # Errors
    /// Returns an error if no thread can be started.
    pub fn on_key_found(
        &self,
        mut report: impl FnMut(String) + Send + 'static,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let keys = self.clone();
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while let Ok(Some((KeyFound { request }, _))) = wire::receive(&*keys.0) {
                report(request);
            }
            ended();
        })?;
        Ok(())
    }

    /// Returns a connection to an upstream. `origin` is the TCP connection to its origin.
    ///
    /// # Errors
    /// Returns why the origin could not prove its identity.
    pub async fn connect(&self, upstream: usize, origin: TcpStream) -> io::Result<UnixStream> {
        self.ask(&Connect::Upstream(upstream), &origin).await
    }

    /// Returns a tunnel to a host through the parent proxy. `proxy` is the TCP connection to that proxy.
    ///
    /// # Errors
    /// Returns why the proxy opened none.
    pub async fn tunnel(&self, host: &HostName, port: u16, proxy: TcpStream) -> io::Result<TcpStream> {
        self.ask(&Connect::Tunnel { host: host.clone(), port }, &proxy).await?;
        Ok(proxy)
    }

    /// Returns a connection for requests in plain HTTP to the parent proxy. `proxy` is the TCP connection to it.
    ///
    /// # Errors
    /// Returns why the proxy is not asked.
    pub async fn plain(&self, proxy: TcpStream) -> io::Result<UnixStream> {
        self.ask(&Connect::Plain, &proxy).await
    }

    /// Hands a connection over, and returns the socket for what is to be sent on it.
    async fn ask(&self, wanted: &Connect, connection: &TcpStream) -> io::Result<UnixStream> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        wire::send(&*self.0, wanted, &[theirs.as_fd(), connection.as_fd()]).map_err(|_| {
            io::Error::other("the process that holds the keys has ended: `bottle restart` starts it again")
        })?;
        drop(theirs);
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
