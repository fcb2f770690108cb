//! Upstreams: the guest chooses a path, but never an origin.

use bottle_core::doors::Doors;
use bottle_core::egress::Rules;
use bottle_core::plan::{Guest, Plan};
use bottle_core::sidecar::Sidecar;
use bottle_core::stack::dialect::Dialect;
use bottle_core::upstream::{
    Conflict, HeaderName, InvalidUpstream, NoRoute, Origin, Preset, RequestRule, Secret, SecretSource,
    Upstream, UpstreamPath, is_allowed, route,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn upstream(path: &str, origin: &str) -> Upstream {
    Upstream {
        path: path.parse().unwrap(),
        origin: origin.parse().unwrap(),
        allow: Vec::new(),
        headers: BTreeMap::new(),
        variables: BTreeMap::new(),
    }
}

fn some() -> Vec<Upstream> {
    vec![
        upstream("/api", "https://one.example"),
        upstream("/api/two", "https://two.example/base"),
        upstream("/other", "https://other.example:8443"),
    ]
}

#[test]
fn the_longest_path_up_to_a_segments_end_wins() {
    for (target, index, rest) in [
        ("/api", 0, ""),
        ("/api/", 0, "/"),
        ("/api/v1/x?y=z", 0, "/v1/x?y=z"),
        ("/api?q", 0, "?q"),
        ("/api/two", 1, ""),
        ("/api/two/three", 1, "/three"),
        ("/api/twofold", 0, "/twofold"),
        ("/other/a%20b/a..b/.hidden/x...", 2, "/a%20b/a..b/.hidden/x..."),
        ("/other/x?back=/../..", 2, "/x?back=/../.."),
    ] {
        let upstreams = some();
        let found = route(&upstreams, target).unwrap();
        assert_eq!((found.index, found.rest), (index, rest), "{target}");
    }
    for target in ["", "/", "/apix", "/ap", "api", "/API", "//api", "/x/api", "http://one.example/api"] {
        assert_eq!(route(&some(), target), Err(NoRoute::Unknown), "{target}");
    }
    assert_eq!(route(&[], "/api"), Err(NoRoute::Unknown));
}

#[test]
fn a_path_that_climbs_is_refused() {
    for rest in [
        "/..",
        "/../x",
        "/a/../b",
        "/.",
        "/./a",
        "/%2e%2e",
        "/%2E.",
        "/.%2e/x",
        "/a%2fb",
        "/a%2F..",
        "/%5c..",
        "/%5C",
        "/a\\..\\b",
        "/..?x",
        "/a/..",
    ] {
        let target = format!("/api{rest}");
        assert!(matches!(route(&some(), &target), Err(NoRoute::Path(_))), "{target}");
    }
}

#[test]
fn an_origin_is_https_and_bare() {
    for (text, host, port, shown) in [
        ("https://api.example", "api.example", 443, "https://api.example"),
        ("https://api.example/", "api.example", 443, "https://api.example"),
        ("https://API.example:8443/a/b.c", "api.example", 8443, "https://API.example:8443/a/b.c"),
    ] {
        let origin: Origin = text.parse().unwrap();
        assert_eq!((origin.host().as_str(), origin.port(), origin.as_str()), (host, port, shown));
        assert_eq!(origin.to_string(), shown);
        let named = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
        assert_eq!(origin.authority(), named);
    }
    for text in ["http://api.example", "api.example", "ftp://x", "HTTPS://x", ""] {
        assert_eq!(text.parse::<Origin>(), Err(InvalidUpstream::NotHttps(text.to_owned())), "{text}");
    }
    for text in ["https://user@api.example", "https://api.example?x", "https://api.example/a#b"] {
        assert_eq!(text.parse::<Origin>(), Err(InvalidUpstream::NotBare(text.to_owned())), "{text}");
    }
    for text in ["https://api.example/a/../b", "https://api.example//x", "https://api.example/a b"] {
        assert!(matches!(text.parse::<Origin>(), Err(InvalidUpstream::Path(_))), "{text}");
    }
    for text in
        ["https://", "https://127.0.0.1", "https://[::1]/", "https://a..b", "https://x:0", "https://x:65536"]
    {
        assert!(matches!(text.parse::<Origin>(), Err(InvalidUpstream::Host(_))), "{text}");
    }
}

#[test]
fn a_path_is_made_of_plain_segments() {
    for text in ["/a", "/anthropic", "/a/b-c/d_e.f", "/A1", &format!("/{}", "a".repeat(127))] {
        assert_eq!(text.parse::<UpstreamPath>().unwrap().as_str(), text);
    }
    let long = format!("/{}", "a".repeat(128));
    for text in [
        "", "/", "a", "/a/", "//a", "/a//b", "/.", "/..", "/a/..", "/a b", "/a?b", "/ä", "/a%20", "/a:b",
        &long,
    ] {
        assert_eq!(text.parse::<UpstreamPath>(), Err(InvalidUpstream::Path(text.to_owned())), "{text}");
    }
}

#[test]
fn a_header_is_a_token_that_the_proxy_does_not_set() {
    for (text, name) in [
        ("x-api-key", "x-api-key"),
        ("Authorization", "authorization"),
        ("A!#$%&'*+-.^_`|~9", "a!#$%&'*+-.^_`|~9"),
    ] {
        assert_eq!(text.parse::<HeaderName>().unwrap().as_str(), name);
    }
    for text in ["", "a b", "a:b", "a\r\nb", "ä", "(x)", "a\0"] {
        assert_eq!(text.parse::<HeaderName>(), Err(InvalidUpstream::Header(text.to_owned())), "{text:?}");
    }
    for text in [
        "Host",
        "connection",
        "Content-Length",
        "transfer-encoding",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
    ] {
        assert_eq!(
            text.parse::<HeaderName>(),
            Err(InvalidUpstream::Framing(text.to_ascii_lowercase())),
            "{text}"
        );
    }
}

#[test]
fn a_secret_has_exactly_one_source() {
    let secret = |text: &str| serde_json::from_str::<Secret>(text);
    let from_env = secret(r#"{"from_env":"KEY","prefix":"Bearer "}"#).unwrap();
    assert_eq!((from_env.source.to_string().as_str(), from_env.prefix.as_str()), ("$KEY", "Bearer "));
    let from_file = secret(r#"{"from_file":"/run/key"}"#).unwrap();
    assert_eq!((from_file.source.to_string().as_str(), from_file.prefix.as_str()), ("the file /run/key", ""));
    let from_command = secret(r#"{"from_command":["pass","show","x"]}"#).unwrap();
    assert_eq!(from_command.source.to_string(), "the command pass");
    for secret in [from_env, from_file, from_command] {
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), secret);
    }
    for text in [
        "{}",
        r#"{"prefix":"x"}"#,
        r#"{"from_env":"A","from_file":"/b"}"#,
        r#"{"from_env":"A","from_command":["b"]}"#,
        r#"{"from_file":"/a","from_command":["b"]}"#,
        r#"{"from_command":[]}"#,
    ] {
        assert!(secret(text).unwrap_err().to_string().contains("one of from_env"), "{text}");
    }
    assert!(secret(r#"{"from_env":"A","value":"sk-1"}"#).is_err());
}

#[test]
fn presets_match_what_programs_expect() {
    for (name, path, origin, header, key, variable, url) in [
        (
            "anthropic",
            "/anthropic",
            "https://api.anthropic.com",
            "x-api-key",
            "$ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
            "u/anthropic",
        ),
        (
            "openai",
            "/openai",
            "https://api.openai.com",
            "authorization",
            "$OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "u/openai/v1",
        ),
        (
            "github",
            "/github",
            "https://api.github.com",
            "authorization",
            "$GITHUB_TOKEN",
            "GITHUB_API_URL",
            "u/github",
        ),
    ] {
        let preset: Preset = name.parse().unwrap();
        assert_eq!(preset.name(), name);
        let upstream = preset.upstream().unwrap();
        assert_eq!((upstream.path.as_str(), upstream.origin.as_str()), (path, origin));
        let (named, secret) = upstream.headers.first_key_value().unwrap();
        assert_eq!((named.as_str(), secret.source.to_string().as_str()), (header, key));
        assert_eq!(secret.prefix, if header == "authorization" { "Bearer " } else { "" });
        let environment: Vec<(&str, String)> =
            upstream.environment("u").map(|(name, url)| (name.as_str(), url)).collect();
        assert_eq!(environment, [(variable, url.to_owned())]);
    }
    assert_eq!("x".parse::<Preset>(), Err(InvalidUpstream::Preset("x".to_owned())));
}

fn plan() -> Plan {
    let doors = Doors::try_from(BTreeMap::from([(Sidecar::Pipelock, 20_001)])).unwrap();
    let guest = Guest {
        image: None,
        image_digest: None,
        cpus: 1,
        memory_mib: 128,
        workdir: None,
        volumes: Vec::new(),
        env: BTreeMap::from([("TAKEN".parse().unwrap(), "x".parse().unwrap())]),
    };
    Plan::new("t".parse().unwrap(), Dialect::Flags, doors, guest, Rules::default()).unwrap()
}

#[test]
fn a_guest_gets_the_url_of_an_upstream_but_never_its_secret() {
    // A subscription takes the place of a key, so a plan has one of the two.
    for (with_login, _) in Preset::ALL.iter().filter_map(|preset| preset.with_login()) {
        let upstream = with_login.upstream().unwrap();
        assert!(upstream.is_renewed() && plan().with_upstreams(vec![upstream]).is_ok());
    }
    let by_key = Preset::ALL.iter().filter(|preset| !matches!(preset, Preset::Claude | Preset::Codex));
    let upstreams: Vec<Upstream> = by_key.map(|preset| preset.upstream().unwrap()).collect();
    let plan = plan().with_upstreams(upstreams.clone()).unwrap();
    assert_eq!(plan.upstreams, upstreams);
    let env = plan.environment();
    assert_eq!(env["ANTHROPIC_BASE_URL"], "http://proxy.internal:20001/anthropic");
    assert_eq!(env["OPENAI_BASE_URL"], "http://proxy.internal:20001/openai/v1");
    for secret in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN"] {
        assert!(!env.contains_key(secret), "{secret}");
    }
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn conflicting_upstreams_are_refused() {
    let named = |path: &str, name: &str| {
        let mut upstream = upstream(path, "https://x.example");
        upstream.variables.insert(name.parse().unwrap(), String::new());
        upstream
    };
    let refused = |upstreams: Vec<Upstream>| plan().with_upstreams(upstreams).unwrap_err();
    let same_path = refused(vec![named("/a", "A"), named("/a", "B")]);
    assert_eq!(same_path, Conflict::Path("/a".parse().unwrap()));
    for (first, second, name) in
        [("A", "A", "A"), ("A", "TAKEN", "TAKEN"), ("HTTPS_PROXY", "B", "HTTPS_PROXY")]
    {
        let conflict = refused(vec![named("/a", first), named("/b", second)]);
        assert_eq!(conflict, Conflict::Variable(name.parse().unwrap()));
    }
    assert!(plan().with_upstreams(vec![named("/a", "A"), named("/b", "B")]).is_ok());
}

#[test]
fn a_refusal_says_whether_the_query_was_the_reason() {
    let mut named = upstream("/api", "https://one.example");
    named.allow = vec!["GET /issues".parse().unwrap()];
    let why = |method: &str, target: &str| named.check(method, target).unwrap_err().to_string();
    let query = why("GET", "/issues?_method=DELETE");
    assert!(query.starts_with("the rules for /api allow GET /issues, but not with this query"), "{query}");
    for (method, target) in
        [("DELETE", "/issues?_method=GET"), ("GET", "/other"), ("GET", "/other?_method=x")]
    {
        assert!(why(method, target).contains("allow GET /issues; not "), "{target}");
    }
    assert!(named.check("GET", "/issues?labels%5B%5D=bug&q=a%20b+c&a.b=%24").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a guest asks for, what follows the origin starts a path or a query, so nobody can read
    /// it as a part of the host, and no segment of it climbs.
    #[test]
    fn a_guest_never_chooses_the_origin(
        target in prop_oneof!["[/a-z.%25e@:\\\\?#]{0,40}", "/api[/a-z.%2e@:\\\\?#]{0,30}", any::<String>()]
    ) {
        let upstreams = some();
        if let Ok(found) = route(&upstreams, &target) {
            let upstream = &upstreams[found.index];
            prop_assert_eq!([upstream.path.as_str(), found.rest].concat(), target.clone());
            prop_assert!(found.rest.is_empty() || found.rest.starts_with(['/', '?']), "{}", target);
            let path = found.rest.split('?').next().unwrap();
            let decoded = path.replace("%2e", ".").replace("%2E", ".");
            prop_assert!(!decoded.split('/').any(|segment| segment == ".." || segment == "."), "{}", target);
        }
    }

    /// A secret's source that is written to disk reads back equal.
    #[test]
    fn a_source_reads_back_equal_from_json(name in "[A-Z_]{1,10}", prefix in any::<String>()) {
        let secret = Secret::new(SecretSource::Env(name.parse().unwrap()), &prefix);
        let text = serde_json::to_string(&secret).unwrap();
        prop_assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), secret);
    }
    /// A parameter that some server takes for the method is refused however its name is encoded, and also where it is
    /// encoded twice; any other one is allowed.
    #[test]
    fn a_query_names_no_method_in_any_encoding(
        known in prop::sample::select(vec!["_method", "$httpMethod", "X-HTTP-Method-Override", "x-method-override"]),
        other in "[a-z0-9\\[\\]\\-]{1,12}",
        encoded in prop::collection::vec(0..4u8, 24),
        before in "([a-z]{1,3}=[a-z%0-9]{0,3}[&;]){0,2}",
    ) {
        let rules: Vec<RequestRule> = vec!["POST /x".parse().unwrap()];
        let written = |name: &str| -> String {
            let one = |(byte, how): (u8, &u8)| match how {
                0 | 1 => char::from(byte).to_string(),
                2 => format!("%{byte:02x}"),
                _ => format!("%{byte:02X}"),
            };
            name.bytes().zip(&encoded).map(one).collect()
        };
        let asked = |name: &str| is_allowed(&rules, "POST", &format!("/x?{before}{name}=DELETE&z"));
        let known = written(known);
        prop_assert!(!asked(&known), "{}", known);
        prop_assert!(!known.contains('%') || !asked(&known.replace('%', "%25")), "{} twice", known);
        let is_known = ["x-http-method", "x-http-method-override", "x-method-override"].contains(&other.split('[').next().unwrap());
        prop_assert!(is_known || asked(&written(&other)), "{}", other);
    }
}
