//! The guest's endpoint of the link: a tap.

use super::interface::Interface;
use super::tap::{Checksums, Tap};
use anyhow::{Context, Result};
use bottle_core::guard::{GATEWAY_MAC, GUEST_MAC};
use bottle_core::subnet::Subnet;
use std::net::Ipv4Addr;

/// The name of the guest's interface, which is down while there is no keeper.
const NAME: &str = "eth0";
const LOOPBACK: &str = "lo";

/// The guest's endpoint.
pub struct GuestEndpoint {
    interface: Interface,
    subnet: Subnet,
    /// Whether the gateway's hardware address is known in advance, because nobody would answer a request for
    /// it.
    knows_gateway: bool,
}

impl GuestEndpoint {
    /// Creates the tap with an MTU in bytes.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn make(subnet: Subnet, mtu: u16, checksums: Checksums) -> Result<(Tap, Self)> {
        let tap = Tap::create(NAME, checksums).context("cannot make the tap")?;
        let interface = Interface::find(NAME)?;
        interface.ignore_ipv6();
        interface.configure(GUEST_MAC, mtu)?;
        interface.add_address(subnet.guest())?;
        Ok((tap, Self { interface, subnet, knows_gateway: false }))
    }

    /// Gives the guest the proxy's address, and makes the gateway a neighbour whose hardware address is
    /// known. A connection to the proxy then never leaves the guest's kernel.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn hold_the_proxys_address(&mut self) -> Result<()> {
        self.knows_gateway = true;
        let loopback = Interface::find(LOOPBACK)?;
        loopback.up()?;
        loopback.hold(self.subnet.proxy(), Ipv4Addr::LOCALHOST)
    }

    /// Brings the interface up, with a single route: everything goes to the gateway.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn up(&self) -> Result<()> {
        self.interface.up()?;
        if self.knows_gateway {
            self.interface.know_neighbour(self.subnet.gateway(), GATEWAY_MAC)?;
        }
        self.interface.route_everything(self.subnet.gateway())
    }

    /// Takes the interface down, along with its route. Programs then get "network is unreachable".
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn down(&self) -> Result<()> {
        self.interface.down()
    }
}
