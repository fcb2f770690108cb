//! The first wall: a pure decision on every Ethernet frame.
//!
//! From the guest only two things pass: ARP for the gateway and the proxy address, and TCP over
//! IPv4 to the proxy address on the port of an active sidecar. DNS for `proxy.internal` is
//! answered here, so no question ever reaches a resolver that could recurse. Everything else is
//! refused with a typed [`Refusal`], and where a reply can be made from the refused frame alone it
//! is made: a refusal must not look like a hang. To the guest the mirror image passes.
//!
//! A decision looks at headers only, so its cost does not grow with the frame, and it never
//! allocates: the caller owns the [`Reply`] that an answer is written into.

mod about;
mod arp;
mod dns;
mod ipv4;
pub mod knock;
mod refusal;
mod reply;

pub use about::about;
pub use refusal::Refusal;
pub use reply::Reply;
pub(crate) use reply::checksum;

/// The guard's own views of a frame, for those of this crate that read one.
pub(crate) mod view {
    pub(crate) use super::ipv4::{Ipv4, Tcp, Udp, protocol};
    pub(crate) use super::{Ethernet, ethertype};
}

use crate::subnet::Subnet;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::net::Ipv4Addr;

/// A hardware address.
pub type Mac = [u8; 6];

/// The gateway's hardware address: gvproxy's default (`cmd/gvproxy/config.go`), stated in
/// `gvproxy.yaml` all the same.
pub const GATEWAY_MAC: Mac = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd];

/// The guest's hardware address: the one for which gvproxy leases `.2` by default.
pub const GUEST_MAC: Mac = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];

const ETHERNET_LEN: usize = 14;

/// The shortest frame that a wire carries, without its checksum. Shorter content may be padded up
/// to here, and no further.
const PADDED_LEN: usize = 60;

/// What the guard knows of its bottle: the addresses of the link and the doors' ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    gateway: Ipv4Addr,
    guest: Ipv4Addr,
    proxy: Ipv4Addr,
    doors: Box<[u16]>,
}

/// What happens to a frame from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// Hand it on, unchanged.
    Forward,
    /// Drop it; this frame, for the guest, is the answer that it asked for.
    Answer(&'r [u8]),
    /// Drop it. The second part, if any, is a frame that tells the guest so.
    Refuse(Refusal, Option<&'r [u8]>),
}

impl Guard {
    /// The guard of a bottle with `subnet`, whose sidecars listen on the ports `doors`.
    pub fn new(subnet: Subnet, doors: &BTreeSet<u16>) -> Self {
        Self {
            gateway: subnet.gateway(),
            guest: subnet.guest(),
            proxy: subnet.proxy(),
            doors: doors.iter().copied().collect(),
        }
    }

    /// Decides on a frame that the guest sent.
    pub fn from_guest<'r>(&self, frame: &[u8], reply: &'r mut Reply) -> Verdict<'r> {
        reply.clear();
        let decision = Ethernet::parse(frame).and_then(|ethernet| {
            if ethernet.source != GUEST_MAC {
                return Err(Refusal::SourceMac);
            }
            match ethernet.kind {
                ethertype::ARP => self.arp_from_guest(&ethernet),
                ethertype::IPV4 => return self.ipv4_from_guest(&ethernet, reply),
                other => Err(Refusal::of_ethertype(other)),
            }
            .map(|()| Decision::Forward)
        });
        let bytes = (!reply.is_empty()).then(|| reply.as_bytes());
        match (decision, bytes) {
            (Ok(Decision::Answer), Some(bytes)) => Verdict::Answer(bytes),
            (Ok(Decision::Answer), None) => Verdict::Refuse(Refusal::DnsMalformed, None),
            (Ok(Decision::Forward), _) => Verdict::Forward,
            (Err(refusal), bytes) => Verdict::Refuse(refusal, bytes),
        }
    }

    /// Decides on a frame that the network stack sent to the guest: the mirror image.
    ///
    /// # Errors
    /// The reason for which the frame is dropped. No reply is ever made in this direction.
    pub fn to_guest(&self, frame: &[u8]) -> Result<(), Refusal> {
        let ethernet = Ethernet::parse(frame)?;
        if ethernet.source != GATEWAY_MAC {
            return Err(Refusal::SourceMac);
        }
        match ethernet.kind {
            ethertype::ARP => self.arp_to_guest(&ethernet),
            ethertype::IPV4 => self.ipv4_to_guest(&ethernet),
            other => Err(Refusal::of_ethertype(other)),
        }
    }

    /// The gateway's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The guest's address.
    pub fn guest(&self) -> Ipv4Addr {
        self.guest
    }

    /// The proxy's address.
    pub fn proxy(&self) -> Ipv4Addr {
        self.proxy
    }

    fn is_door(&self, port: u16) -> bool {
        self.doors.contains(&port)
    }
}

/// What the parts of the guard say of a frame that is not refused.
enum Decision {
    Forward,
    Answer,
}

pub(crate) mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const PROVIDER_VLAN: u16 = 0x88a8;
}

const BROADCAST: Mac = [0xff; 6];

/// A checked view of an Ethernet II frame.
pub(crate) struct Ethernet<'f> {
    destination: Mac,
    source: Mac,
    pub(crate) kind: u16,
    pub(crate) payload: &'f [u8],
    /// The most bytes that may follow what the payload itself accounts for.
    padding: usize,
}

impl<'f> Ethernet<'f> {
    pub(crate) fn parse(frame: &'f [u8]) -> Result<Self, Refusal> {
        if frame.len() > crate::wire::MAX_FRAME {
            return Err(Refusal::TooLong);
        }
        let (&destination, rest) = frame.split_first_chunk().ok_or(Refusal::Truncated)?;
        let (&source, rest) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        let (&kind, payload) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        let padding = PADDED_LEN.saturating_sub(ETHERNET_LEN);
        Ok(Self { destination, source, kind: u16::from_be_bytes(kind), payload, padding })
    }

    fn is_group(&self) -> bool {
        self.destination[0] & 1 == 1
    }

    /// Whether content of `len` bytes fills the payload, but for the padding of a short frame.
    fn holds(&self, len: usize) -> Result<(), Refusal> {
        if self.payload.len() < len {
            Err(Refusal::Truncated)
        } else if self.payload.len() > len.max(self.padding) {
            Err(Refusal::Trailer)
        } else {
            Ok(())
        }
    }
}
