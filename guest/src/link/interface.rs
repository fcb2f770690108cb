//! Configures a tap through netlink: hardware address, MTU, addresses, routes and neighbours.

use anyhow::{Context, Result, bail};
use bottle_core::guard::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};
use std::net::{IpAddr, Ipv4Addr};

/// An interface of this network namespace.
pub struct Interface {
    index: u32,
    name: &'static str,
}

impl Interface {
    /// Finds the interface with this name.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub fn find(name: &'static str) -> Result<Self> {
        let socket = rustix::net::socket(rustix::net::AddressFamily::INET, SocketType::DGRAM, None)?;
        let index = rustix::net::netdevice::name_to_index(&socket, name)
            .with_context(|| format!("there is no interface {name}"))?;
        Ok(Self { index, name })
    }

    /// Sets the hardware address and the MTU.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn configure(&self, mac: Mac, mtu: u16) -> Result<()> {
        let mut link = self.link();
        link.attributes.push(LinkAttribute::Mtu(u32::from(mtu)));
        link.attributes.push(LinkAttribute::Address(mac.to_vec()));
        request(RouteNetlinkMessage::SetLink(link), 0).context("cannot set the MTU and the hardware address")
    }

    /// Adds a host address without a subnet. So nothing is "on the link": a guest's kernel sends packets for
    /// every destination to the gateway and is refused at once, instead of waiting for ARP.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = self.index;
        let address = IpAddr::V4(address);
        message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
        request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot set the address")
    }

    /// Makes a gateway the only route to everywhere.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it, as it does while the interface is down.
    pub fn route_everything(&self, gateway: Ipv4Addr) -> Result<()> {
        let mut route = self.route(RouteScope::Universe);
        route.header.flags = RouteFlags::Onlink;
        route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
        request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot set the route")
    }

    /// Makes one host with a known hardware address the only one that can be reached here. The kernel does
    /// not ask for its address.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it, as it does while the interface is down.
    pub fn know_neighbour(&self, address: Ipv4Addr, mac: Mac) -> Result<()> {
        let mut route = self.route(RouteScope::Link);
        route.header.destination_prefix_length = 32;
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
        request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot set the route")?;
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = AddressFamily::Inet;
        neighbour.header.ifindex = self.index;
        neighbour.header.state = NeighbourState::Permanent;
        neighbour.attributes.extend([
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ]);
        request(RouteNetlinkMessage::NewNeighbour(neighbour), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot set the neighbour")
    }

    /// Makes an address one of this system's own, with another address as the source of connections to it.
    /// With the same source, a port could connect to itself.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn hold(&self, address: Ipv4Addr, source: Ipv4Addr) -> Result<()> {
        /// The table of a system's own addresses (`linux/rtnetlink.h`).
        const LOCAL: u8 = 255;
        let mut route = self.route(RouteScope::Host);
        route.header.table = LOCAL;
        route.header.kind = RouteType::Local;
        route.header.destination_prefix_length = 32;
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
        route.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(source)));
        request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
            .context("cannot add the proxy's address")
    }

    /// Brings the interface up.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn up(&self) -> Result<()> {
        self.set_up(true)
    }

    /// Takes the interface down, along with its routes.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn down(&self) -> Result<()> {
        self.set_up(false)
    }

    fn route(&self, scope: RouteScope) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header = RouteHeader {
            address_family: AddressFamily::Inet,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        route.attributes.push(RouteAttribute::Oif(self.index));
        route
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

    /// Turns IPv6 off. The interface then sends no router solicitations that the guard would count, and a
    /// program that tries IPv6 fails at once. A kernel without IPv6 has no such file.
    pub fn ignore_ipv6(&self) {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name), "1");
    }
}

/// Sends one request and waits for the kernel's acknowledgment.
fn request(message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    // Without a protocol, the number is 0: `NETLINK_ROUTE`.
    let socket =
        socket_with(rustix::net::AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    send(&socket, &bytes, SendFlags::empty())?;
    // The acknowledgment repeats the request, after a header of 16 bytes and a code of 4.
    let mut answer = vec![0; bytes.len() + 256];
    let (len, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..len])?.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        other => bail!("the kernel answered {other:?}"),
    }
}
