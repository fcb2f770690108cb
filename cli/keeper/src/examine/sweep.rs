//! The frames of an examination: to every port, to canaries, names and neighbours, and frames that no kernel
//! would send.

use super::limits::{LIMIT, LONGEST};
use crate::link::Crossing;
use anyhow::{Result, ensure};
use bottle_core::PROXY_NAME;
use bottle_core::examine::{Arrived, Block, Segment, What, flag, gives_records, odd, ranges};
use bottle_core::guard::{Guard, Reply, Verdict};
use bottle_core::plan::Plan;
use bottle_core::subnet::Subnet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

/// DNS query types: A, NS, CNAME, NULL, MX, TXT, AAAA, SRV, HTTPS, ANY.
const TYPES: [u16; 10] = [1, 2, 5, 10, 15, 16, 28, 33, 65, 255];
const TYPE_A: u16 = 1;
/// The ports that are tried on every address: SSH, name servers, web servers and cloud metadata.
const PORTS: [u16; 4] = [22, 53, 80, 443];
/// Addresses elsewhere: forms of loopback that a list with one address misses; metadata; private networks;
/// and unassigned addresses (RFC 5737), which stand for the whole internet.
const ELSEWHERE: [Ipv4Addr; 8] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(127, 0, 0, 53),
    Ipv4Addr::new(127, 255, 255, 254),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(172, 17, 0, 1),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(198, 51, 100, 1),
];

/// The number of ports in the block that are reserved for connections to doors: three doors, tried twice,
/// with a few tries each.
const DOOR_PORTS: u16 = 64;

/// How many ports of one address may pass the guard before the sweep of that address stops. That is proof
/// enough, and all of them would keep the stack busy for a minute.
const ENOUGH: usize = 512;

/// Sends frames, and collects the results.
pub struct Sweep<'l> {
    crossing: &'l Crossing,
    pub guard: &'l Guard,
    block: Block,
    next: u16,
    next_for_a_door: u16,
    end: Instant,
    pub frames: u64,
    pub passed: Vec<String>,
    pub answered: Vec<String>,
    pub silent: u64,
}

/// The result of sending a frame.
enum Outcome {
    Passed,
    /// The guard answered the frame.
    Answered(Vec<u8>),
    Dropped,
}

impl<'l> Sweep<'l> {
    pub fn new(crossing: &'l Crossing, guard: &'l Guard, block: Block, first: u16, end: Instant) -> Self {
        Self {
            crossing,
            guard,
            block,
            next: 0,
            next_for_a_door: first,
            end,
            frames: 0,
            passed: Vec::new(),
            answered: Vec::new(),
            silent: 0,
        }
    }

    /// Returns an unused source port for a connection to a door.
    pub fn port_for_a_door(&mut self) -> u16 {
        self.next_for_a_door += 1;
        self.block.port(self.next_for_a_door % DOOR_PORTS)
    }

    /// Returns a source port for anything else. No destination sees the same port twice.
    fn next_port(&mut self) -> u16 {
        self.next += 1;
        self.block.port(DOOR_PORTS + self.next % (Block::LEN - DOOR_PORTS))
    }

    /// Extends the time limit, for the last look at the doors.
    pub fn allow_more(&mut self) {
        self.end = Instant::now() + LONGEST.saturating_sub(LIMIT);
    }

    /// Sends a frame, and returns whether it passed the guard.
    pub fn send(&mut self, frame: &[u8]) -> Result<bool> {
        Ok(matches!(self.outcome(frame)?, Outcome::Passed))
    }

    fn outcome(&mut self, frame: &[u8]) -> Result<Outcome> {
        ensure!(Instant::now() < self.end, "the examination took longer than {} s", LIMIT.as_secs());
        self.frames += 1;
        let mut reply = Reply::default();
        Ok(match self.crossing.cross(frame, &mut reply) {
            Verdict::Forward => Outcome::Passed,
            Verdict::Answer(answer) | Verdict::Refuse(_, Some(answer)) => Outcome::Answered(answer.to_vec()),
            Verdict::Refuse(_, None) => Outcome::Dropped,
        })
    }

    /// Sends everything that a guest could try: frames to canaries first, the largest sweeps last.
    pub fn everything(&mut self, plan: &Plan, canaries: &[SocketAddr], nonce: &str) -> Result<()> {
        let doors = plan.doors.ports();
        let every = || 1..=u16::MAX;
        let (gateway, proxy) = (self.guard.gateway(), self.guard.proxy());
        for canary in canaries {
            self.canary(*canary)?;
            if !doors.contains(&canary.port()) {
                // A stack may map the host's loopback to an address of its own.
                self.tcp("gateway", gateway, [canary.port()].into_iter())?;
                self.tcp("proxy", proxy, [canary.port()].into_iter())?;
            }
        }
        for address in ELSEWHERE {
            self.tcp("elsewhere", address, PORTS.into_iter().chain(doors.iter().copied()))?;
            self.udp("elsewhere", address, PORTS.into_iter())?;
        }
        let before = (self.passed.len(), self.answered.len());
        for octet in 1..=u8::MAX {
            let Some(subnet) = Subnet::try_from(octet).ok().filter(|subnet| *subnet != plan.subnet) else {
                continue;
            };
            for address in [subnet.gateway(), subnet.guest(), subnet.proxy()] {
                self.tcp("another bottle", address, doors.iter().copied().chain([80]))?;
            }
        }
        fold(&mut self.passed, before.0);
        fold(&mut self.answered, before.1);
        self.names(nonce)?;
        let from = self.next_port();
        for (name, frame) in odd(self.guard, from, plan.doors.pipelock()) {
            if self.send(&frame)? {
                self.passed.push(name);
            }
        }
        self.tcp("gateway", gateway, every())?;
        self.tcp("proxy", proxy, every().filter(|port| !doors.contains(port)))?;
        self.udp("gateway", gateway, every().filter(|port| *port != 53))?;
        self.udp("proxy", proxy, every())?;
        Ok(())
    }

    fn tcp(&mut self, name: &str, address: Ipv4Addr, ports: impl Iterator<Item = u16>) -> Result<()> {
        let (guard, from) = (self.guard, self.next_port());
        let frame = |to| guard.tcp_frame(&Segment::syn(from, to, u32::from(from)));
        let is_refusal = |what: &What<'_>| matches!(what, What::Tcp { flags, .. } if flags & flag::RST != 0);
        self.ports(&format!("tcp {name}"), address, ports, &frame, &is_refusal)
    }

    fn udp(&mut self, name: &str, address: Ipv4Addr, ports: impl Iterator<Item = u16>) -> Result<()> {
        let (guard, from) = (self.guard, self.next_port());
        let frame = |to| guard.udp_frame(from, to, b"verify");
        let is_refusal = |what: &What<'_>| matches!(what, What::Unreachable { .. });
        self.ports(&format!("udp {name}"), address, ports, &frame, &is_refusal)
    }

    fn ports(
        &mut self,
        name: &str,
        address: Ipv4Addr,
        ports: impl Iterator<Item = u16>,
        frame: &dyn Fn(SocketAddrV4) -> Vec<u8>,
        is_refusal: &dyn Fn(&What<'_>) -> bool,
    ) -> Result<()> {
        let (mut passed, mut answered) = (Vec::new(), Vec::new());
        for port in ports {
            match self.outcome(&frame(SocketAddrV4::new(address, port)))? {
                Outcome::Passed => passed.push(port),
                Outcome::Answered(answer) => {
                    let arrived = Arrived::parse(&answer);
                    if !arrived
                        .is_some_and(|arrived| self.block.has(arrived.port) && is_refusal(&arrived.what))
                    {
                        answered.push(port);
                    }
                }
                Outcome::Dropped => self.silent += 1,
            }
            if passed.len() == ENOUGH {
                break;
            }
        }
        let sentence = |ports: &[u16]| {
            let more = if ports.len() < ENOUGH { "" } else { " at least" };
            format!("{name} {address}:{}{more}", ranges(ports))
        };
        self.passed.extend((!passed.is_empty()).then(|| sentence(&passed)));
        self.answered.extend((!answered.is_empty()).then(|| sentence(&answered)));
        Ok(())
    }

    fn canary(&mut self, canary: SocketAddr) -> Result<()> {
        match canary {
            SocketAddr::V4(at) => {
                self.tcp("canary", *at.ip(), [at.port()].into_iter())?;
                self.udp("canary", *at.ip(), [at.port()].into_iter())
            }
            SocketAddr::V6(at) => {
                let from = self.next_port();
                if self.send(&self.guard.ipv6_frame(from, at))? {
                    self.passed.push(format!("tcp canary {at}"));
                }
                Ok(())
            }
        }
    }

    /// Asks for names. Only one of them has an address, whichever server is asked.
    fn names(&mut self, nonce: &str) -> Result<()> {
        let data = "exfiltrated".repeat(5);
        let names = [
            PROXY_NAME.to_owned(),
            "PrOxY.InTeRnAl".to_owned(),
            format!("{nonce}.{PROXY_NAME}"),
            format!("{PROXY_NAME}.{nonce}.example.com"),
            format!("{nonce}.example.com"),
            format!("{data}.{data}.{nonce}.example.com"),
            "internal".to_owned(),
            "localhost".to_owned(),
            "host.containers.internal".to_owned(),
            "gateway.containers.internal".to_owned(),
        ];
        for name in names {
            let is_proxy = name.eq_ignore_ascii_case(PROXY_NAME);
            for kind in TYPES {
                let from = self.next_port();
                let what = || format!("dns {name} type {kind}");
                match self.outcome(&self.guard.dns_frame(from, self.guard.gateway(), &name, kind))? {
                    Outcome::Passed => self.passed.push(what()),
                    Outcome::Dropped => self.silent += 1,
                    Outcome::Answered(answer) => {
                        let records = Arrived::parse(&answer).is_some_and(
                            |arrived| matches!(arrived.what, What::Udp { payload, .. } if gives_records(payload)),
                        );
                        if records && !(is_proxy && kind == TYPE_A) {
                            self.answered.push(what());
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Folds the sentences about neighbours into one. What holds for one neighbour holds for all.
fn fold(sentences: &mut Vec<String>, from: usize) {
    let more = sentences.len().saturating_sub(from + 1);
    if more > 0 {
        sentences.truncate(from + 1);
        if let Some(first) = sentences.last_mut() {
            first.push_str(&format!(" and {more} more addresses"));
        }
    }
}
