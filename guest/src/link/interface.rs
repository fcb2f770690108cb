//! The tap's settings, through netlink: hardware address, MTU, address, and the guest's one route.

use anyhow::{Context, Result, anyhow, bail};
use bottle_core::guard::GUEST_MAC;
use bottle_core::subnet::Subnet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::net::IpAddr;

/// An interface of this network namespace.
pub struct Interface {
    index: u32,
    name: &'static str,
}

impl Interface {
    /// The one of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(name: &'static str) -> Result<Self> {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
        let index = rustix::net::netdevice::name_to_index(&socket, name)
            .with_context(|| format!("there is no interface {name}"))?;
        Ok(Self { index, name })
    }

    /// Gives the interface everything but a route.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn configure(&self, subnet: Subnet, mtu: u16) -> Result<()> {
        self.ignore_ipv6();
        let mut link = self.link();
        link.attributes.push(LinkAttribute::Mtu(u32::from(mtu)));
        link.attributes.push(LinkAttribute::Address(GUEST_MAC.to_vec()));
        request(RouteNetlinkMessage::SetLink(link), 0).context("cannot set MTU and hardware address")?;

        let mut address = AddressMessage::default();
        address.header.family = AddressFamily::Inet;
        // A host's address, not a subnet's: nothing is "on the link", so the guest's kernel asks
        // the gateway about every destination and is refused at once, instead of waiting for ARP.
        address.header.prefix_len = 32;
        address.header.index = self.index;
        let guest = IpAddr::V4(subnet.guest());
        address.attributes.extend([AddressAttribute::Local(guest), AddressAttribute::Address(guest)]);
        request(RouteNetlinkMessage::NewAddress(address), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot set the address")
    }

    /// Brings the interface up, with the guest's one route: everything goes to the gateway.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn up(&self, subnet: Subnet) -> Result<()> {
        self.set_up(true)?;
        let mut route = RouteMessage::default();
        route.header = RouteHeader {
            address_family: AddressFamily::Inet,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            flags: RouteFlags::Onlink,
            ..RouteHeader::default()
        };
        route.attributes.extend([
            RouteAttribute::Gateway(RouteAddress::Inet(subnet.gateway())),
            RouteAttribute::Oif(self.index),
        ]);
        request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot set the route")
    }

    /// Takes the interface down, and with it the route.
    ///
    /// # Errors
    /// Where the kernel refuses it.
    pub fn down(&self) -> Result<()> {
        self.set_up(false)
    }

    fn set_up(&self, up: bool) -> Result<()> {
        let mut link = self.link();
        link.header.change_mask = LinkFlags::Up;
        link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        request(RouteNetlinkMessage::SetLink(link), 0).context("cannot bring the interface up or down")
    }

    fn link(&self) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = self.index;
        link
    }

    /// Without IPv6 on it, the interface sends no router solicitations that the guard would count,
    /// and a program that tries IPv6 is told at once. A kernel without IPv6 has no such file.
    fn ignore_ipv6(&self) {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name), "1");
    }
}

/// Sends one request and waits for the kernel's acknowledgment.
fn request(message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        other => bail!(anyhow!("the kernel answered {other:?}")),
    }
}
