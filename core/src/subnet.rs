//! The guest link's addresses.

use crate::slug::Slug;
use core::fmt;
use core::net::Ipv4Addr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Separates this hash from every other use of SHA-256 over a slug, and pins its version.
const DOMAIN: &[u8] = b"bottle/subnet/v1";

/// The third octet that docker's default bridge, 172.17.0.0/16, is known by. No bottle has it.
const DOCKER_OCTET: u8 = 17;

/// A `192.168.N.0/24` network with fixed roles: gateway .1, guest .2, proxy .254.
///
/// `N` is 1..=254 and never 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Subnet(u8);

/// A third octet that no bottle's subnet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("192.168.{0}.0/24 is not a subnet of a bottle: the third octet is 1..=254 and never 17")]
pub struct InvalidSubnet(pub u8);

impl Subnet {
    /// The only subnet that gvproxy before 0.8.8 knows.
    pub const FIXED: Self = Self(127);

    /// The subnet of a slug, the same for ever.
    ///
    /// SHA-256 of [`DOMAIN`], an attempt byte and the slug; its first eight bytes, big-endian,
    /// modulo 254, plus one; on 17 the next attempt.
    pub fn for_slug(slug: &Slug) -> Self {
        for attempt in 0..=u8::MAX {
            let digest = Sha256::new()
                .chain_update(DOMAIN)
                .chain_update([attempt])
                .chain_update(slug.as_str())
                .finalize();
            let mut head = [0; 8];
            head.copy_from_slice(&digest[..8]);
            let octet = (u64::from_be_bytes(head) % 254 + 1).to_le_bytes()[0];
            if let Ok(subnet) = Self::try_from(octet) {
                return subnet;
            }
        }
        // 256 digests in a row that all fall on 17: (1/254)^256. The value is still a valid one.
        Self::FIXED
    }

    /// The third octet.
    pub fn octet(self) -> u8 {
        self.0
    }

    /// The virtual router and the guest's resolver: `.1`.
    pub fn gateway(self) -> Ipv4Addr {
        self.host(1)
    }

    /// The guest: `.2`.
    pub fn guest(self) -> Ipv4Addr {
        self.host(2)
    }

    /// What `proxy.internal` resolves to: `.254`.
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
