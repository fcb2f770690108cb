//! What may be pushed.

use bottle_core::git::{Policy, RefPattern, RefRule, Refused, Update, Verdict};

fn update(name: &str) -> Update {
    Update {
        name: name.to_owned(),
        old: Some("1".to_owned()),
        new: Some("2".to_owned()),
        fast_forward: true,
        paths: vec!["src/main.rs".to_owned()],
        secrets: Vec::new(),
    }
}

fn rule(pattern: &str, verdict: Verdict) -> RefRule {
    RefRule { pattern: pattern.parse().unwrap(), verdict }
}

#[test]
fn by_itself_a_branch_waits_and_all_else_is_refused() {
    let policy = Policy::default();
    assert_eq!(policy.decide(&update("refs/heads/main")), Ok(Verdict::Ask));
    assert_eq!(policy.decide(&update("refs/heads/a/b")), Ok(Verdict::Ask));
    assert_eq!(policy.decide(&update("refs/tags/v1")), Err(Refused::Tag));
    for name in ["refs/notes/commits", "refs/for/main", "refs/headsx", "HEAD", "refs/bottle/x"] {
        assert_eq!(policy.decide(&update(name)), Err(Refused::Ref), "{name}");
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = vec![
        rule("refs/heads/agent/secret", Verdict::Deny),
        rule("refs/heads/agent/*", Verdict::Allow),
        rule("refs/heads/*", Verdict::Ask),
        rule("refs/tags/*", Verdict::Allow),
    ];
    let mut policy = Policy { rules, ..Policy::default() };
    for (name, verdict) in [
        ("refs/heads/agent/secret", Err(Refused::Ref)),
        ("refs/heads/agent/secrets", Ok(Verdict::Allow)),
        ("refs/heads/agent/a/b", Ok(Verdict::Allow)),
        ("refs/heads/agent/", Ok(Verdict::Ask)),
        ("refs/heads/agentx", Ok(Verdict::Ask)),
        ("refs/tags/v1", Err(Refused::Tag)),
        ("refs/notes/x", Err(Refused::Ref)),
    ] {
        assert_eq!(policy.decide(&update(name)), verdict, "{name}");
    }
    policy.tags = true;
    assert_eq!(policy.decide(&update("refs/tags/v1")), Ok(Verdict::Allow));
}

#[test]
fn no_branch_is_rewritten_or_deleted_unless_that_is_allowed() {
    let mut policy = Policy::default();
    let rewritten = Update { fast_forward: false, ..update("refs/heads/x") };
    let deleted = Update { new: None, ..update("refs/heads/x") };
    assert_eq!(policy.decide(&rewritten), Err(Refused::Force));
    assert_eq!(policy.decide(&deleted), Err(Refused::Delete));
    policy.force = true;
    assert_eq!(policy.decide(&rewritten), Ok(Verdict::Ask));
    assert_eq!(policy.decide(&deleted), Ok(Verdict::Ask));
}

#[test]
fn paths_that_others_run_by_themselves_are_not_touched() {
    let policy = Policy { deny_paths: vec![".github/".into(), "/Makefile".into()], ..Policy::default() };
    for path in [".github/workflows/x.yml", ".github", ".GitHub/x", "Makefile", "makefile"] {
        let push = Update { paths: vec!["ok".to_owned(), path.to_owned()], ..update("refs/heads/x") };
        assert_eq!(policy.decide(&push), Err(Refused::Path(path.to_owned())), "{path}");
    }
    for path in ["src/.github/x", ".githubx", "a/Makefile", "Makefile.am", ".git", ""] {
        let push = Update { paths: vec![path.to_owned()], ..update("refs/heads/x") };
        assert_eq!(policy.decide(&push), Ok(Verdict::Ask), "{path}");
    }
    let by_default = Policy::default();
    let push = Update { paths: vec![".github/workflows/ci.yml".to_owned()], ..update("refs/heads/x") };
    assert!(matches!(by_default.decide(&push), Err(Refused::Path(_))));
}

#[test]
fn what_looks_like_a_secret_is_refused() {
    let push = Update { secrets: vec!["a key in x:3".to_owned()], ..update("refs/heads/x") };
    assert_eq!(Policy::default().decide(&push), Err(Refused::Secret("a key in x:3".to_owned())));
}

#[test]
fn a_pattern_is_a_ref_or_all_below_one() {
    for text in ["refs/heads/main", "refs/heads/*", "refs/heads/a-b/c.d/*"] {
        let pattern: RefPattern = text.parse().unwrap();
        assert_eq!((pattern.to_string(), String::from(pattern)), (text.to_owned(), text.to_owned()));
    }
    for text in [
        "",
        "main",
        "heads/main",
        "refs/",
        "refs/heads/",
        "refs//x",
        "refs/heads/*x",
        "refs/heads/x*",
        "refs/*/x",
        "refs/heads/a b",
        "refs/heads/a..b",
        "refs/heads/a\nb",
        "refs/heads/a:b",
        "refs/heads/a?",
        "refs/heads/a^",
        "*",
    ] {
        assert!(text.parse::<RefPattern>().is_err(), "{text:?}");
    }
    let text = serde_json::to_string(&rule("refs/heads/*", Verdict::Ask)).unwrap();
    assert_eq!(text, r#"{"ref":"refs/heads/*","verdict":"ask"}"#);
}

#[test]
fn a_policy_survives_json() {
    let policy =
        Policy { rules: vec![rule("refs/heads/*", Verdict::Allow)], force: true, ..Policy::default() };
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
    assert_eq!(Policy::default().max_mib, 50);
}
