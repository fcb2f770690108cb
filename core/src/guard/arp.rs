//! ARP packets for IPv4 over Ethernet.

use super::ethernet::{Ethernet, Mac};
use super::refusal::Refusal;
use core::net::Ipv4Addr;

/// Ethernet, IPv4, six-byte and four-byte addresses: the only form there is on this link.
const FORM: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const LEN: usize = 28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// A checked view of an ARP packet (RFC 826).
pub(super) struct Arp {
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target: Ipv4Addr,
}

impl Arp {
    pub fn parse(ethernet: &Ethernet<'_>) -> Result<Self, Refusal> {
        ethernet.holds(LEN)?;
        let field = |at: usize| -> Result<Ipv4Addr, Refusal> {
            let octets: [u8; 4] =
                ethernet.payload.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(Refusal::Truncated)?;
            Ok(octets.into())
        };
        let (form, rest) = ethernet.payload.split_first_chunk::<6>().ok_or(Refusal::Truncated)?;
        let (operation, rest) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        let (&sender_mac, _) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        if *form != FORM || !matches!(u16::from_be_bytes(*operation), REQUEST | REPLY) {
            return Err(Refusal::ArpMalformed);
        }
        Ok(Self { sender_mac, sender: field(14)?, target: field(24)? })
    }
}
