//! Why the guard refuses a frame.

use bottle_core::guard::Refusal;

/// Returns a refusal's name, as the log has it.
pub fn name(refusal: Refusal) -> String {
    let name = serde_json::to_value(refusal).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Returns a refusal's paragraph.
pub fn paragraph(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Truncated => {
            "The frame ends before its own headers say that it does. No network card or kernel sends such a frame, so a program in the guest made it by hand, perhaps to confuse a parser. It is dropped, and nothing has to be done."
        }
        Refusal::TooLong => {
            "The frame is longer than the link's MTU. A kernel never sends one, and bottle's buffers have exactly that size. It is dropped. If a program of yours sets its own MTU, let it use the interface's."
        }
        Refusal::Trailer => {
            "Bytes follow the packet that are not padding. They could carry data past whoever reads only the packet. The frame is dropped. Ordinary kernels pad with zeros or not at all."
        }
        Refusal::SourceMac => {
            "The frame claims to come from another network card than the guest's own. Nobody else is on this link, so it is a forgery, or a bridge that a program in the guest has set up. Let containers in the guest use its network instead of a bridge to it."
        }
        Refusal::DestinationMac => {
            "The frame is for a network card that is not on this link. Only the gateway is. A stale entry in the guest's neighbour table can cause a few of these; a flood means that a program makes frames by hand."
        }
        Refusal::Broadcast => {
            "The frame is for everybody on the network: discovery of printers, neighbours, or services (mDNS, SSDP). There is nobody else on this network, and bottle lets nothing be discovered. Programs that announce themselves go on without it."
        }
        Refusal::EtherType => {
            "The frame carries something other than ARP and IPv4. Only these two are understood by the guard, and what it does not understand does not pass. Nothing that an agent needs uses another type."
        }
        Refusal::Vlan => {
            "The frame has a VLAN tag. A tag could carry it to another network where one exists, so none passes. Remove the VLAN interface in the guest; its own interface has no tag."
        }
        Refusal::Ipv6 => {
            "The guest sent IPv6, which does not pass. Many programs try IPv6 first and then IPv4, so a few of these are harmless. If a program waits, let it use the proxy that HTTPS_PROXY names, or IPv4."
        }
        Refusal::ArpMalformed => {
            "The ARP packet is not one about IPv4 over Ethernet. Kernels send no other kind, so a program made it by hand. It is dropped, and the guest's real questions are still answered."
        }
        Refusal::ArpSender => {
            "The ARP packet speaks for another sender than the frame's own. That is how a machine takes over another one's address. Nobody else is on this link, so nothing would come of it, and it is dropped all the same."
        }
        Refusal::ArpTarget => {
            "The guest asks who has an address other than the gateway's and that of proxy.internal. Nobody else is on this network. Some program tries to reach a machine as if it were next to it; it has to go through the proxy that HTTPS_PROXY names."
        }
        Refusal::Ipv4Malformed => {
            "The IPv4 header contradicts itself: its length or version cannot be right. Kernels send no such header. It is dropped, because two programs could read it in two ways."
        }
        Refusal::Ipv4Checksum => {
            "The IPv4 header's checksum is wrong. The guest's kernel computes it correctly, so the packet was made by hand or damaged. It is dropped; a damaged one is sent again."
        }
        Refusal::Ipv4Options => {
            "The IPv4 header has options, such as a route that the packet wants to take. They have no use here and were often abused. Ordinary programs set none."
        }
        Refusal::Fragment => {
            "The packet is a fragment. Only its first fragment says which port it is for, so the guard could not decide about the rest. The link's MTU is large enough that nothing has to be fragmented; remove a smaller MTU if the guest has one."
        }
        Refusal::SourceAddress => {
            "The packet does not come from the guest's own address. Its source was forged, or a container in the guest routes packets with an address of its own. Let containers share the guest's network."
        }
        Refusal::Icmp => {
            "The guest sent ICMP, as `ping` and `traceroute` do. ICMP would show which machines exist and could carry data, so none passes, and an echo is refused at once. Whether a host can be reached, `curl` through the proxy tells."
        }
        Refusal::Protocol => {
            "The packet is neither TCP nor UDP. Only TCP to a door passes. Tunnels and VPNs in the guest (GRE, IPsec, SCTP) cannot work, and are meant not to."
        }
        Refusal::TcpMalformed => {
            "The TCP header contradicts itself. Kernels send no such header, so a program made it by hand. It is dropped, because two programs could read it in two ways."
        }
        Refusal::TcpAddress => {
            "The guest tried to connect to an address other than that of proxy.internal. No address can be reached directly, public or private, and the refusal comes at once. Let the program use the proxy that HTTPS_PROXY names, and allow the host by its name."
        }
        Refusal::TcpPort => {
            "The guest tried a port of proxy.internal behind which there is no active sidecar. `bottle status` lists the doors. A program that has a fixed port in its configuration should take it from the environment: HTTPS_PROXY, BOTTLE_GIT_GATE, BOTTLE_SUPERVISE."
        }
        Refusal::UdpMalformed => {
            "The UDP header contradicts itself. Kernels send no such header, so a program made it by hand. It is dropped, and nothing has to be done."
        }
        Refusal::Dhcp => {
            "The guest asks for an address by DHCP. Its address is fixed and already set, so nobody answers. Turn the DHCP client of the image off if its messages disturb you; nothing depends on it."
        }
        Refusal::Udp => {
            "The guest sent UDP to something other than its resolver: QUIC (HTTP/3), NTP, or a game's protocol. None passes, because only TCP through the proxy can be judged by a host's name. Programs that offer HTTP/3 fall back to TCP."
        }
        Refusal::DnsMalformed => {
            "The message to the resolver is not one plain question: several questions, an update, or bytes after it. Such messages can carry data, and resolvers that ordinary programs use send none. It is refused at once."
        }
        Refusal::DnsName => {
            "The guest asked for a name other than proxy.internal. DNS is a way out for data, so no question leaves this machine, and the answer is that there is no such name. A program that uses HTTPS_PROXY asks no resolver: the proxy resolves allowed names on the host."
        }
        Refusal::DnsType => {
            "The guest asked for a record of proxy.internal that is not an address, like MX or TXT. There is none, and the answer says so at once. Nothing has to be done."
        }
    }
}
