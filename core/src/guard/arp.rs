//! ARP: the guest and the gateway may find each other, and nobody else.

use super::{BROADCAST, Ethernet, GATEWAY_MAC, GUEST_MAC, Guard, Mac, Refusal};
use core::net::Ipv4Addr;

/// Ethernet, IPv4, six-byte and four-byte addresses: the only form there is on this link.
const FORM: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const LEN: usize = 28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// A checked view of an ARP packet for IPv4 over Ethernet (RFC 826).
struct Arp {
    sender_mac: Mac,
    sender: Ipv4Addr,
    target: Ipv4Addr,
}

impl Arp {
    fn parse(ethernet: &Ethernet<'_>) -> Result<Self, Refusal> {
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

impl Guard {
    pub(super) fn arp_from_guest(&self, ethernet: &Ethernet<'_>) -> Result<(), Refusal> {
        if ethernet.destination != BROADCAST && ethernet.destination != GATEWAY_MAC {
            return Err(Refusal::DestinationMac);
        }
        let arp = Arp::parse(ethernet)?;
        if arp.sender_mac != GUEST_MAC || arp.sender != self.guest {
            return Err(Refusal::ArpSender);
        }
        if arp.target != self.gateway && arp.target != self.proxy {
            return Err(Refusal::ArpTarget);
        }
        Ok(())
    }

    pub(super) fn arp_to_guest(&self, ethernet: &Ethernet<'_>) -> Result<(), Refusal> {
        if ethernet.destination != BROADCAST && ethernet.destination != GUEST_MAC {
            return Err(Refusal::DestinationMac);
        }
        let arp = Arp::parse(ethernet)?;
        if arp.sender_mac != GATEWAY_MAC || (arp.sender != self.gateway && arp.sender != self.proxy) {
            return Err(Refusal::ArpSender);
        }
        if arp.target != self.guest {
            return Err(Refusal::ArpTarget);
        }
        Ok(())
    }
}
