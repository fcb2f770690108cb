//! What the questions are about: one guest's network, and the canaries around it.

use bottle_core::plan::Plan;
use bottle_core::stack::Stack;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

/// How a guest's network looks from inside.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The gateway of the guest's default route.
    pub gateway: Ipv4Addr,
    /// The address of `proxy.internal`. In networks without it, the gateway's.
    pub proxy: Ipv4Addr,
    /// The ports that may answer on it.
    pub doors: BTreeSet<u16>,
    /// Which ports are tried at these two addresses.
    pub breadth: Breadth,
    /// Whether the guest's own kernel is the network stack. If so, the proxy's address is one of the guest's
    /// own, and the way out is a stream to a door.
    pub streams: bool,
    /// Whether the guest is a virtual machine, which has ways in and out of its own: vsock, and libkrun's
    /// socket impersonation. A stand-in's vsock would be the host's.
    pub machine: bool,
}

/// Which ports are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breadth {
    /// Every port from 1 to 65535.
    Every,
    /// These ports, and 1 to 100.
    Sample(Vec<u16>),
}

/// Something on the host that answers with this run's number, and that no guest may reach.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Canary {
    /// Its name in reports.
    pub name: String,
    /// Where it listens, on TCP and on UDP.
    pub address: SocketAddr,
}

impl Scope {
    /// Describes a bottle's network.
    pub fn of(plan: &Plan, breadth: Breadth, machine: bool) -> Self {
        Self {
            gateway: plan.subnet.gateway(),
            proxy: plan.subnet.proxy(),
            doors: plan.doors.ports().into_iter().collect(),
            breadth,
            streams: plan.stack == Stack::Sockets,
            machine,
        }
    }

    /// Returns the ranges of ports that are tried.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        match &self.breadth {
            Breadth::Every => vec![(1, u16::MAX)],
            Breadth::Sample(ports) => {
                [(1, 100)].into_iter().chain(ports.iter().map(|port| (*port, *port))).collect()
            }
        }
    }
}
