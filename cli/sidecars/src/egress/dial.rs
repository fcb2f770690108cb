//! Resolves a host, checks its addresses and connects to the first of them that accepts, or has the parent proxy
//! connect to it.

use super::open::{Destination, Dialled, OpenConnections};
use super::parent::{NoWay, ParentWay};
use super::race;
use bottle_core::egress::{Denial, HostName, Rules, reached};
use bottle_core::parent::ParentUse;
use bottle_host::defence::Defence;
use bottle_host::proxies::Proxy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for this machine's resolver where a parent proxy resolves the name again.
const RESOLVE_BRIEFLY: Duration = Duration::from_secs(2);

/// Connects to hosts that the rules allow, and only at addresses that the rules allow.
#[derive(Clone)]
pub struct Dialer {
    rules: Arc<RwLock<Rules>>,
    chooser: Chooser,
    open: OpenConnections<Chooser>,
    parent: Option<ParentWay>,
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
    /// The parent proxy does not lead there.
    #[error(transparent)]
    Parent(#[from] NoWay),
}

impl Dialer {
    /// Creates a dialer for hosts that `chooser` chose. Its connections are registered in `open`, and go through
    /// `parent` where that leads to them.
    pub fn new(
        rules: Arc<RwLock<Rules>>,
        chooser: Chooser,
        open: OpenConnections<Chooser>,
        parent: Option<ParentWay>,
    ) -> Self {
        Self { rules, chooser, open, parent }
    }

    /// Checks, before the name is resolved, whether a request may leave at all.
    pub fn check(&self, host: &HostName, port: u16) -> Result<(), Denial> {
        self.read(|rules| self.chooser.check(rules, host, port))
    }

    pub fn read<T>(&self, look: impl FnOnce(&Rules) -> T) -> T {
        look(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects to `host`: through the parent proxy if it leads there, or else to one of the host's addresses. If
    /// any address is forbidden, none is tried: a name that mixes public and private addresses is not trusted.
    pub async fn dial(&self, host: &HostName, port: u16) -> Result<Dialled, DialError> {
        self.check(host, port).map_err(DialError::Denied)?;
        let stream = match self.parent(ParentUse::Tunnel, host)? {
            Some((way, proxy)) => {
                self.check_what_is_known(host, port).await?;
                way.tunnel(&proxy, host, port).await?
            }
            None => self.straight(host, port).await?,
        };
        self.registered(host, port, stream)
    }

    /// Connects to `host` without a parent proxy, as [`dial`](Self::dial) does.
    pub async fn dial_straight(&self, host: &HostName, port: u16) -> Result<Dialled, DialError> {
        self.check(host, port).map_err(DialError::Denied)?;
        let stream = self.straight(host, port).await?;
        self.registered(host, port, stream)
    }

    /// Connects to the parent proxy for requests in plain HTTP to `host`, if it leads there.
    pub async fn dial_parent(
        &self,
        host: &HostName,
        port: u16,
    ) -> Result<Option<Dialled<UnixStream>>, DialError> {
        self.check(host, port).map_err(DialError::Denied)?;
        let Some((way, proxy)) = self.parent(ParentUse::Plain, host)? else { return Ok(None) };
        self.check_what_is_known(host, port).await?;
        let stream = way.plain(&proxy).await?;
        Ok(Some(self.registered(host, port, stream)?))
    }

    /// Returns the address of the parent proxy that leads to `host`, for the log.
    pub fn parent_of(&self, of: ParentUse, host: &HostName) -> Option<String> {
        Some(self.parent(of, host).ok()??.1.address())
    }

    fn parent(&self, of: ParentUse, host: &HostName) -> Result<Option<(&ParentWay, Proxy)>, DialError> {
        // Only the egress proxy knows these names, each with its address.
        if self.read(|rules| rules.hosts.contains_key(host)) {
            return Ok(None);
        }
        let Some(way) = &self.parent else { return Ok(None) };
        Ok(way.proxy(of, host)?.map(|proxy| (way, proxy)))
    }

    /// Checks what this machine's resolver knows of a host that the parent proxy resolves again. Often it knows
    /// no name outside of its own network.
    async fn check_what_is_known(&self, host: &HostName, port: u16) -> Result<(), DialError> {
        match self.resolve(host, port, RESOLVE_BRIEFLY).await {
            Ok(addresses) => self.check_addresses(host, &addresses),
            Err(_) if self.chooser == Chooser::Operator => Ok(()),
            Err(_) => self.read(|rules| rules.check_unknown(host)).map_err(DialError::Denied),
        }
    }

    async fn straight(&self, host: &HostName, port: u16) -> Result<TcpStream, DialError> {
        let addresses = self.resolve(host, port, RESOLVE_LIMIT).await?;
        self.check_addresses(host, &addresses)?;
        if addresses.is_empty() {
            return Err(DialError::Resolve(host.clone()));
        }
        let to = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        race::connect(to).await.map_err(|error| DialError::Unreachable(host.clone(), error.to_string()))
    }

    fn check_addresses(&self, host: &HostName, addresses: &[IpAddr]) -> Result<(), DialError> {
        for &address in addresses {
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
        Ok(())
    }

    /// Puts a new connection into the list.
    fn registered<S>(&self, host: &HostName, port: u16, stream: S) -> Result<Dialled<S>, DialError> {
        let destination = Destination { host: host.clone(), port, chooser: self.chooser };
        let dialled = self.open.add(destination, stream);
        // A rule may have changed during the dial, when this connection was not in the list yet. Check again.
        self.check(host, port).map_err(DialError::Denied)?;
        Ok(dialled)
    }

    async fn resolve(&self, host: &HostName, port: u16, limit: Duration) -> Result<Vec<IpAddr>, DialError> {
        if let Some(address) = self.read(|rules| rules.hosts.get(host).copied()) {
            return Ok(vec![address]);
        }
        let looked_up = tokio::net::lookup_host((host.as_str(), port));
        match tokio::time::timeout(limit, looked_up).await {
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
