//! What may leave through the egress proxy: hosts, addresses, server names.

use bottle_core::egress::{
    AddressClass, ClientHello, Denial, HostName, HostPattern, HostRule, Rules, authority, classify,
    client_hello, reached,
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn rules(allow: &[&str]) -> Rules {
    Rules { allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(), ..Rules::default() }
}

#[test]
fn nothing_leaves_by_default() {
    for name in ["example.com", "localhost", "proxy.internal"] {
        assert_eq!(Rules::default().check(&host(name), 443), Err(Denial::Host(host(name))));
    }
}

#[test]
fn a_rule_opens_its_host_and_ports_and_nothing_else() {
    let rules = rules(&["api.example.com", "*.cdn.example:443,8443", "plain.example:80"]);
    for (name, port, open) in [
        ("api.example.com", 443, true),
        ("API.Example.COM.", 443, true),
        ("api.example.com", 80, false),
        ("example.com", 443, false),
        ("x.api.example.com", 443, false),
        ("evil-api.example.com", 443, false),
        ("api.example.com.evil.test", 443, false),
        ("a.cdn.example", 8443, true),
        ("a.b.cdn.example", 443, true),
        ("cdn.example", 443, false),
        ("xcdn.example", 443, false),
        ("a.cdn.example", 80, false),
        ("plain.example", 80, true),
        ("plain.example", 443, false),
    ] {
        assert_eq!(rules.check(&host(name), port).is_ok(), open, "{name}:{port}");
    }
}

#[test]
fn a_closed_host_stays_closed_under_an_open_pattern() {
    let mut rules = rules(&["*.example.com"]);
    rules.deny.push("bad.example.com".parse().unwrap());
    assert_eq!(rules.check(&host("good.example.com"), 443), Ok(()));
    assert_eq!(rules.check(&host("bad.example.com"), 443), Err(Denial::Closed(host("bad.example.com"))));
}

/// Returns every host of one to four labels, each `a` or `b`.
fn few_hosts() -> Vec<HostName> {
    let longer =
        |all: &Vec<String>| all.iter().flat_map(|rest| ["a", "b"].map(|l| format!("{l}.{rest}"))).collect();
    let mut names = vec!["a".to_owned(), "b".to_owned()];
    for _ in 0..3 {
        let more: Vec<String> = longer(&names);
        names.extend(more);
    }
    names.sort();
    names.dedup();
    names.iter().map(|name| host(name)).collect()
}

fn a_pattern() -> impl Strategy<Value = HostPattern> {
    let name = prop::collection::vec("[ab]", 2..4).prop_map(|labels| labels.join("."));
    let text = prop_oneof![
        name.clone(),
        name.prop_map(|name| format!("*.{name}")),
        Just("*".to_owned()),
        Just("a".to_owned())
    ];
    text.prop_map(|text| text.parse().unwrap())
}

fn a_rule() -> impl Strategy<Value = HostRule> {
    (a_pattern(), prop::collection::btree_set(prop_oneof![Just(80_u16), Just(443)], 1..3))
        .prop_map(|(pattern, ports)| HostRule { pattern, ports })
}

proptest! {
    #[test]
    fn a_pattern_covers_another_if_it_covers_all_its_hosts(one in a_pattern(), other in a_pattern()) {
        let all = few_hosts().iter().filter(|host| other.matches(host)).all(|host| one.matches(host));
        prop_assert_eq!(one.covers(&other), all, "{} {}", one, other);
    }

    #[test]
    fn what_is_said_to_be_open_is_open(
        allow in prop::collection::vec(a_rule(), 0..4),
        deny in prop::collection::vec(a_pattern(), 0..2),
        wanted in a_rule(),
    ) {
        let rules = Rules { allow, deny, ..Rules::default() };
        let hosts = few_hosts();
        let mut meant = hosts.iter().filter(|host| wanted.pattern.matches(host));
        let is_open = |host: &HostName| wanted.ports.iter().all(|port| rules.check(host, *port).is_ok());
        let all = meant.all(is_open);
        if rules.opens(&wanted) {
            prop_assert!(all);
        } else if let HostPattern::Exact(host) = &wanted.pattern {
            prop_assert!(!is_open(host));
        }
    }
}

#[test]
fn an_address_is_never_a_host_however_it_is_written() {
    for text in [
        "127.0.0.1",
        "1.2.3.4",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "::1",
        "[::1]",
        "1.2.3.4.",
        "::ffff:127.0.0.1",
        "[fe80::1]",
        "0x7f.1",
        "127.0.0.0x1",
    ] {
        assert!(text.parse::<HostName>().is_err(), "{text}");
        assert!(authority(&format!("{text}:443"), 443).is_err(), "{text}:443");
        assert!(text.parse::<HostRule>().is_err(), "{text}");
    }
    for text in ["", ".", "a..b", "-a.com", "a-.com", "a b", "a/b", "a@b", "é.com", "a\0b", "a%00b", "*"] {
        assert!(text.parse::<HostName>().is_err(), "{text:?}");
    }
    let long = "a".repeat(64);
    assert!(long.parse::<HostName>().is_err() && long[1..].parse::<HostName>().is_ok());
}

#[test]
fn an_embedded_address_is_where_a_packet_arrives() {
    for (text, reached_at) in [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::1.2.3.4", "1.2.3.4"),
        ("64:ff9b::1.2.3.4", "1.2.3.4"),
        ("2002:102:304::1", "1.2.3.4"),
        ("2a00::1", "2a00::1"),
        ("::1", "::1"),
        ("::", "::"),
    ] {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(reached(address), reached_at.parse::<IpAddr>().unwrap(), "{text}");
    }
}

#[test]
fn this_machines_own_addresses_are_closed_unless_the_operator_names_them() {
    let own: IpAddr = "51.15.77.1".parse().unwrap();
    let mut rules = rules(&["a.test", "b.test", "c.test"]);
    assert_eq!(rules.check_own(&host("a.test"), own), Err(Denial::Own(host("a.test"), own)));
    rules.allow_private.push("b.test".parse().unwrap());
    rules.hosts.insert(host("c.test"), own);
    assert_eq!(rules.check_own(&host("b.test"), own), Ok(()));
    assert_eq!(rules.check_own(&host("c.test"), own), Ok(()));
    assert!(rules.check_own(&host("c.test"), "51.15.77.2".parse().unwrap()).is_err());
}

/// The edges of every special-purpose block, on both sides.
#[test]
fn addresses_are_classified_as_in_the_registries() {
    use AddressClass as C;
    for (text, class) in [
        ("0.0.0.0", C::Unspecified),
        ("0.255.255.255", C::Unspecified),
        ("1.0.0.0", C::Public),
        ("9.255.255.255", C::Public),
        ("10.0.0.0", C::Private),
        ("10.255.255.255", C::Private),
        ("11.0.0.0", C::Public),
        ("100.63.255.255", C::Public),
        ("100.64.0.0", C::SharedSpace),
        ("100.127.255.255", C::SharedSpace),
        ("100.128.0.0", C::Public),
        ("126.255.255.255", C::Public),
        ("127.0.0.0", C::Loopback),
        ("127.255.255.255", C::Loopback),
        ("128.0.0.0", C::Public),
        ("169.253.255.255", C::Public),
        ("169.254.0.0", C::LinkLocal),
        ("169.254.169.254", C::LinkLocal),
        ("169.255.0.0", C::Public),
        ("172.15.255.255", C::Public),
        ("172.16.0.0", C::Private),
        ("172.31.255.255", C::Private),
        ("172.32.0.0", C::Public),
        ("192.0.0.1", C::Reserved),
        ("192.0.2.1", C::Documentation),
        ("192.168.0.0", C::Private),
        ("192.169.0.0", C::Public),
        ("198.17.255.255", C::Public),
        ("198.18.0.0", C::Reserved),
        ("198.19.255.255", C::Reserved),
        ("198.20.0.0", C::Public),
        ("198.51.100.1", C::Documentation),
        ("203.0.113.1", C::Documentation),
        ("168.63.129.16", C::LinkLocal),
        ("223.255.255.255", C::Public),
        ("224.0.0.0", C::Multicast),
        ("239.255.255.255", C::Multicast),
        ("240.0.0.0", C::Reserved),
        ("255.255.255.254", C::Reserved),
        ("255.255.255.255", C::Broadcast),
        ("::", C::Unspecified),
        ("::1", C::Loopback),
        ("::2", C::Unspecified),
        ("::ffff:10.0.0.1", C::Private),
        ("::ffff:169.254.169.254", C::LinkLocal),
        ("::ffff:8.8.8.8", C::Public),
        ("::127.0.0.1", C::Loopback),
        ("64:ff9b::10.0.0.1", C::Private),
        ("64:ff9b::8.8.8.8", C::Public),
        ("64:ff9b:1::1", C::Reserved),
        ("2002:7f00:1::", C::Loopback),
        ("2002:808:808::", C::Reserved),
        ("fc00::1", C::Private),
        ("fdff::1", C::Private),
        ("fe80::1", C::LinkLocal),
        ("febf::1", C::LinkLocal),
        ("fec0::1", C::Private),
        ("ff02::1", C::Multicast),
        ("2001:db8::1", C::Documentation),
        ("3fff::1", C::Documentation),
        ("2001::1", C::Reserved),
        ("2606:4700::1111", C::Public),
        ("fd00:ec2::254", C::Private),
        ("4000::1", C::Reserved),
    ] {
        assert_eq!(classify(text.parse().unwrap()), class, "{text}");
    }
}

#[test]
fn a_name_leads_only_to_public_addresses_unless_a_rule_allows_more() {
    let mut rules = rules(&["a.test"]);
    let (private, public): (IpAddr, IpAddr) = ("10.1.2.3".parse().unwrap(), "8.8.8.8".parse().unwrap());
    assert_eq!(rules.check_address(&host("a.test"), public), Ok(()));
    assert!(rules.check_address(&host("a.test"), private).is_err());
    rules.allow_private.push("a.test".parse().unwrap());
    assert_eq!(rules.check_address(&host("a.test"), private), Ok(()));
    assert!(rules.check_address(&host("b.test"), private).is_err());
    for never in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::"] {
        assert!(rules.check_address(&host("a.test"), never.parse().unwrap()).is_err(), "{never}");
    }
    rules.hosts.insert(host("c.test"), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(rules.check_address(&host("c.test"), Ipv4Addr::LOCALHOST.into()), Ok(()));
    assert!(rules.check_address(&host("c.test"), private).is_err());
}

/// Makes a shortened ClientHello of `openssl s_client` with these extensions.
fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, data)| {
            [&kind.to_be_bytes()[..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
        })
        .collect();
    body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
    body.extend(all);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    record.extend([1, 0]);
    record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

fn names(names: &[(u8, &str)]) -> (u16, Vec<u8>) {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| {
            [&[*kind, 0, u8::try_from(name.len()).unwrap()][..], name.as_bytes()].concat()
        })
        .collect();
    (0, [&u16::try_from(list.len()).unwrap().to_be_bytes()[..], &list].concat())
}

#[test]
fn the_server_name_is_read_and_a_second_one_is_refused() {
    let alpn = (16, vec![0, 3, 2, b'h', b'2']);
    let one = hello(&[alpn.clone(), names(&[(0, "API.example.com")])]);
    assert_eq!(client_hello(&one), ClientHello::ServerName(host("api.example.com")));
    for len in 0..one.len() {
        assert_eq!(client_hello(&one[..len]), ClientHello::Partial, "{len}");
    }
    assert_eq!(client_hello(&hello(&[alpn])), ClientHello::NoServerName);
    for broken in [
        hello(&[names(&[(0, "a.test"), (0, "b.test")])]),
        hello(&[names(&[(0, "a.test")]), names(&[(0, "b.test")])]),
        hello(&[names(&[(1, "a.test")])]),
        hello(&[names(&[(0, "127.0.0.1")])]),
        hello(&[names(&[(0, "")])]),
        b"GET / HTTP/1.1\r\n".to_vec(),
        vec![22, 2, 0, 0, 9],
        vec![22, 3, 1, 0xff, 0xff],
    ] {
        assert_eq!(client_hello(&broken), ClientHello::NotTls, "{broken:02x?}");
    }
}

#[test]
fn a_hello_ends_where_its_length_says() {
    let header = |len: u16| [&[22, 3, 1][..], &len.to_be_bytes()].concat();
    assert_eq!(client_hello(&[]), ClientHello::Partial);
    assert_eq!(client_hello(&[22]), ClientHello::Partial);
    assert_eq!(client_hello(&[23]), ClientHello::NotTls, "one byte shows that it is not a handshake");
    // The shortest handshake has four bytes, the longest record 16 KiB.
    for (len, said) in [
        (0, ClientHello::NotTls),
        (3, ClientHello::NotTls),
        (4, ClientHello::Partial),
        (16_384, ClientHello::Partial),
        (16_385, ClientHello::NotTls),
    ] {
        assert_eq!(client_hello(&header(len)), said, "{len}");
    }
    // A length has more than one byte.
    let padded = hello(&[(21, vec![0; 700]), names(&[(0, "long.test")])]);
    assert_eq!(client_hello(&padded), ClientHello::ServerName(host("long.test")));
}

#[test]
fn a_connection_cannot_name_another_server() {
    let mut rules = rules(&["a.test"]);
    let asked = host("a.test");
    assert_eq!(rules.check_server_name(&asked, &ClientHello::ServerName(host("a.test"))), Ok(()));
    let other = ClientHello::ServerName(host("b.test"));
    assert_eq!(
        rules.check_server_name(&asked, &other),
        Err(Denial::ServerName(asked.clone(), host("b.test")))
    );
    assert!(rules.check_server_name(&asked, &ClientHello::NoServerName).is_err());
    assert!(rules.check_server_name(&asked, &ClientHello::NotTls).is_err());
    assert!(rules.check_server_name(&asked, &ClientHello::Partial).is_err());
    rules.allow_no_sni.push("a.test".parse().unwrap());
    assert_eq!(rules.check_server_name(&asked, &ClientHello::NoServerName), Ok(()));
}

#[test]
fn a_star_is_every_host_on_its_ports_and_is_nothing_else() {
    let mut open = rules(&["*", "git.corp:22"]);
    assert_eq!(open.check(&host("example.com"), 443), Ok(()));
    assert_eq!(open.check(&host("example.com"), 80), Err(Denial::Port(host("example.com"), 80)));
    assert_eq!(rules(&["*:80,443"]).check(&host("example.com"), 80), Ok(()));
    // What this machine cannot resolve is a parent proxy's to resolve, if a rule names it.
    assert_eq!(open.check_unknown(&host("git.corp")), Ok(()));
    assert_eq!(open.check_unknown(&host("evil.test")), Err(Denial::Unknown(host("evil.test"))));
    for never in ["**", "*a", "a.*", "*.*", "*.", ".*", "*:0", "*:", "* ", "*.com"] {
        assert!(never.parse::<HostRule>().is_err(), "{never:?}");
    }
    open.deny.push(HostPattern::Any);
    assert_eq!(open.check(&host("git.corp"), 22), Err(Denial::Closed(host("git.corp"))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A wildcard covers exactly the names that end in a dot and its domain.
    #[test]
    fn a_wildcard_covers_the_names_below_it(name in "[a-c.]{1,9}", suffix in "[a-c]{1,2}\\.[a-c]{1,2}") {
        if let (Ok(name), Ok(pattern)) = (name.parse::<HostName>(), format!("*.{suffix}").parse::<HostPattern>()) {
            let below = name.as_str().ends_with(&format!(".{suffix}"));
            prop_assert_eq!(pattern.matches(&name), below);
        }
    }

    /// A rule that is written as text reads back equal.
    #[test]
    fn a_rule_reads_back_equal(star in any::<bool>(), name in "[a-z]{1,5}\\.[a-z]{1,5}", ports in prop::collection::btree_set(1u16.., 1..4)) {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let text = format!("{}{name}:{}", if star { "*." } else { "" }, ports.join(","));
        let rule: HostRule = text.parse().unwrap();
        prop_assert_eq!(rule.to_string().parse::<HostRule>().unwrap(), rule);
    }

    /// A rule for every host opens every host that is not denied, and no address that is not public, on no list of
    /// exceptions.
    #[test]
    fn a_star_opens_every_name_and_no_network(name in "[a-z]{1,9}(\\.[a-z]{1,9}){0,3}", v4 in any::<u32>(), v6 in any::<u128>(), denied in any::<bool>()) {
        let name = host(&name);
        let mut open = rules(&["*:80,443"]);
        open.allow_private.push(HostPattern::Any);
        open.allow_no_sni.push(HostPattern::Any);
        if denied {
            open.deny.push(HostPattern::Exact(name.clone()));
        }
        prop_assert_eq!(open.check(&name, 443).is_ok(), !denied);
        for address in [IpAddr::from(Ipv4Addr::from(v4)), Ipv6Addr::from(v6).into(), Ipv4Addr::from(v4).to_ipv6_mapped().into()] {
            let public = classify(address) == AddressClass::Public;
            prop_assert_eq!(open.check_address(&name, address).is_ok(), public, "{}", address);
            prop_assert!(open.check_own(&name, address).is_err());
        }
        prop_assert!(open.check_server_name(&name, &ClientHello::NoServerName).is_err());
    }

    /// Whatever the text is, nobody reads an accepted name as an address.
    #[test]
    fn a_host_name_is_never_an_address(text in "[0-9a-fxX.:\\[\\]]{1,20}") {
        if let Ok(name) = text.parse::<HostName>() {
            prop_assert!(name.as_str().parse::<IpAddr>().is_err());
            let last = name.as_str().rsplit('.').next().unwrap();
            prop_assert!(!last.starts_with(|c: char| c.is_ascii_digit()), "{}", name);
        }
    }

    /// An IPv4 address inside an IPv6 one has the same class as outside it.
    #[test]
    fn a_mapped_address_counts_as_the_ipv4_address(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        prop_assert_eq!(classify(v4.to_ipv6_mapped().into()), classify(v4.into()));
        let nat64 = Ipv6Addr::from(0x0064_ff9b_0000_0000_0000_0000_0000_0000 | u128::from(bits));
        prop_assert_eq!(classify(nat64.into()), classify(v4.into()));
    }

    /// Reading a hello never panics, and noise never has a server name.
    #[test]
    fn noise_is_never_a_hello(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = client_hello(&bytes);
    }
}
