//! Why a frame does not pass.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a frame does not pass. Each has a stable name for counters and logs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every reason, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the reason in words, for a person.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// The frame ends before its own headers say that it does.
    Truncated = "the frame is shorter than its headers say",
    /// The frame is longer than the link's MTU allows.
    TooLong = "the frame is longer than the link's MTU",
    /// Bytes follow the packet that are not padding.
    Trailer = "bytes follow the packet",
    /// The source hardware address is not the sender's own.
    SourceMac = "the source MAC is not the sender's own",
    /// Nobody on the link has the destination hardware address.
    DestinationMac = "nobody on the link has the destination MAC",
    /// A broadcast or multicast frame that is not ARP.
    Broadcast = "broadcast and multicast do not leave the guest",
    /// An EtherType other than ARP and IPv4.
    EtherType = "only ARP and IPv4 pass",
    /// A VLAN tag.
    Vlan = "VLAN tags do not pass",
    /// IPv6.
    Ipv6 = "IPv6 does not pass",
    /// An ARP packet that is not about IPv4 over Ethernet.
    ArpMalformed = "the ARP packet is malformed",
    /// An ARP packet in somebody else's name.
    ArpSender = "the ARP sender is not the frame's sender",
    /// An ARP question about an address other than the gateway and the proxy.
    ArpTarget = "only the gateway and proxy.internal answer ARP",
    /// An IPv4 header that contradicts itself.
    Ipv4Malformed = "the IPv4 header is malformed",
    /// An IPv4 header whose checksum is wrong.
    Ipv4Checksum = "the IPv4 header's checksum is wrong",
    /// IPv4 options, such as source routing.
    Ipv4Options = "IPv4 options do not pass",
    /// A fragment.
    Fragment = "IPv4 fragments do not pass",
    /// A source address that is not the sender's.
    SourceAddress = "the source address is not the sender's own",
    /// ICMP of any kind.
    Icmp = "ICMP does not pass",
    /// An IP protocol other than TCP and UDP.
    Protocol = "only TCP passes",
    /// A TCP header that contradicts itself.
    TcpMalformed = "the TCP header is malformed",
    /// TCP to an address other than the proxy's.
    TcpAddress = "no address but proxy.internal can be reached",
    /// TCP to a port of the proxy address that no active sidecar has.
    TcpPort = "no active sidecar has this port",
    /// A UDP header that contradicts itself.
    UdpMalformed = "the UDP header is malformed",
    /// DHCP: the guest's address is fixed.
    Dhcp = "DHCP does not pass; the guest's address is fixed",
    /// Any other UDP.
    Udp = "UDP does not pass, except for DNS questions to the gateway",
    /// A DNS message that is not a single plain question.
    DnsMalformed = "the DNS message is not one plain question",
    /// A DNS question about any other name.
    DnsName = "no name but proxy.internal resolves",
    /// A DNS question about `proxy.internal`, of a type other than A and AAAA.
    DnsType = "proxy.internal has only an address",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explanation())
    }
}
