//! Frames in words, for a log. Nothing here decides.

use super::dns::question_name;
use super::ethernet::{Ethernet, ethertype};
use super::ipv4::{Ipv4, Tcp, Udp, protocol};
use alloc::format;
use alloc::string::String;

/// Returns where a frame wanted to go, in words: `tcp 1.2.3.4:80`, `dns example.com`, `arp`, ...
///
/// The text comes from the guest and is only data: whoever shows it must escape it.
pub fn describe(frame: &[u8]) -> String {
    let Ok(ethernet) = Ethernet::parse(frame) else { return String::from("a frame too short to read") };
    match ethernet.kind {
        ethertype::IPV4 => {}
        ethertype::ARP => return String::from("arp"),
        other => return format!("ethertype {other:#06x}"),
    }
    let Ok(ip) = Ipv4::parse(&ethernet) else { return String::from("ipv4") };
    let to = ip.destination;
    match ip.protocol {
        protocol::TCP => match Tcp::parse(ip.payload) {
            Ok(tcp) => format!("tcp {to}:{}", tcp.destination),
            Err(_) => format!("tcp {to}"),
        },
        protocol::UDP => match Udp::parse(ip.payload) {
            Ok(udp) => match question_name(udp.payload).filter(|_| udp.destination == 53) {
                Some(name) => format!("dns {name}"),
                None => format!("udp {to}:{}", udp.destination),
            },
            Err(_) => format!("udp {to}"),
        },
        protocol::ICMP => format!("icmp {to}"),
        other => format!("ip protocol {other} {to}"),
    }
}
