//! Reads back what is rendered, with the parser that ships and with one that shares no code with it.

use bottle_core::doors::Doors;
use bottle_core::egress::Rules;
use bottle_core::gvproxy::Config;
use bottle_core::plan::{Guest, Plan, Volume};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_core::stack::dialect::{Dialect, Version};
use bottle_core::text::{EnvName, ImageRef, MountPath, Word};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Text that has broken somebody's YAML or TOML before.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "yes",
    "no",
    "null",
    "~",
    "true",
    "0o17",
    "0x1f",
    "1e3",
    ".inf",
    "-",
    "- a",
    "? a",
    ": a",
    "a: b",
    "#",
    "a #b",
    "'",
    "\"",
    "'''",
    "\"\"\"",
    "\\",
    "\\n",
    "a\nb",
    "\n",
    "\r\n",
    "\t",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{7f}",
    "\u{1b}[31m",
    "🦀",
    "𝒳",
    "{a: b}",
    "[a]",
    "&a",
    "*a",
    "!!str a",
    "|",
    ">",
    "%TAG",
    "@a",
    "`a`",
    "<<",
    "=",
    "2026-11-23",
    "12:30:45",
    "---",
    "...",
    "C:\\x",
    "$HOME",
    "${x}",
];

/// Returns the known hostile text, or any other.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(HOSTILE).prop_map(str::to_owned), "\\PC{0,30}", any::<String>()]
}

fn words() -> impl Strategy<Value = Word> {
    hostile().prop_filter_map("NUL", |text| text.parse().ok())
}

fn paths() -> impl Strategy<Value = MountPath> {
    hostile().prop_filter_map("no mount path", |text| format!("/{text}").parse().ok())
}

fn volumes() -> impl Strategy<Value = Volume> {
    (paths(), paths(), any::<bool>()).prop_map(|(host, guest, writable)| Volume { host, guest, writable })
}

fn doors() -> impl Strategy<Value = Doors> {
    (1u16..=u16::MAX - 2, prop::sample::subsequence(vec![Sidecar::GitGate, Sidecar::Supervise], 0..=2))
        .prop_map(|(first, others)| {
            let sidecars = std::iter::once(Sidecar::Pipelock).chain(others);
            Doors::try_from(sidecars.zip(first..=u16::MAX).collect::<BTreeMap<_, _>>()).unwrap()
        })
}

prop_compose! {
    fn guests()(
        image in prop::option::of(hostile().prop_filter_map("no image", |text| text.parse::<ImageRef>().ok())),
        cpus in 1u8..,
        memory_mib in any::<u32>(),
        workdir in prop::option::of(paths()),
        volumes in prop::collection::vec(volumes(), 0..4),
        env in prop::collection::btree_map("[A-Z_][A-Z0-9_]{0,8}", words(), 0..5),
    ) -> Guest {
        let own = |name: &str| !bottle_core::environment::is_reserved(name);
        let env = env.into_iter().filter(|(name, _)| own(name)).map(|(name, value)| (name.parse::<EnvName>().unwrap(), value));
        Guest { image, image_digest: None, cpus, memory_mib, workdir, volumes, env: env.collect() }
    }
}

prop_compose! {
    fn plans()(
        slug in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        file in any::<bool>(),
        doors in doors(),
        guest in guests(),
    ) -> Plan {
        let dialect = if file { Dialect::File } else { Dialect::Flags };
        Plan::new(slug.parse::<Slug>().unwrap(), dialect, doors, guest, Rules::default()).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every plan becomes a Smolfile that reads back equal and is the same each time, byte for byte.
    #[test]
    fn a_smolfile_reads_back_equal(plan in plans()) {
        let helper: MountPath = "/var/lib/bottle/x/guest".parse().unwrap();
        let smolfile = Smolfile::for_plan(&plan, &helper);
        let text = smolfile.render().unwrap();
        prop_assert_eq!(Smolfile::parse(&text).unwrap(), smolfile.clone());
        prop_assert_eq!(Smolfile::for_plan(&plan, &helper).render().unwrap(), text);
        prop_assert!(!smolfile.net);
        for (name, value) in &plan.guest.env {
            let entry = format!("{name}={value}");
            prop_assert!(smolfile.env.contains(&entry));
        }
    }

    /// Every plan becomes a gvproxy.yaml that two parsers read back equal.
    #[test]
    fn two_parsers_read_a_gvproxy_configuration_back_equal(plan in plans(), link in "/[a-z/]{1,30}") {
        let config = Config::for_plan(&plan, &link);
        let text = config.render().unwrap();
        prop_assert_eq!(Config::parse(&text).unwrap(), config.clone());
        prop_assert_eq!(serde_yaml::from_str::<Config>(&text).unwrap(), config.clone());
        prop_assert_eq!(Config::for_plan(&plan, &link).render().unwrap(), text);
        prop_assert_eq!(config.stack.nat.values().collect::<Vec<_>>(), [&std::net::Ipv4Addr::LOCALHOST]);
    }

    /// Any text in a zone's name survives both parsers, too.
    #[test]
    fn hostile_text_survives_yaml(name in hostile()) {
        let mut config = Config::for_plan(&example(), "/run/link.sock");
        config.log_level = name.clone();
        config.stack.dns[0].name = name;
        let text = config.render().unwrap();
        prop_assert_eq!(Config::parse(&text).unwrap(), config.clone(), "{}", text);
        prop_assert_eq!(serde_yaml::from_str::<Config>(&text).unwrap(), config, "{}", text);
    }

    /// A plan that is written to disk reads back equal.
    #[test]
    fn a_plan_reads_back_equal_from_json(plan in plans()) {
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    /// The environment always names pipelock and the other sidecars only if they are active, and every URL in
    /// it is on proxy.internal and an active port.
    #[test]
    fn the_environment_names_only_active_sidecars(plan in plans()) {
        let env = plan.environment();
        let proxy = format!("http://proxy.internal:{}", plan.doors.pipelock());
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            prop_assert_eq!(&env[name], &proxy);
        }
        for (sidecar, name) in [(Sidecar::GitGate, "BOTTLE_GIT_GATE"), (Sidecar::Supervise, "BOTTLE_SUPERVISE")] {
            let expected = plan.doors.port(sidecar).map(|port| format!("http://proxy.internal:{port}"));
            prop_assert_eq!(env.get(name), expected.as_ref());
        }
        let ports = plan.doors.ports();
        prop_assert!(ports.contains(&plan.doors.pipelock()));
        for (name, value) in env.iter().filter(|(name, _)| bottle_core::environment::is_reserved(name)) {
            if let Some(port) = value.strip_prefix("http://proxy.internal:") {
                prop_assert!(ports.contains(&port.parse().unwrap()), "{} {}", name, value);
            } else {
                prop_assert!(!value.contains("://"), "{} {}", name, value);
            }
        }
    }
}

fn example() -> Plan {
    let doors = BTreeMap::from([(Sidecar::Pipelock, 20_001), (Sidecar::GitGate, 20_002)]);
    let guest = Guest {
        image: Some("python:3.12-alpine".parse().unwrap()),
        image_digest: None,
        cpus: 2,
        memory_mib: 2048,
        workdir: Some("/workspace".parse().unwrap()),
        volumes: vec![Volume {
            host: "/home/me/project".parse().unwrap(),
            guest: "/workspace".parse().unwrap(),
            writable: true,
        }],
        env: BTreeMap::from([("GREETING".parse().unwrap(), "it's \"so\"\n# not a comment".parse().unwrap())]),
    };
    let doors = Doors::try_from(doors).unwrap();
    Plan::new("demo".parse().unwrap(), Dialect::File, doors, guest, Rules::default()).unwrap()
}

/// People read the rendered files, too, so a change to them shows up in review.
#[test]
fn the_rendered_files_have_not_changed() {
    let plan = example();
    let smolfile = Smolfile::for_plan(&plan, &"/var/lib/bottle/demo/guest".parse().unwrap());
    assert_eq!(smolfile.render().unwrap(), include_str!("rendered/smolfile.toml"));
    let config = Config::for_plan(&plan, "/run/bottle/link.sock");
    assert_eq!(config.render().unwrap(), include_str!("rendered/gvproxy.yaml"));
}

#[test]
fn unknown_keys_are_refused() {
    assert!(
        Smolfile::parse("cpus = 1\nmemory = 1\nnet = false\nvolumes = []\nenv = []\nports = []\n").is_err()
    );
    let text = Config::for_plan(&example(), "/l").render().unwrap();
    assert!(Config::parse(&text).is_ok());
    assert!(Config::parse(&format!("{text}forwards: []\n")).is_err());
}

#[test]
fn the_dialect_follows_the_version() {
    for (line, version, dialect) in [
        ("gvproxy version v0.8.1", "0.8.1", Dialect::Flags),
        ("gvproxy version v0.8.7\n", "0.8.7", Dialect::Flags),
        ("gvproxy version v0.8.8", "0.8.8", Dialect::File),
        ("gvproxy version 0.9.0-dev", "0.9.0", Dialect::File),
        ("gvproxy version v1.0.0+git", "1.0.0", Dialect::File),
    ] {
        let read: Version = line.parse().unwrap();
        assert_eq!((read.to_string().as_str(), Dialect::of(read)), (version, dialect), "{line}");
    }
    for line in ["", "gvproxy version", "gvproxy version git-abc", "gvproxy version v1.2"] {
        assert!(line.parse::<Version>().is_err(), "{line}");
    }
    let arguments = Dialect::Flags.arguments("/c", "/l").join(" ");
    assert_eq!(arguments, "-mtu 65000 -ssh-port -1 -listen-bess unixpacket:///l");
    assert_eq!(Dialect::File.arguments("/c", "/l").join(" "), "-config /c");
}

#[test]
fn a_value_that_a_format_cannot_hold_is_refused_where_it_enters() {
    assert!("a\0b".parse::<Word>().is_err() && "".parse::<Word>().is_ok());
    for name in ["", "1A", "A-B", "A B", "Ä", "A="] {
        assert!(name.parse::<EnvName>().is_err(), "{name}");
    }
    for path in ["", "a", "./a", "/a:b", "/a\nb", "/a\0b"] {
        assert!(path.parse::<MountPath>().is_err(), "{path:?}");
    }
    for image in ["", "-v", "a\nb", "a\0b"] {
        assert!(image.parse::<ImageRef>().is_err(), "{image:?}");
    }
}

/// The fuzzer found this text. In a block scalar, its indentation could not be told from the text.
#[test]
fn text_that_no_block_scalar_can_hold_survives() {
    for text in ["\n\t ", "\n ", " \n\t", "\t\n", "a\n  b\n c\n"] {
        let mut config = Config::for_plan(&example(), "/run/link.sock");
        config.stack.dns[0].name = text.to_owned();
        let rendered = config.render().unwrap();
        assert_eq!(Config::parse(&rendered).unwrap(), config, "{rendered}");
        assert_eq!(serde_yaml::from_str::<Config>(&rendered).unwrap(), config, "{rendered}");
    }
}
