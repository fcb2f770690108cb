//! What goes to an upstream: paths that no server reads as another one, and the parts of a request that
//! cannot redirect it.
//!
//! The servers here imitate what real servers do, and share nothing with the check.

use bottle_core::upstream::echo::{self, Echo};
use bottle_core::upstream::{
    BadPath, NoRoute, RequestRule, Upstream, is_allowed, is_header_passed_on, is_method_passed_on, route,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::str::FromStr;

fn upstreams() -> Vec<Upstream> {
    vec![Upstream {
        path: "/api".parse().unwrap(),
        origin: "https://one.example/base".parse().unwrap(),
        allow: Vec::new(),
        headers: BTreeMap::new(),
        variables: BTreeMap::new(),
    }]
}

fn accepted(rest: &str) -> Result<(), BadPath> {
    match route(&upstreams(), &format!("/api{rest}")) {
        Ok(_) => Ok(()),
        Err(NoRoute::Path(why)) => Err(why),
        Err(NoRoute::Unknown) => panic!("{rest}"),
    }
}

/// Decodes a path's bytes as a server does before it splits the path.
fn decode(path: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let two = |from: usize| {
            let digits = path.get(from..from + 2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with(['+', '-']))
        };
        let wide = path.get(at + 1).is_some_and(|b| b.eq_ignore_ascii_case(&b'u'));
        match path[at] {
            // IIS: %uXXXX.
            b'%' if wide && two(at + 2).is_some() && two(at + 4).is_some() => {
                let c = u32::from(two(at + 2).unwrap()) << 8 | u32::from(two(at + 4).unwrap());
                out.extend(char::from_u32(c).unwrap_or('?').to_string().bytes());
                at += 6;
            }
            b'%' if two(at + 1).is_some() => {
                out.push(two(at + 1).unwrap());
                at += 3;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Reads a path like a server that does not check UTF-8: an overlong form is the character that it encodes.
fn lax_utf8(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let next = |n: usize| bytes.get(at + n).map(|b| u32::from(b & 0x3f));
        let (c, len) = match (bytes[at], next(1), next(2)) {
            (b @ 0xc0..=0xc1, Some(one), _) => (u32::from(b & 0x1f) << 6 | one, 2),
            (0xe0, Some(one), Some(two)) if one < 0x20 => (one << 6 | two, 3),
            (b, ..) => (u32::from(b), 1),
        };
        out.push(u8::try_from(c).unwrap_or(b'?'));
        at += len;
    }
    out
}

/// Applies Windows' best fit and NFKC, as far as it matters here.
fn best_fit(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for (from, to) in [
        ("\u{ff0e}", "."),
        ("\u{2024}", "."),
        ("\u{fe52}", "."),
        ("\u{2025}", ".."),
        ("\u{2026}", "..."),
        ("\u{ff0f}", "/"),
        ("\u{2044}", "/"),
        ("\u{2215}", "/"),
        ("\u{ff3c}", "\\"),
        ("\u{2216}", "\\"),
        ("\u{fe68}", "\\"),
        ("\u{ff1b}", ";"),
        ("\u{37e}", ";"),
        ("\u{ff05}", "%"),
    ] {
        text = text.replace(from, to);
    }
    text.into_bytes()
}

/// Returns whether one server's path climbs out of its beginning at any point.
fn climbs(path: &[u8], same: impl Fn(&[u8]) -> Vec<u8>) -> bool {
    let mut depth = 0_i64;
    path.split(|b| *b == b'/').map(same).any(|segment| {
        match segment.as_slice() {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}

fn without_parameters(segment: &[u8]) -> Vec<u8> {
    segment.split(|b| *b == b';').next().unwrap_or_default().to_vec()
}

/// Cuts a name as Windows does: everything after a NUL, and dots and spaces at the end of all names but `..`.
fn windows(segment: &[u8]) -> Vec<u8> {
    let segment = segment.split(|b| *b == 0 || *b == b'?' || *b == b'#').next().unwrap_or_default();
    let text = String::from_utf8_lossy(segment);
    let bare = text.trim_end_matches([' ', '\t']);
    let all_dots = bare.len() > 1 && bare.chars().all(|c| c == '.');
    if all_dots { b"..".to_vec() } else { bare.trim_end_matches(['.', ' ']).as_bytes().to_vec() }
}

/// Returns which server, if any, reads a path as one that climbs.
fn some_server_climbs(path: &str) -> Option<&'static str> {
    let raw = path.as_bytes().to_vec();
    let once = decode(&raw);
    let turned =
        |bytes: &[u8]| bytes.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect::<Vec<u8>>();
    let same = |segment: &[u8]| segment.to_vec();
    for (level, bytes) in [("raw", raw), ("once", once.clone()), ("twice", decode(&once))] {
        for (_, bytes) in [("", bytes.clone()), ("lax", lax_utf8(&bytes)), ("fit", best_fit(&bytes))] {
            // The server decodes again after a look-alike became a percent sign.
            for bytes in [bytes.clone(), decode(&bytes)] {
                let bytes = turned(&bytes);
                if climbs(&bytes, same) || climbs(&bytes, without_parameters) || climbs(&bytes, windows) {
                    return Some(level);
                }
                if climbs(&bytes, |segment| windows(&without_parameters(segment))) {
                    return Some(level);
                }
            }
        }
    }
    None
}

#[test]
fn a_path_that_some_server_reads_as_another_is_refused() {
    for rest in [
        "/..",
        "/../x",
        "/a/../b",
        "/.",
        "/./a",
        "/...",
        "/a/..",
        "/..?x", // dots
        "/%2e%2e",
        "/%2E.",
        "/.%2e/x",
        "/%2e",
        "/a%2eb", // encoded
        "/..;/",
        "/%2e%2e;x/",
        "/.;/",
        "/..;a=b/x",
        "/;/..;/",
        "/;x/",
        "/..%3bx",
        "/..%3B/", // parameters
        "/%252e%252e/x",
        "/%25",
        "/a%25b",
        "/%25%32%65/x",
        "/%%32%65", // twice
        "/%c0%ae%c0%ae/",
        "/..%c0%af",
        "/%e0%80%ae/",
        "/%ff",
        "/%80", // no UTF-8
        "/a%2fb",
        "/a%2F..",
        "/%5c..",
        "/a\\..\\b",
        "/%5C", // slashes
        "/%u002e%u002e/",
        "/%",
        "/%2",
        "/%zz",
        "/%+2", // no encodings
        "//",
        "//x",
        "/a//b",
        "//../x",
        "/a//", // empty
        "/..%00/x",
        "/%00",
        "/a%0d%0ab",
        "/%7f",
        "/a%09",
        "/%c2%85",
        "/%e2%80%ae", // hidden
        "/..%20/x",
        "/%20",
        "/..%c2%a0/",
        "/ ",
        "/..%3fx",
        "/..%23x",
        "/.%3f", // cut off
        "/%ef%bc%8e%ef%bc%8e/",
        "/..%ef%bc%8fx",
        "/%e2%80%a5/x",
        "/..%ef%bc%9bx/",
        "/%ef%bc%852e/", // look-alikes
        "/a\"b",
        "/<x>",
        "/a{b}",
        "/a|b",
        "/a^b",
        "/a`b",
        "/\u{e4}",
        "/a\u{1}b",
    ] {
        assert!(accepted(rest).is_err(), "{rest:?}");
    }
}

#[test]
fn a_path_that_all_servers_read_alike_passes() {
    for rest in [
        "",
        "/",
        "?x",
        "/v1/messages",
        "/v1/x?back=/../..;/%2e%2e",
        "/a..b/.hidden/x...",
        "/..a",
        "/a/",
        "/repos/o/r/contents/a%20b.txt",
        "/x;version=1",
        "/%C3%A4/%E4%BD%A0",
        "/@scope/name",
        "/a:b@c,d=e+f",
        "/projects/1/issues/(x)'!*$&~",
        "/a%3fb",
        "/C%23/x",
        "/v1/models/a%40b",
        "/a%20.b",
        "/%E3%80%82x",
    ] {
        assert_eq!(accepted(rest), Ok(()), "{rest}");
        let path = rest.split('?').next().unwrap();
        assert_eq!(some_server_climbs(path), None, "{rest}");
    }
    // The servers of this test can be led astray, by what is refused.
    for path in [
        "/..;/x",
        "/%252e%252e/x",
        "/..%5cx/../..",
        "/%c0%ae%c0%ae/x",
        "/%ef%bc%8e%ef%bc%8e/x",
        "/..%20/x",
        "/%u002e%u002e/x",
    ] {
        assert!(some_server_climbs(path).is_some(), "{path}");
    }
}

#[test]
fn methods_that_echo_a_request_and_headers_that_redirect_it_are_not_passed_on() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(is_method_passed_on(method), "{method}");
    }
    for method in
        ["TRACE", "trace", "TRACK", "DEBUG", "CONNECT", "get", "PROPFIND", "MOVE", "PRI", "", "GET "]
    {
        assert!(!is_method_passed_on(method), "{method}");
    }
    for name in [
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-forwarded-for",
        "x-forwarded-prefix",
        "forwarded",
        "max-forwards",
        "expect",
        "x_api_key",
        "content_length",
        "x-original-host",
        "x-proxy-url",
        "range",
        "if-range",
    ] {
        assert!(!is_header_passed_on(name), "{name}");
    }
    for name in ["accept", "content-type", "anthropic-version", "x-stainless-arch", "x-mine", "user-agent"] {
        assert!(is_header_passed_on(name), "{name}");
    }
}

/// Returns paths made of pieces that mean something to some server.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "/", "/", ".", "..", "%2e", "%2E", "%252e", "%2f", "%5c", "\\", ";", ";x", "%3b", "%00", "%20", "%c0%ae",
            "%c0%af", "%e0%80%ae", "%u002e", "%u002f", "%ef%bc%8e", "%ef%bc%8f", "%e2%80%a5", "%ef%bc%9b",
            "%ef%bc%85", "%25", "%", "2e", "2f", "%3f", "%23", "a", "b.c", "%c3%a4", "\u{ff0e}", " ", "#", "x=1",
        ])
        .prop_map(str::to_owned),
        1 => "[ -~]{0,3}",
        1 => "%[0-9a-f]{2}",
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

#[test]
fn a_rule_allows_its_methods_and_its_path_in_its_own_spelling() {
    let rules: Vec<RequestRule> =
        ["GET /repos/acme/*", "POST,PUT /v1/messages", "* /repos/*/issues", "GET /"]
            .map(|rule| rule.parse().unwrap())
            .into();
    for (method, target) in [
        ("GET", "/repos/acme/x"),
        ("HEAD", "/repos/acme/x"),
        ("GET", "/repos/acme/x/y.git?per_page=5&x=%2F"),
        ("GET", "/repos/acme/x%20y/"),
        ("PUT", "/v1/messages"),
        ("POST", "/v1/messages?beta=true"),
        ("DELETE", "/repos/other/issues"),
        ("GET", ""),
        ("GET", "/?a"),
    ] {
        assert!(is_allowed(&rules, method, target), "{method} {target}");
    }
    for (method, target) in [
        ("POST", "/repos/acme/x"),
        ("get", "/repos/acme/x"),
        ("TRACE", "/repos/other/issues"),
        ("GET", "/repos/acme"),
        ("GET", "/repos/acme/"),
        ("GET", "/repos/acme//x"),
        ("GET", "/repos/ACME/x"),
        ("GET", "/repos/%61cme/x"),
        ("GET", "/repos/acme;a=b/x"),
        ("GET", "/repos/acme/../other/x"),
        ("GET", "/repos/acme/%2e%2e/other/x"),
        ("GET", "/repos/acme/..;/other/x"),
        ("GET", "/repos/acme/..%2fother"),
        ("GET", "/repos/acme/x/..\\..\\other"),
        ("GET", "//repos/acme/x"),
        ("GET", "/x/../repos/acme/x"),
        ("GET", "/repos/acmex/y"),
        ("POST", "/v1/messages/"),
        ("POST", "/v1/messages/x"),
        ("GET", "/v1/messages"),
        ("GET", "/repos//issues"),
        ("GET", "/repos/a/b/issues"),
        ("POST", "/v1/messages?_method=DELETE"),
        ("POST", "/v1/messages?a=b&_METHOD=DELETE"),
        ("POST", "/v1/messages?%5fmethod=DELETE"),
        ("POST", "/v1/messages?%24httpMethod=DELETE"),
    ] {
        assert!(!is_allowed(&rules, method, target), "{method} {target}");
    }
    assert!(is_allowed(&[], "DELETE", "/anything"), "no rules allow everything");
    for wrong in [
        "GET",
        "/x",
        "GET x",
        "GET  /x",
        "get /x",
        "TRACE /x",
        "GET, POST /x",
        "GET /a/../b",
        "GET /%61",
        "GET /a;b",
        "GET /a//b",
        "GET /a*",
        "GET /a?b",
        "",
        " /x",
        "GET /é",
    ] {
        assert!(wrong.parse::<RequestRule>().is_err(), "{wrong:?}");
    }
    for text in
        ["GET /repos/acme/*", "POST,PUT /v1/messages", "* /repos/*/issues", "GET /", "* /*", "GET /a/"]
    {
        assert_eq!(text.parse::<RequestRule>().unwrap().to_string(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No path that is passed on leaves the upstream's own, whoever reads it.
    #[test]
    fn no_server_reads_an_accepted_path_as_climbing_out(path in path()) {
        let before_query = path.split('?').next().unwrap();
        if accepted(&path).is_ok() {
            prop_assert_eq!(some_server_climbs(before_query), None, "{}", path);
        }
    }

    /// Whatever a guest writes, no server reads an allowed path as one beside the rule's, whichever way it reads.
    #[test]
    fn no_server_reads_an_allowed_path_as_one_beside_the_rule(
        start in prop::sample::select(vec!["/repos/acme", "/repos/acme/", "/repos", "/repos/%61cme/", "/repos/acme/..", "/Repos/acme/", "//repos/acme/"]),
        path in path(),
    ) {
        let rules = [RequestRule::from_str("GET /repos/acme/*").unwrap()];
        let target = format!("{start}{path}");
        if is_allowed(&rules, "GET", &target) {
            let below = target.strip_prefix("/repos/acme/");
            prop_assert!(below.is_some_and(|below| !below.is_empty()), "{}", target);
            let read = some_server_climbs(below.unwrap_or_default());
            prop_assert_eq!(read, None, "{}", target);
        }
        prop_assert!(!is_allowed(&rules, "POST", &target));
    }

    /// A key is found however an answer is cut, and everything else arrives as it was sent.
    #[test]
    fn a_key_in_an_answer_is_found_however_the_answer_is_cut(
        text in "[a-c]{0,60}",
        key in "[a-c]{8,9}",
        cuts in prop::collection::vec(0_usize..61, 0..8),
    ) {
        let keys = [key.into_bytes()];
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut looks = Echo::new(&keys);
        let parts: Result<Vec<Vec<u8>>, _> =
            cuts.windows(2).map(|cut| looks.next(&text.as_bytes()[cut[0]..cut[1]])).collect();
        let is_there = text.as_bytes().windows(keys[0].len()).any(|part| part == keys[0]);
        prop_assert_eq!(echo::has(&keys, text.as_bytes()), is_there);
        match parts {
            Ok(parts) => {
                prop_assert!(!is_there);
                prop_assert_eq!([parts.concat(), looks.end()].concat(), text.into_bytes());
            }
            Err(_) => prop_assert!(is_there),
        }
    }
}
