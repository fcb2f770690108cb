//! What may leave through the egress proxy. By default nothing may.

mod address;
mod host;
mod sni;

pub use address::{AddressClass, classify, reached};
pub use host::{HostName, HostPattern, HostRule, InvalidHost, authority};
pub use sni::{ClientHello, MAX_HELLO, client_hello};

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// The rules of a bottle's egress proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rules {
    /// The hosts that a guest may reach, each with its ports.
    #[serde(default)]
    pub allow: Vec<HostRule>,
    /// Hosts that stay closed although `allow` covers them.
    #[serde(default)]
    pub deny: Vec<HostPattern>,
    /// Hosts that may resolve to an address that is not public.
    #[serde(default)]
    pub allow_private: Vec<HostPattern>,
    /// Hosts to which a guest may open a TLS connection that names no server.
    #[serde(default)]
    pub allow_no_sni: Vec<HostPattern>,
    /// Names that only the proxy knows, each with the one address that it leads to. An operator who writes
    /// an address here means it, so it does not have to be public.
    #[serde(default)]
    pub hosts: BTreeMap<HostName, IpAddr>,
}

/// Why a request may not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No rule allows this host.
    Host(HostName),
    /// A rule allows this host, but not this port.
    Port(HostName, u16),
    /// A rule closes this host.
    Closed(HostName),
    /// The destination is an address, not a name.
    AddressLiteral(IpAddr),
    /// The name leads to an address that is not public.
    Address(HostName, IpAddr, AddressClass),
    /// The name leads to this machine itself, at an address that others can reach, too.
    Own(HostName, IpAddr),
    /// Only a rule for every host covers the name, and only a parent proxy could resolve it.
    Unknown(HostName),
    /// The TLS connection names a different server than the request did.
    ServerName(HostName, HostName),
    /// The TLS connection names no server.
    NoServerName(HostName),
    /// The connection should be TLS and is not.
    NotTls(HostName),
    /// The request contains nothing that can be read as a host.
    Unreadable,
}

impl Rules {
    /// Checks whether a request for `host` and `port` may leave, before the name is resolved.
    ///
    /// # Errors
    /// Returns the [`Denial`] if it may not.
    pub fn check(&self, host: &HostName, port: u16) -> Result<(), Denial> {
        self.check_closed(host)?;
        let mut known = false;
        for rule in &self.allow {
            if rule.pattern.matches(host) {
                if rule.ports.contains(&port) {
                    return Ok(());
                }
                known = true;
            }
        }
        Err(if known { Denial::Port(host.clone(), port) } else { Denial::Host(host.clone()) })
    }

    /// Returns whether everything that another rule would open is open already.
    pub fn opens(&self, wanted: &HostRule) -> bool {
        let is_open = |port: &u16| {
            self.allow.iter().any(|rule| rule.ports.contains(port) && rule.pattern.covers(&wanted.pattern))
        };
        let closes = |closed: &HostPattern| closed.covers(&wanted.pattern) || wanted.pattern.covers(closed);
        wanted.ports.iter().all(is_open) && !self.deny.iter().any(closes)
    }

    /// Checks that no rule closes `host`. An upstream's own host has to pass this, too.
    ///
    /// # Errors
    /// Returns [`Denial::Closed`] if one does.
    pub fn check_closed(&self, host: &HostName) -> Result<(), Denial> {
        let closed = self.deny.iter().any(|pattern| pattern.matches(host));
        if closed { Err(Denial::Closed(host.clone())) } else { Ok(()) }
    }

    /// Checks whether the proxy may connect to `host` at `address`, to which its name resolved.
    ///
    /// # Errors
    /// Returns the [`Denial`] if it may not.
    pub fn check_address(&self, host: &HostName, address: IpAddr) -> Result<(), Denial> {
        if self.hosts.get(host) == Some(&address) {
            return Ok(());
        }
        match classify(address) {
            AddressClass::Public => Ok(()),
            // Nobody ever means these, so no rule opens them.
            class @ (AddressClass::Unspecified | AddressClass::Multicast | AddressClass::Broadcast) => {
                Err(Denial::Address(host.clone(), address, class))
            }
            _ if self.allow_private.iter().any(|pattern| pattern.names(host)) => Ok(()),
            class => Err(Denial::Address(host.clone(), address, class)),
        }
    }

    /// Checks whether a parent proxy may be asked for `host`, a name that this machine's resolver does not know. The
    /// parent resolves it, and nobody checks what address it finds. So a rule has to name the host: one that opens
    /// every host does not mean the hosts of the parent's own network.
    ///
    /// # Errors
    /// Returns [`Denial::Unknown`] if no rule names it.
    pub fn check_unknown(&self, host: &HostName) -> Result<(), Denial> {
        let named = self.allow.iter().any(|rule| rule.pattern.names(host));
        if named { Ok(()) } else { Err(Denial::Unknown(host.clone())) }
    }

    /// Returns the rules that open every host.
    pub fn open_to_all(&self) -> impl Iterator<Item = &HostRule> {
        self.allow.iter().filter(|rule| rule.pattern == HostPattern::Any)
    }

    /// Checks whether the proxy may connect to `host` at one of this machine's own addresses. What listens
    /// there was never meant for a guest, unless the operator names the host or the address.
    ///
    /// # Errors
    /// Returns [`Denial::Own`] if it may not.
    pub fn check_own(&self, host: &HostName, address: IpAddr) -> Result<(), Denial> {
        let meant = self.hosts.get(host) == Some(&address)
            || self.allow_private.iter().any(|pattern| pattern.names(host));
        if meant { Ok(()) } else { Err(Denial::Own(host.clone(), address)) }
    }

    /// Checks whether a TLS connection that was requested for `host` may continue.
    ///
    /// # Errors
    /// Returns the [`Denial`] if it is not TLS, names another server, or names none where one is required.
    pub fn check_server_name(&self, host: &HostName, hello: &ClientHello) -> Result<(), Denial> {
        match hello {
            ClientHello::ServerName(name) if name == host => Ok(()),
            ClientHello::ServerName(name) => Err(Denial::ServerName(host.clone(), name.clone())),
            ClientHello::NoServerName if self.allow_no_sni.iter().any(|p| p.names(host)) => Ok(()),
            ClientHello::NoServerName => Err(Denial::NoServerName(host.clone())),
            ClientHello::Partial | ClientHello::NotTls => Err(Denial::NotTls(host.clone())),
        }
    }
}

impl Denial {
    /// Returns a stable word for logs and counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Port(..) => "port",
            Self::Closed(_) => "closed",
            Self::AddressLiteral(_) => "address-literal",
            Self::Address(..) => "address",
            Self::Own(..) => "own-address",
            Self::Unknown(_) => "unknown",
            Self::ServerName(..) => "server-name",
            Self::NoServerName(_) => "no-server-name",
            Self::NotTls(_) => "not-tls",
            Self::Unreadable => "unreadable",
        }
    }

    /// Returns the host that the request named, if it named one.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Host(host)
            | Self::Port(host, _)
            | Self::Closed(host)
            | Self::Address(host, ..)
            | Self::Own(host, _)
            | Self::Unknown(host)
            | Self::ServerName(host, _)
            | Self::NoServerName(host)
            | Self::NotTls(host) => Some(host),
            Self::AddressLiteral(_) | Self::Unreadable => None,
        }
    }

    /// Returns the host, and the port if one is missing, that a person could allow to let this request pass.
    pub fn could_allow(&self) -> Option<(&HostName, Option<u16>)> {
        match self {
            Self::Host(host) | Self::Closed(host) | Self::Unknown(host) => Some((host, None)),
            Self::Port(host, port) => Some((host, Some(*port))),
            _ => None,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "no rule allows {host}"),
            Self::Port(host, port) => write!(f, "the rules allow {host}, but not its port {port}"),
            Self::Closed(host) => write!(f, "a rule closes {host}"),
            Self::AddressLiteral(address) => {
                write!(f, "{address} is an address; only names can be allowed")
            }
            Self::Address(host, address, class) => {
                write!(f, "{host} leads to {address}, {class}")
            }
            Self::Own(host, address) => write!(f, "{host} leads to {address}, an address of this machine"),
            Self::Unknown(host) => {
                write!(
                    f,
                    "{host} has no address here, and \"*\" does not cover what only a parent proxy can resolve"
                )
            }
            Self::ServerName(host, name) => {
                write!(f, "the connection to {host} asks for the server {name}")
            }
            Self::NoServerName(host) => write!(f, "the connection to {host} names no server"),
            Self::NotTls(host) => write!(f, "the connection to {host} is not TLS"),
            Self::Unreadable => f.write_str("the request names no host"),
        }
    }
}
