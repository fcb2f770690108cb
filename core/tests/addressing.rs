//! What subnets and ports promise, with one test for each promise.

use bottle_core::ports::{self, RANGE};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn slugs() -> impl Strategy<Value = Slug> {
    "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn sets() -> impl Strategy<Value = BTreeSet<Sidecar>> {
    prop::sample::subsequence(Sidecar::ALL.to_vec(), 1..=3).prop_map(|all| all.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The third octet is 1..=254 and never 17, and the roles are fixed.
    #[test]
    fn a_subnet_is_never_dockers(slug in slugs()) {
        let subnet = slug.subnet();
        prop_assert!((1..=254).contains(&subnet.octet()) && subnet.octet() != 17);
        prop_assert_eq!(subnet, slug.subnet());
        let last = [subnet.gateway(), subnet.guest(), subnet.proxy()].map(|address| address.octets()[3]);
        prop_assert_eq!(last, [1, 2, 254]);
    }

    /// Ports are distinct, in range, never taken, and the same for the same input.
    #[test]
    fn ports_are_distinct_free_and_stable(
        slug in slugs(),
        sidecars in sets(),
        seed in prop::collection::btree_set(RANGE, 0..200),
    ) {
        // Most of the taken ports are ones that a sidecar wants.
        let wanted = sidecars.iter().flat_map(|&s| ports::candidates(&slug, s).take(3));
        let taken: BTreeSet<u16> = wanted.filter(|port| port % 2 == 0).chain(seed).collect();
        let got = ports::allocate(&slug, &sidecars, &taken).unwrap();
        let distinct: BTreeSet<u16> = got.values().copied().collect();
        prop_assert_eq!(got.keys().copied().collect::<BTreeSet<_>>(), sidecars.clone());
        prop_assert_eq!(distinct.len(), sidecars.len());
        prop_assert!(distinct.iter().all(|port| RANGE.contains(port) && !taken.contains(port)));
        prop_assert_eq!(ports::allocate(&slug, &sidecars, &taken).unwrap(), got);
    }

    /// If a port becomes taken, only its own sidecar moves.
    #[test]
    fn a_taken_port_moves_only_its_own_sidecar(
        slug in slugs(),
        mut taken in prop::collection::btree_set(RANGE, 0..200),
        which in any::<prop::sample::Index>(),
    ) {
        let all: BTreeSet<Sidecar> = Sidecar::ALL.into_iter().collect();
        let before = ports::allocate(&slug, &all, &taken).unwrap();
        let (&moved, &port) = before.iter().nth(which.index(3)).unwrap();
        taken.insert(port);
        let after = ports::allocate(&slug, &all, &taken).unwrap();
        for sidecar in Sidecar::ALL {
            prop_assert_eq!(before[&sidecar] != after[&sidecar], sidecar == moved);
        }
    }

    /// Every folder's name gives a valid slug or none.
    #[test]
    fn a_folder_name_gives_a_valid_slug_or_none(name in "\\PC{0,60}") {
        if let Some(slug) = Slug::from_name(&name) {
            prop_assert_eq!(slug.as_str().parse::<Slug>().unwrap(), slug);
        }
    }

    /// Text is a slug exactly if it follows the rule.
    #[test]
    fn a_slug_follows_the_rule(text in "[a-zA-Z0-9_.-]{0,45}") {
        let rule = !text.is_empty()
            && text.len() <= 40
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        prop_assert_eq!(text.parse::<Slug>().is_ok(), rule);
    }
}

/// These slugs keep their addresses for ever: a bottle's addresses survive an upgrade.
#[test]
fn the_addresses_of_a_slug_never_change() {
    let golden = include_str!("golden.tsv");
    let mut count = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let slug: Slug = fields[0].parse().unwrap();
        let all = Sidecar::ALL.into_iter().collect();
        let ports = ports::allocate(&slug, &all, &BTreeSet::new()).unwrap();
        let mut now = vec![slug.to_string(), slug.subnet().octet().to_string()];
        now.extend(Sidecar::ALL.map(|sidecar| ports[&sidecar].to_string()));
        assert_eq!(now, fields);
        count += 1;
    }
    assert!(count >= 20, "{count} vectors");
}

/// 100,000 slugs spread over the 253 subnets as if by chance: chi-squared stays within what 252 degrees of
/// freedom exceed once in 10,000 draws (mean 252, deviation 22.4; 340 is four deviations).
#[test]
fn subnets_are_spread_evenly() {
    let mut seen = [0u32; 256];
    for n in 0..100_000 {
        let slug: Slug = format!("bottle-{n}").parse().unwrap();
        seen[usize::from(slug.subnet().octet())] += 1;
    }
    assert_eq!((seen[0], seen[17], seen[255]), (0, 0, 0));
    let expected = 100_000.0 / 253.0;
    let used = seen.iter().enumerate().filter(|(octet, _)| !matches!(octet, 0 | 17 | 255));
    let chi: f64 = used.map(|(_, &n)| (f64::from(n) - expected).powi(2) / expected).sum();
    assert!(chi < 340.0, "{chi}");
}

/// A full range is an error that says so, not a panic or a port out of range.
#[test]
fn a_full_range_is_an_error() {
    let slug: Slug = "s".parse().unwrap();
    let one = BTreeSet::from([Sidecar::Pipelock]);
    let mut taken: BTreeSet<u16> = RANGE.collect();
    let error = ports::allocate(&slug, &one, &taken).unwrap_err();
    assert!(error.to_string().starts_with("no free port for pipelock"), "{error}");
    let last = ports::candidates(&slug, Sidecar::Pipelock).last().unwrap();
    taken.remove(&last);
    assert_eq!(ports::allocate(&slug, &one, &taken).unwrap()[&Sidecar::Pipelock], last);
}

#[test]
fn each_run_of_a_bottle_has_a_name_of_its_own() {
    let name = |slug: &str, id: &str| slug.parse::<Slug>().unwrap().for_run(id).to_string();
    assert_eq!(name("eval", "41-7"), "eval-41-7");
    let odd = ["41_7", "41.7", "41-7-", "-41-7", "\u{e9}", "A", "a b", &"1".repeat(60), &"1".repeat(61)];
    let mut seen = BTreeSet::new();
    for id in odd {
        for slug in ["eval", &"a".repeat(40), &"a".repeat(39)] {
            let name = name(slug, id);
            assert!(name.parse::<Slug>().is_ok_and(|slug| slug.as_str().len() <= Slug::MAX_LEN), "{name}");
            assert!(seen.insert(name.clone()), "{name} twice");
        }
    }
    assert!(name("eval", "41_7").starts_with("eval-41-7-"));
}
