//! What IP addresses are for.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, according to IANA's special-purpose registries (RFC 6890 and its updates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// An address on the public internet.
    Public,
    /// Not an address at all: 0.0.0.0/8, `::`.
    Unspecified,
    /// This machine.
    Loopback,
    /// A private network: 10/8, 172.16/12, 192.168/16, fc00::/7.
    Private,
    /// The same link, including cloud metadata services: 169.254/16, fe80::/10.
    LinkLocal,
    /// A provider's shared space: 100.64/10.
    SharedSpace,
    /// A group of machines.
    Multicast,
    /// All machines on a link.
    Broadcast,
    /// An address for books and examples only.
    Documentation,
    /// An address for benchmarks or protocol assignments, in a reserved block, or of an IPv6 transition
    /// scheme that hides another address.
    Reserved,
}

/// Returns what `address` is for. An IPv4 address inside an IPv6 one counts as itself.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

/// Returns the address that a packet to `address` reaches: the IPv4 address inside an IPv6 one if there is
/// one (mapped, compatible, NAT64, 6to4), or `address` itself.
pub fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        _ if v6.is_loopback() || v6.is_unspecified() => address,
        // Mapped (::ffff:0:0/96), compatible (::/96) and NAT64 (64:ff9b::/96).
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => embedded(g, h),
        // 6to4 has its IPv4 address in the next two segments.
        (0x2002, ..) => embedded(b, c),
        _ => address,
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [169, 254, ..] => AddressClass::LinkLocal,
        [100, 64..=127, ..] => AddressClass::SharedSpace,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => AddressClass::Reserved,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [240..=255, ..] => AddressClass::Reserved,
        // Azure's metadata and DHCP service, on a public address that never leaves Azure's hosts.
        [168, 63, 129, 16] => AddressClass::LinkLocal,
        _ => AddressClass::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    if address.is_unspecified() {
        return AddressClass::Unspecified;
    }
    if address.is_loopback() {
        return AddressClass::Loopback;
    }
    let [a, b, ..] = address.segments();
    if let IpAddr::V4(embedded) = reached(address.into()) {
        return match classify_v4(embedded) {
            // Nobody who writes a rule means a 6to4 relay.
            AddressClass::Public if a == 0x2002 => AddressClass::Reserved,
            class => class,
        };
    }
    match (a, b) {
        (0xfc00..=0xfdff, _) => AddressClass::Private,
        (0xfe80..=0xfebf, _) => AddressClass::LinkLocal,
        (0xfec0..=0xfeff, _) => AddressClass::Private,
        (0xff00..=0xffff, _) => AddressClass::Multicast,
        (0x2001, 0xdb8) | (0x3fff, 0..=0xfff) => AddressClass::Documentation,
        // 2001::/23: Teredo, benchmarking, ORCHID and other protocol assignments.
        (0x2001, 0..=0x1ff) => AddressClass::Reserved,
        // Only 2000::/3 is assigned to the public internet.
        (0x2000..=0x3fff, _) => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Unspecified => "no address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local or metadata address",
            Self::SharedSpace => "a provider's shared address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Documentation => "a documentation address",
            Self::Reserved => "a reserved address",
        })
    }
}
