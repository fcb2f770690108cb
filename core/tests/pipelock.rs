//! `pipelock.yaml`, for people who bring their own egress proxy.

use bottle_core::egress::{HostRule, Rules};
use bottle_core::pipelock::{Mode, Pipelock};
use proptest::prelude::*;

fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    Rules {
        allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(),
        deny: deny.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        ..Rules::default()
    }
}

#[test]
fn the_rendered_file_has_not_changed() {
    let rules = rules(&["api.example.com", "*.cdn.example", "b.example:8443"], &[]);
    let (pipelock, left_out) = Pipelock::for_rules(&rules, 20_001);
    assert_eq!(pipelock.render(&left_out).unwrap(), include_str!("rendered/pipelock.yaml"));
    assert_eq!(pipelock.mode, Mode::Strict);
    assert!(Pipelock::parse(&format!("{}more: 1\n", pipelock.render(&[]).unwrap())).is_err());
}

#[test]
fn rules_that_the_file_cannot_express_stay_closed() {
    for (allow, deny, carried) in [
        (&["a.example"][..], &[][..], &["a.example"][..]),
        (&["a.example:443,8443"], &[], &[]),
        (&["a.example:80"], &[], &[]),
        (&["a.example"], &["a.example"], &[]),
        (&["a.b.example"], &["*.b.example"], &[]),
        (&["*.example.com"], &["bad.example.com"], &[]),
        (&["*.example.com"], &["*.example.com"], &[]),
        (&["*.example.com"], &["*.bad.example.com"], &[]),
        (&["*.a.example.com"], &["*.example.com"], &[]),
        (
            &["*.example.com", "x.test"],
            &["example.com", "y.test", "*.other.com"],
            &["*.example.com", "x.test"],
        ),
    ] {
        let rules = rules(allow, deny);
        let (pipelock, left_out) = Pipelock::for_rules(&rules, 1);
        assert_eq!(pipelock.api_allowlist, carried, "{allow:?} {deny:?}");
        assert_eq!(left_out.len() + carried.len(), allow.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Two parsers read it back equal, and it contains no host that the rules do not allow.
    #[test]
    fn the_file_reads_back_equal_and_opens_nothing_more(
        allow in prop::collection::vec("(\\*\\.)?[a-c]{1,2}\\.[a-c]{1,2}\\.(test|yes|null)", 0..6),
        deny in prop::collection::vec("(\\*\\.)?[a-c]{1,2}\\.[a-c]{1,2}\\.(test|yes|null)", 0..3),
        port in 1..=u16::MAX,
    ) {
        let allow: Vec<&str> = allow.iter().map(String::as_str).collect();
        let deny: Vec<&str> = deny.iter().map(String::as_str).collect();
        let rules = rules(&allow, &deny);
        let (pipelock, left_out) = Pipelock::for_rules(&rules, port);
        let text = pipelock.render(&left_out).unwrap();
        prop_assert_eq!(Pipelock::parse(&text).unwrap(), pipelock.clone());
        prop_assert_eq!(serde_yaml::from_str::<Pipelock>(&text).unwrap(), pipelock.clone());
        for entry in &pipelock.api_allowlist {
            let rule: HostRule = entry.parse().unwrap();
            prop_assert!(rules.allow.contains(&rule));
            let host = entry.replace("*.", "any.").parse().unwrap();
            prop_assert_eq!(rules.check(&host, 443), Ok(()), "{}", entry);
        }
    }
}
