//! The questions to a guest: what it is to try.

use super::scope::{Canary, Scope};
use bottle_core::helper::GUEST_SOCKET;
use bottle_guest::probe::{Attempt, Question};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Types of DNS queries: A, NS, CNAME, NULL, MX, TXT, AAAA, SRV, ANY.
const TYPES: [u16; 9] = [1, 2, 5, 10, 15, 16, 28, 33, 255];

/// The vsock ports that are tried on each context. They include those of well-known services, of libkrun and
/// of smolvm.
const VSOCK_PORTS: [(u32, u32); 4] = [(1, 128), (1000, 1100), (5000, 5020), (6000, 6020)];

/// A growing list of questions.
#[derive(Default)]
pub struct Questions(Vec<Question>);

impl Questions {
    /// Adds a question.
    pub fn ask(&mut self, id: impl Into<String>, attempt: Attempt) {
        self.0.push(Question { id: id.into(), attempt });
    }

    /// Adds everything that can be tried without disturbing other programs in the guest.
    pub fn all(&mut self, scope: &Scope, canaries: &[Canary], nonce: &str) {
        self.ports(scope);
        self.canaries(scope, canaries);
        self.pings(scope, canaries);
        self.ipv6();
        let resolver = canaries.iter().find_map(|canary| match canary.address {
            SocketAddr::V4(address) if address.port() == 53 && !address.ip().is_loopback() => {
                Some(*address.ip())
            }
            _ => None,
        });
        self.dns("gateway", scope.gateway, nonce);
        if let Some(resolver) = resolver {
            self.dns("public", resolver, nonce);
        }
        self.forwarder(scope.gateway);
        if scope.streams {
            for (first, last) in scope.ranges() {
                let socket = GUEST_SOCKET.to_owned();
                self.ask(format!("stream {first}-{last}"), Attempt::Streams { socket, first, last });
            }
        }
        if scope.machine {
            self.vsock(canaries);
        }
    }

    fn ports(&mut self, scope: &Scope) {
        let mut hosts = vec![("gateway", scope.gateway), ("proxy", scope.proxy)];
        hosts.dedup_by_key(|(_, address)| *address);
        for (name, address) in hosts {
            let address = IpAddr::V4(address);
            for (first, last) in scope.ranges() {
                self.ask(format!("tcp {name} {first}-{last}"), Attempt::Tcp { address, first, last });
            }
            self.ask(format!("udp {name}"), Attempt::Udp { address, ports: vec![22, 67, 123, 8080, 54_321] });
        }
    }

    fn canaries(&mut self, scope: &Scope, canaries: &[Canary]) {
        for Canary { name, address } in canaries {
            let (address, port) = (address.ip(), address.port());
            // A guest's loopback is its own, unless its sockets are impersonated.
            if address.is_loopback() && !scope.machine {
                continue;
            }
            self.ask(format!("tcp canary {name}"), Attempt::Tcp { address, first: port, last: port });
            self.ask(format!("udp canary {name}"), Attempt::Udp { address, ports: vec![port] });
        }
    }

    fn pings(&mut self, scope: &Scope, canaries: &[Canary]) {
        let mut whom = BTreeMap::from([(scope.gateway, "gateway")]);
        // A guest that pings its own address talks to itself.
        if !scope.streams {
            whom.insert(scope.proxy, "proxy");
        }
        for Canary { name, address } in canaries {
            if let IpAddr::V4(address) = address.ip()
                && !address.is_loopback()
            {
                whom.entry(address).or_insert(name);
            }
        }
        for (address, name) in whom {
            self.ask(format!("ping {name}"), Attempt::Ping { address });
        }
    }

    fn ipv6(&mut self) {
        for address in ["fd00:ec2::254", "fe80::1", "ff02::1", "2001:db8::1", "::ffff:192.0.2.10"] {
            let Ok(address) = address.parse::<IpAddr>() else { continue };
            self.ask(format!("tcp v6 {address}"), Attempt::Tcp { address, first: 80, last: 80 });
        }
    }

    fn dns(&mut self, whom: &str, server: Ipv4Addr, nonce: &str) {
        let server = SocketAddr::new(server.into(), 53);
        for kind in TYPES {
            for tcp in [false, true] {
                let way = if tcp { "tcp" } else { "udp" };
                let name = format!("{way}{kind}.{nonce}.example.com");
                self.ask(format!("dns {whom} {way} type {kind}"), Attempt::Dns { server, tcp, name, kind });
            }
        }
        let data = "exfiltrated".repeat(5);
        for (what, name) in [
            ("long labels", format!("{data}.{data}.{nonce}.example.com")),
            ("mixed case", "PrOxY.InTeRnAl".to_owned()),
            ("below the proxy", format!("{nonce}.proxy.internal")),
            ("gvproxy's own", "host.containers.internal".to_owned()),
        ] {
            let question = |kind| Attempt::Dns { server, tcp: false, name: name.clone(), kind };
            self.ask(format!("dns {whom} {what}"), question(1));
            self.ask(format!("dns {whom} {what} txt"), question(16));
        }
    }

    /// Tries gvproxy's own HTTP interface, which stock gvproxy serves to the guest.
    fn forwarder(&mut self, gateway: Ipv4Addr) {
        let address = SocketAddr::new(gateway.into(), 80);
        let expose = r#"{"local":"127.0.0.1:19999","remote":"192.168.127.2:22","protocol":"tcp"}"#;
        let unix = r#"{"local":"/nonexistent/bottle-conformance.sock","remote":"192.168.127.2:22","protocol":"unix"}"#;
        for (name, method, path, body) in [
            ("all", "GET", "/services/forwarder/all", ""),
            ("expose", "POST", "/services/forwarder/expose", expose),
            ("expose unix", "POST", "/services/forwarder/expose", unix),
            ("unexpose", "POST", "/services/forwarder/unexpose", expose),
            ("dns all", "GET", "/services/dns/all", ""),
            ("leases", "GET", "/leases", ""),
            ("tunnel", "POST", "/tunnel?ip=192.168.127.254&port=8080", ""),
        ] {
            let text = format!(
                "{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            self.ask(format!("http forwarder {name}"), Attempt::Say { address, text });
        }
    }

    fn vsock(&mut self, canaries: &[Canary]) {
        // 0 is the hypervisor, 1 the guest itself and 2 the host. The rest are other guests.
        for cid in [0, 2, 3, 4, 5] {
            let ranges = if cid == 2 { &VSOCK_PORTS[..] } else { &[(1024, 1030)] };
            for &(first, last) in ranges {
                self.ask(format!("vsock {cid} {first}-{last}"), Attempt::Vsock { cid, first, last });
            }
        }
        for Canary { name, address } in canaries {
            if let SocketAddr::V4(address) = address {
                let address = SocketAddrV4::new(*address.ip(), address.port());
                self.ask(format!("tsi canary {name}"), Attempt::Tsi { address });
            }
        }
    }

    /// Returns the list.
    pub fn into_list(self) -> Vec<Question> {
        self.0
    }
}
