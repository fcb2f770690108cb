//! The guest link's addresses.

use core::fmt;
use core::net::Ipv4Addr;
use serde::{Deserialize, Serialize};

/// The octet that people associate with docker's default bridge, 172.17.0.0/16. No bottle has it.
const DOCKER_OCTET: u8 = 17;

/// A `192.168.N.0/24` network with fixed roles: gateway .1, guest .2, proxy .254.
///
/// `N` is 1..=254 and never 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subnet(u8);

/// A third octet that no bottle's subnet can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSubnet(pub u8);

impl fmt::Display for InvalidSubnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(octet) = self;
        write!(f, "192.168.{octet}.0/24 is not a subnet of a bottle: the third octet is 1..=254 and never 17")
    }
}

impl core::error::Error for InvalidSubnet {}

impl Subnet {
    /// The only subnet that gvproxy knows before version 0.8.8.
    pub const FIXED: Self = Self(127);

    /// Returns the third octet.
    pub fn octet(self) -> u8 {
        self.0
    }

    /// Returns the address of the virtual router, which is also the guest's resolver: `.1`.
    pub fn gateway(self) -> Ipv4Addr {
        self.host(1)
    }

    /// Returns the guest's address: `.2`.
    pub fn guest(self) -> Ipv4Addr {
        self.host(2)
    }

    /// Returns the address of `proxy.internal`: `.254`.
    pub fn proxy(self) -> Ipv4Addr {
        self.host(254)
    }

    fn host(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.0, last)
    }
}

impl TryFrom<u8> for Subnet {
    type Error = InvalidSubnet;

    fn try_from(octet: u8) -> Result<Self, InvalidSubnet> {
        match octet {
            0 | 255 | DOCKER_OCTET => Err(InvalidSubnet(octet)),
            _ => Ok(Self(octet)),
        }
    }
}

impl From<Subnet> for u8 {
    fn from(subnet: Subnet) -> Self {
        subnet.0
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "192.168.{}.0/24", self.0)
    }
}
