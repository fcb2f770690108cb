//! Names, words in logs and reasons that people and programs read. Each is part of a format that somebody
//! depends on, so tests pin it.

use bottle_core::egress::{AddressClass, Denial, HostName, HostRule, InvalidHost, authority};
use bottle_core::environment::{add, is_reserved};
use bottle_core::guard::FirstPacket;
use bottle_core::guard::{Guard, Refusal, describe};
use bottle_core::ports;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::{InvalidSlug, Slug};
use bottle_core::subnet::Subnet;
use bottle_oracle::compare;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn guard() -> Guard {
    compare::both(Subnet::try_from(7).unwrap(), &[20_000]).0
}

#[test]
fn a_denial_has_a_word_a_sentence_and_a_remedy() {
    let (a, b) = (host("a.test"), host("b.test"));
    let address: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
    let private = AddressClass::Private;
    let cases = [
        (Denial::Host(a.clone()), "host", "no rule allows a.test", Some(None)),
        (Denial::Port(a.clone(), 80), "port", "the rules allow a.test, but not its port 80", Some(Some(80))),
        (Denial::Closed(a.clone()), "closed", "a rule closes a.test", Some(None)),
        (
            Denial::AddressLiteral(address),
            "address-literal",
            "10.0.0.1 is an address; only names can be allowed",
            None,
        ),
        (
            Denial::Address(a.clone(), address, private),
            "address",
            "a.test leads to 10.0.0.1, a private address",
            None,
        ),
        (
            Denial::ServerName(a.clone(), b),
            "server-name",
            "the connection to a.test asks for the server b.test",
            None,
        ),
        (
            Denial::Unknown(a.clone()),
            "unknown",
            "a.test has no address here, and \"*\" does not cover what only a parent proxy can resolve",
            Some(None),
        ),
        (Denial::NoServerName(a.clone()), "no-server-name", "the connection to a.test names no server", None),
        (Denial::NotTls(a.clone()), "not-tls", "the connection to a.test is not TLS", None),
        (Denial::Unreadable, "unreadable", "the request names no host", None),
    ];
    for (denial, word, sentence, could_allow) in cases {
        assert_eq!((denial.name(), denial.to_string().as_str()), (word, sentence));
        assert_eq!(denial.could_allow(), could_allow.map(|port| (&a, port)));
    }
}

#[test]
fn every_refusal_reads_differently() {
    let said: BTreeSet<String> = Refusal::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), Refusal::ALL.len(), "two reasons read the same");
    assert!(said.iter().all(|words| !words.is_empty()));
}

#[test]
fn a_frame_is_described_by_its_destination() {
    let guard = guard();
    let address = Ipv4Addr::new(192, 0, 2, 7);
    for (packet, words) in [
        (FirstPacket::Tcp(address, 80), "tcp 192.0.2.7:80"),
        (FirstPacket::Udp(address, 123), "udp 192.0.2.7:123"),
        // Something on port 53 that is not a question. Below is a question that is not on port 53.
        (FirstPacket::Udp(address, 53), "udp 192.0.2.7:53"),
        (FirstPacket::Ping(address), "icmp 192.0.2.7"),
        (FirstPacket::Arp(address), "arp"),
        (FirstPacket::Resolve("secret.example.com".to_owned()), "dns secret.example.com"),
        (FirstPacket::Resolve("a\u{7}b.example".to_owned()), "dns a?b.example"),
    ] {
        assert_eq!(describe(&guard.frame(&packet)), words);
    }
    let mut elsewhere = guard.frame(&FirstPacket::Resolve("example.com".to_owned()));
    elsewhere[36..38].copy_from_slice(&5353_u16.to_be_bytes());
    assert_eq!(describe(&elsewhere), "udp 192.168.7.1:5353");
    assert_eq!(describe(&[0; 5]), "a frame too short to read");
    let mut other = guard.frame(&FirstPacket::Arp(address));
    other[12..14].copy_from_slice(&[0x86, 0xdd]);
    assert_eq!(describe(&other), "ethertype 0x86dd");
}

#[test]
fn variables_that_bottle_sets_are_reserved() {
    let own = [
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "https_proxy",
        "http_proxy",
        "BOTTLE_SLUG",
        "BOTTLE_GIT_GATE",
        "BOTTLE_SUPERVISE",
    ];
    assert!(own.iter().all(|name| is_reserved(name)));
    assert!(
        ["PATH", "HTTPS_PROX", "BOTTLE", "Https_Proxy", "NO_PROXY", "no_proxy", "JAVA_TOOL_OPTIONS"]
            .iter()
            .all(|name| !is_reserved(name))
    );
}

#[test]
fn hosts_that_are_not_asked_through_the_proxy_are_added_and_never_taken_away() {
    let mut env = BTreeMap::from([("NO_PROXY".to_owned(), "localhost".to_owned())]);
    add(&mut env, "no_proxy", "db.test, localhost,,db.test");
    assert_eq!(env["NO_PROXY"], "localhost,db.test");
    assert_eq!(env["no_proxy"], "db.test,localhost");
    // Java takes the last of two options, so a person's counts.
    env.insert("JAVA_TOOL_OPTIONS".to_owned(), "-Dhttp.proxyHost=x".to_owned());
    add(&mut env, "JAVA_TOOL_OPTIONS", "-Xmx1g");
    assert_eq!(env["JAVA_TOOL_OPTIONS"], "-Dhttp.proxyHost=x -Xmx1g");
}

/// A bottle keeps its ports from one version of bottle to the next.
#[test]
fn the_ports_of_a_slug_never_change() {
    let slug: Slug = "demo".parse().unwrap();
    let ports: Vec<u16> =
        Sidecar::ALL.iter().map(|sidecar| ports::candidates(&slug, *sidecar).next().unwrap()).collect();
    assert_eq!(ports, GOLDEN_PORTS);
    for sidecar in Sidecar::ALL {
        let lane: Vec<u16> = ports::candidates(&slug, sidecar).collect();
        // A third of the ten thousand ports, each once.
        assert_eq!((lane.len(), lane.iter().collect::<BTreeSet<_>>().len()), (3333, 3333));
        assert!(lane.iter().all(|port| ports::RANGE.contains(port)));
    }
}

#[test]
fn a_sidecar_is_found_by_its_name() {
    for sidecar in Sidecar::ALL {
        assert_eq!(sidecar.name().parse::<Sidecar>().unwrap(), sidecar);
    }
    assert!("pipe".parse::<Sidecar>().is_err() && "".parse::<Sidecar>().is_err());
}

#[test]
fn a_machine_is_named_after_its_bottle() {
    assert_eq!("my-app".parse::<Slug>().unwrap().machine_name(), "bottle-my-app");
}

#[test]
fn a_name_becomes_the_closest_slug() {
    for (name, slug) in [
        ("My Project", Some("my-project")),
        ("  --a__b!!c  ", Some("a-b-c")),
        ("v1.2", Some("v1-2")),
        ("déjà vu", Some("d-j-vu")),
        ("plain", Some("plain")),
        ("日本", None),
        ("", None),
        ("---", None),
    ] {
        assert_eq!(Slug::from_name(name).as_ref().map(Slug::as_str), slug, "{name:?}");
    }
    assert_eq!(Slug::from_name(&"x".repeat(90)).unwrap().as_str().len(), Slug::MAX_LEN);
    for bad in ["-a", "a-", "-"] {
        assert_eq!(bad.parse::<Slug>(), Err(InvalidSlug::Hyphen));
    }
}

#[test]
fn every_class_of_addresses_has_a_description() {
    use AddressClass as C;
    let classes = [
        C::Public,
        C::Unspecified,
        C::Loopback,
        C::Private,
        C::LinkLocal,
        C::SharedSpace,
        C::Multicast,
        C::Broadcast,
        C::Documentation,
        C::Reserved,
    ];
    let said: BTreeSet<String> = classes.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), classes.len());
    assert!(!said.contains(""));
}

#[test]
fn a_host_name_has_253_characters_at_most() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(longest.parse::<HostName>().is_ok());
    assert!(format!("{longest}b").parse::<HostName>().is_err());
    assert!("a..b".parse::<HostName>().is_err());
}

#[test]
fn a_rule_shows_its_ports() {
    for text in ["a.test", "*.a.test", "a.test:80", "a.test:80,443", "a.test:8443"] {
        assert_eq!(text.parse::<HostRule>().unwrap().to_string(), text);
    }
    // Without a port, 443 is meant.
    assert_eq!("a.test:443".parse::<HostRule>().unwrap().to_string(), "a.test");
    for (text, what) in [("a.test:0", "0"), ("a.test:x", "x"), ("a.test:80,", ""), ("a.test:65536", "65536")]
    {
        assert_eq!(text.parse::<HostRule>(), Err(InvalidHost::Port(what.to_owned())), "{text}");
    }
    for (url, rule) in [
        ("https://a.test/x", "a.test"),
        ("http://a.test/", "a.test:80"),
        ("HTTPS://me:secret@a.test:8443?x", "a.test:8443"),
        ("//a.test", "a.test"),
        ("a.test/x", "a.test"),
    ] {
        let expected = InvalidHost::Url(url.to_owned(), rule.to_owned());
        assert_eq!(url.parse::<HostRule>(), Err(expected));
    }
    assert_eq!("/".parse::<HostRule>(), Err(InvalidHost::Name("/".to_owned())));
    // The message shows the whole literal, not only the part before a colon.
    for literal in ["::1", "[::1]:443", "[::1]", "2001:db8::2"] {
        let said = literal.parse::<HostRule>().unwrap_err();
        assert!(said.to_string().contains(literal), "{literal}: {said}");
    }
    let below: HostRule = "*.a.test".parse().unwrap();
    let covers = |name: &str| below.pattern.matches(&host(name));
    assert!(covers("x.a.test") && !covers("a.test") && !covers("xya.test"));
}

#[test]
fn an_authority_is_a_host_and_a_port() {
    assert_eq!(authority("a.test:8443", 443), Ok((host("a.test"), 8443)));
    assert_eq!(authority("a.test", 443), Ok((host("a.test"), 443)));
    for literal in ["[::1]:443", "127.0.0.1"] {
        assert_eq!(authority(literal, 443), Err(InvalidHost::Address(literal.to_owned())));
    }
    for (text, port) in [("a.test:0", "0"), ("a.test:", ""), ("a.test:65536", "65536")] {
        assert_eq!(authority(text, 443), Err(InvalidHost::Port(port.to_owned())));
    }
}
/// Computed separately from the code: 20000 + lane + 3 * (the first 8 bytes of the hash mod 3333).
const GOLDEN_PORTS: [u16; 3] = [21_605, 28_692, 26_797];
