//! Resolves a host, checks its addresses and connects to the first of them that accepts.

use super::open::{Destination, Dialled, OpenConnections};
use super::race;
use bottle_core::egress::{Denial, HostName, Rules, authority, reached};
use bottle_host::defence::Defence;
use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;

const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// Connects to hosts that the rules allow, and only at addresses that the rules allow.
#[derive(Clone)]
pub struct Dialer {
    rules: Arc<RwLock<Rules>>,
    chooser: Chooser,
    open: OpenConnections<Chooser>,
}

/// Who chose the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooser {
    /// The agent chose it, so a rule must allow it.
    Agent,
    /// The operator chose it in `bottle.toml`, so it is allowed unless a rule denies it.
    Operator,
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialError {
    /// A rule denies it.
    #[error("{0}")]
    Denied(Denial),
    /// The name does not resolve.
    #[error("{0} does not resolve")]
    Resolve(HostName),
    /// The host does not accept the connection in time, or at all.
    #[error("{0} does not answer: {1}")]
    Unreachable(HostName, String),
}

impl Dialer {
    /// Creates a dialer for hosts that `chooser` chose. Its connections are registered in `open`.
    pub fn new(rules: Arc<RwLock<Rules>>, chooser: Chooser, open: OpenConnections<Chooser>) -> Self {
        Self { rules, chooser, open }
    }

    /// Checks, before the name is resolved, whether a request may leave at all.
    pub fn check(&self, host: &HostName, port: u16) -> Result<(), Denial> {
        self.read(|rules| self.chooser.check(rules, host, port))
    }

    pub fn read<T>(&self, look: impl FnOnce(&Rules) -> T) -> T {
        look(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves `host` and connects to one of its addresses. If any address is forbidden, none is tried: a
    /// name that mixes public and private addresses is not trusted.
    pub async fn dial(&self, host: &HostName, port: u16) -> Result<Dialled, DialError> {
        self.check(host, port).map_err(DialError::Denied)?;
        let addresses = self.resolve(host, port).await?;
        for &address in &addresses {
            self.read(|rules| rules.check_address(host, address)).map_err(DialError::Denied)?;
        }
        if Defence::OwnAddresses.stands() {
            let own = own_addresses().map_err(|error| {
                DialError::Unreachable(host.clone(), format!("cannot read this machine's addresses: {error}"))
            })?;
            for &address in addresses.iter().filter(|address| is_own(**address, &own)) {
                self.read(|rules| rules.check_own(host, address)).map_err(DialError::Denied)?;
            }
        }
        if addresses.is_empty() {
            return Err(DialError::Resolve(host.clone()));
        }
        let to = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let stream = race::first(to, TcpStream::connect)
            .await
            .map_err(|error| DialError::Unreachable(host.clone(), error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let destination = Destination { host: host.clone(), port, chooser: self.chooser };
        let dialled = self.open.add(destination, stream);
        // A rule may have changed during the dial, when this connection was not in the list yet. Check again.
        self.check(host, port).map_err(DialError::Denied)?;
        Ok(dialled)
    }

    async fn resolve(&self, host: &HostName, port: u16) -> Result<Vec<IpAddr>, DialError> {
        if let Some(address) = self.read(|rules| rules.hosts.get(host).copied()) {
            return Ok(vec![address]);
        }
        let looked_up = tokio::net::lookup_host((host.as_str(), port));
        match tokio::time::timeout(RESOLVE_LIMIT, looked_up).await {
            Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
            _ => Err(DialError::Resolve(host.clone())),
        }
    }
}

impl Chooser {
    /// Checks whether the rules allow a request to this host.
    ///
    /// # Errors
    /// Returns the [`Denial`] if they do not.
    pub fn check(self, rules: &Rules, host: &HostName, port: u16) -> Result<(), Denial> {
        match self {
            Self::Agent => rules.check(host, port),
            Self::Operator => rules.check_closed(host),
        }
    }
}

/// Returns the current addresses of this machine's interfaces.
fn own_addresses() -> std::io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect())
}

/// Returns whether a packet to `address` stays on this machine: an interface has that address, or the kernel
/// would pick it as the source address too, as it does for every address in its local table
/// (`ip route show table local`). No packet is sent to find out.
fn is_own(address: IpAddr, own: &[IpAddr]) -> bool {
    let address = reached(address);
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    own.contains(&address) || from().is_ok_and(|from| from == address)
}

impl tower_service::Service<Uri> for Dialer {
    type Response = TokioIo<Dialled>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let text = uri.authority().map_or("", |authority| authority.as_str());
            let default_port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
            let (host, port) =
                authority(text, default_port).map_err(|_| DialError::Denied(Denial::Unreadable))?;
            Ok(TokioIo::new(dialer.dial(&host, port).await?))
        })
    }
}
