//! The two ends of the link: the guest's tap, and the host's, where the host's kernel is the
//! network stack.

use super::interface::Interface;
use super::tap::{Checksums, Tap};
use anyhow::{Context, Result};
use bottle_core::guard::{GATEWAY_MAC, GUEST_MAC};
use bottle_core::subnet::Subnet;
use bottle_core::wire;

/// The guest's interface. It is down until there is a keeper.
const NAME: &str = "eth0";
/// The host's, in a namespace where it is the only one.
const HOST_NAME: &str = "guest0";

/// The guest's end.
pub struct GuestEndpoint {
    interface: Interface,
    subnet: Subnet,
}

impl GuestEndpoint {
    /// Makes the tap, with an MTU in bytes.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn make(subnet: Subnet, mtu: u16, checksums: Checksums) -> Result<(Tap, Self)> {
        let tap = Tap::create(NAME, checksums).context("cannot make the tap")?;
        let interface = Interface::find(NAME)?;
        interface.ignore_ipv6();
        interface.configure(GUEST_MAC, mtu)?;
        interface.add_address(subnet.guest())?;
        Ok((tap, Self { interface, subnet }))
    }

    /// Brings it up, with the guest's one route: everything goes to the gateway.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn up(&self) -> Result<()> {
        self.interface.up()?;
        self.interface.route_everything(self.subnet.gateway())
    }

    /// Takes it down, and with it the route: programs are told "network is unreachable".
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn down(&self) -> Result<()> {
        self.interface.down()
    }
}

/// Makes the host's end, in a network namespace of its own: gateway and proxy address in one, and
/// the guest for its only neighbour. No route leads anywhere else.
///
/// # Errors
/// Where the kernel refuses it.
pub fn make_host_endpoint(subnet: Subnet) -> Result<Tap> {
    let tap = Tap::create(HOST_NAME, Checksums::LeftOut).context("cannot make the tap")?;
    let interface = Interface::find(HOST_NAME)?;
    interface.have_no_ipv6();
    interface.configure(GATEWAY_MAC, wire::MTU)?;
    interface.add_address(subnet.gateway())?;
    interface.add_address(subnet.proxy())?;
    interface.up()?;
    interface.know_neighbour(subnet.guest(), GUEST_MAC)?;
    Ok(tap)
}
