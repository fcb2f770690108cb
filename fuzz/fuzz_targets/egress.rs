//! Trust boundary: a request's authority and a connection's first bytes, both from the guest.
//! Property: an address is never a host, a rule allows only what it names, and reading a hello never panics.
#![no_main]

use bottle_core::egress::{ClientHello, HostPattern, HostRule, Rules, authority, client_hello};
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, ToSocketAddrs};

fuzz_target!(|data: (&str, &str, &[u8])| {
    let (asked, rule, hello) = data;
    let said = client_hello(hello);
    let Ok((host, port)) = authority(asked, 443) else { return };
    assert!(host.as_str().parse::<IpAddr>().is_err());
    // The C library would read such text as an address without asking a resolver.
    if host.as_str().bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b'x')) && host.as_str().contains(|c: char| c.is_ascii_digit()) {
        let last = host.as_str().rsplit('.').next().unwrap();
        assert!(!last.starts_with(|c: char| c.is_ascii_digit()), "{:?}", (host.as_str(), port).to_socket_addrs());
    }
    assert!(Rules::default().check(&host, port).is_err());
    if let Ok(rule) = rule.parse::<HostRule>() {
        assert_eq!(rule.to_string().parse::<HostRule>().unwrap(), rule);
        let named = match &rule.pattern {
            HostPattern::Exact(name) => *name == host,
            HostPattern::Any => true,
            HostPattern::Below(suffix) => host.as_str().ends_with(&format!(".{suffix}")),
        };
        let rules = Rules { allow: vec![rule.clone()], ..Rules::default() };
        assert_eq!(rules.check(&host, port).is_ok(), named && rule.ports.contains(&port));
        if rules.check_server_name(&host, &said).is_ok() {
            assert_eq!(said, ClientHello::ServerName(host));
        }
    }
});
