//! What the guard decides.

use super::arp::Arp;
use super::dns;
use super::ethernet::{BROADCAST, Ethernet, GATEWAY_MAC, GUEST_MAC, ethertype};
use super::ipv4::{Ipv4, Tcp, Udp, protocol, unreachable};
use super::refusal::Refusal;
use super::reply::Reply;
use crate::subnet::Subnet;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::net::Ipv4Addr;

const DNS_PORT: u16 = 53;
const DHCP_PORTS: [u16; 2] = [67, 68];
const ICMP_ECHO_REQUEST: u8 = 8;

/// The guard of one bottle. It knows the addresses of the link and the ports of the doors.
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
    /// Pass it on unchanged.
    Forward,
    /// Drop it and send this frame to the guest: it is the answer that the guest asked for.
    Answer(&'r [u8]),
    /// Drop it. The second part, if any, is a frame that tells the guest so.
    Refuse(Refusal, Option<&'r [u8]>),
}

impl Guard {
    /// Makes the guard of a bottle with this subnet, whose sidecars listen on the ports `doors`.
    pub fn new(subnet: Subnet, doors: &BTreeSet<u16>) -> Self {
        Self {
            gateway: subnet.gateway(),
            guest: subnet.guest(),
            proxy: subnet.proxy(),
            doors: doors.iter().copied().collect(),
        }
    }

    /// Decides about a frame that the guest sent.
    pub fn from_guest<'r>(&self, frame: &[u8], reply: &'r mut Reply) -> Verdict<'r> {
        reply.clear();
        let decision = Ethernet::parse(frame).and_then(|ethernet| {
            if ethernet.source != GUEST_MAC {
                return Err(Refusal::SourceMac);
            }
            match ethernet.kind {
                ethertype::ARP => self.arp_from_guest(&ethernet).map(|()| Decision::Forward),
                ethertype::IPV4 => self.ipv4_from_guest(&ethernet, reply),
                other => Err(other_ethertype(other)),
            }
        });
        let bytes = (!reply.is_empty()).then(|| reply.as_bytes());
        match (decision, bytes) {
            (Ok(Decision::Answer), Some(bytes)) => Verdict::Answer(bytes),
            (Ok(Decision::Answer), None) => Verdict::Refuse(Refusal::DnsMalformed, None),
            (Ok(Decision::Forward), _) => Verdict::Forward,
            (Err(refusal), bytes) => Verdict::Refuse(refusal, bytes),
        }
    }

    /// Decides about a frame that the network stack sent to the guest.
    ///
    /// # Errors
    /// Returns why the frame is dropped. No reply is ever made in this direction.
    pub fn to_guest(&self, frame: &[u8]) -> Result<(), Refusal> {
        let ethernet = Ethernet::parse(frame)?;
        if ethernet.source != GATEWAY_MAC {
            return Err(Refusal::SourceMac);
        }
        match ethernet.kind {
            ethertype::ARP => self.arp_to_guest(&ethernet),
            ethertype::IPV4 => self.ipv4_to_guest(&ethernet),
            other => Err(other_ethertype(other)),
        }
    }

    /// Returns the gateway's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Returns the guest's address.
    pub fn guest(&self) -> Ipv4Addr {
        self.guest
    }

    /// Returns the proxy's address.
    pub fn proxy(&self) -> Ipv4Addr {
        self.proxy
    }

    fn is_door(&self, port: u16) -> bool {
        self.doors.contains(&port)
    }
}

/// What happens to a frame that is not refused.
enum Decision {
    Forward,
    Answer,
}

impl Guard {
    fn arp_from_guest(&self, ethernet: &Ethernet<'_>) -> Result<(), Refusal> {
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

    fn arp_to_guest(&self, ethernet: &Ethernet<'_>) -> Result<(), Refusal> {
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

    fn ipv4_from_guest(&self, ethernet: &Ethernet<'_>, reply: &mut Reply) -> Result<Decision, Refusal> {
        if ethernet.is_group() {
            return Err(
                match Ipv4::parse(ethernet).as_ref().map(|ip| (ip.protocol, Udp::parse(ip.payload))) {
                    Ok((protocol::UDP, Ok(udp))) if DHCP_PORTS.contains(&udp.destination) => Refusal::Dhcp,
                    _ => Refusal::Broadcast,
                },
            );
        }
        if ethernet.destination != GATEWAY_MAC {
            return Err(Refusal::DestinationMac);
        }
        let ip = Ipv4::parse(ethernet)?;
        if ip.source != self.guest {
            return Err(Refusal::SourceAddress);
        }
        match ip.protocol {
            protocol::TCP => {
                let tcp = Tcp::parse(ip.payload)?;
                let refusal = if ip.destination != self.proxy {
                    Refusal::TcpAddress
                } else if !self.is_door(tcp.destination) {
                    Refusal::TcpPort
                } else {
                    return Ok(Decision::Forward);
                };
                reply.reset(&ip, &tcp);
                Err(refusal)
            }
            protocol::UDP => {
                let udp = Udp::parse(ip.payload)?;
                if ip.destination == self.gateway && udp.destination == DNS_PORT {
                    return dns::answer(&ip, &udp, self.proxy, reply).map(|()| Decision::Answer);
                }
                reply.unreachable(&ip, unreachable::PORT);
                let dhcp = DHCP_PORTS.contains(&udp.destination);
                Err(if dhcp { Refusal::Dhcp } else { Refusal::Udp })
            }
            protocol::ICMP => {
                // An error about an error could loop (RFC 1122, 3.2.2); one about a request cannot.
                if ip.payload.first() == Some(&ICMP_ECHO_REQUEST) {
                    reply.unreachable(&ip, unreachable::PROHIBITED);
                }
                Err(Refusal::Icmp)
            }
            _ => {
                reply.unreachable(&ip, unreachable::PROTOCOL);
                Err(Refusal::Protocol)
            }
        }
    }

    fn ipv4_to_guest(&self, ethernet: &Ethernet<'_>) -> Result<(), Refusal> {
        if ethernet.is_group() {
            return Err(Refusal::Broadcast);
        }
        if ethernet.destination != GUEST_MAC {
            return Err(Refusal::DestinationMac);
        }
        let ip = Ipv4::parse(ethernet)?;
        if ip.source != self.proxy && ip.source != self.gateway {
            return Err(Refusal::SourceAddress);
        }
        match ip.protocol {
            protocol::TCP if ip.destination != self.guest || ip.source != self.proxy => {
                Err(Refusal::TcpAddress)
            }
            protocol::TCP if self.is_door(Tcp::parse(ip.payload)?.source) => Ok(()),
            protocol::TCP => Err(Refusal::TcpPort),
            protocol::UDP => Err(Refusal::Udp),
            protocol::ICMP => Err(Refusal::Icmp),
            _ => Err(Refusal::Protocol),
        }
    }
}

/// Returns why a frame of this type does not pass.
const fn other_ethertype(kind: u16) -> Refusal {
    match kind {
        ethertype::IPV6 => Refusal::Ipv6,
        ethertype::VLAN | ethertype::PROVIDER_VLAN => Refusal::Vlan,
        _ => Refusal::EtherType,
    }
}
