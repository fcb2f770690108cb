//! What may be pushed.

use bottle_core::git::listed::{self, Command, Piece, piece};
use bottle_core::git::name::{ObjectId, is_null_id, is_pushable, is_ref};
use bottle_core::git::path::{Guarded, Touched};
use bottle_core::git::tree::{Trees, Weight};
use bottle_core::git::url;
use bottle_core::git::{Policy, RefPattern, RefRule, Refused, Update, Verdict};
use proptest::prelude::*;

fn touched(path: &str) -> Touched {
    Touched { path: path.to_owned(), leads: false }
}

fn update(name: &str) -> Update {
    Update {
        name: name.to_owned(),
        old: Some("1".to_owned()),
        new: Some("2".to_owned()),
        fast_forward: true,
        paths: vec![touched("src/main.rs")],
        secrets: Vec::new(),
    }
}

fn rule(pattern: &str, verdict: Verdict) -> RefRule {
    RefRule { pattern: pattern.parse().unwrap(), verdict }
}

#[test]
fn by_default_a_branch_waits_and_everything_else_is_refused() {
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
fn a_branch_is_not_rewritten_or_deleted_unless_the_policy_allows_it() {
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
fn a_push_cannot_touch_paths_that_others_run_by_themselves() {
    let policy = Policy { deny_paths: vec![".github/".into(), "/Makefile".into()], ..Policy::default() };
    for path in [".github/workflows/x.yml", ".github", ".GitHub/x", "Makefile", "makefile"] {
        let push = Update { paths: vec![touched("ok"), touched(path)], ..update("refs/heads/x") };
        assert_eq!(policy.decide(&push), Err(Refused::Path(path.to_owned())), "{path}");
    }
    for path in ["src/.github/x", ".githubx", "a/Makefile", "Makefile.am", ".git", ""] {
        let push = Update { paths: vec![touched(path)], ..update("refs/heads/x") };
        assert_eq!(policy.decide(&push), Ok(Verdict::Ask), "{path}");
    }
    let by_default = Policy::default();
    let push = Update { paths: vec![touched(".github/workflows/ci.yml")], ..update("refs/heads/x") };
    assert!(matches!(by_default.decide(&push), Err(Refused::Path(_))));
}

#[test]
fn what_looks_like_a_secret_is_refused() {
    let push = Update { secrets: vec!["a key in x:3".to_owned()], ..update("refs/heads/x") };
    assert_eq!(Policy::default().decide(&push), Err(Refused::Secret("a key in x:3".to_owned())));
}

#[test]
fn a_pattern_is_a_ref_or_everything_below_one() {
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
fn a_policy_reads_back_equal_from_json() {
    let policy =
        Policy { rules: vec![rule("refs/heads/*", Verdict::Allow)], force: true, ..Policy::default() };
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
    assert_eq!(Policy::default().max_mib, 50);
}

#[test]
fn a_path_is_guarded_in_every_form_that_a_file_system_takes_for_it() {
    let guarded = Guarded::new(&[
        ".github/".into(),
        ".gitlab-ci.yml".into(),
        "Makefile".into(),
        "dir/caf\u{e9}".into(),
    ]);
    for path in [
        ".github/workflows/x.yml",
        ".GITHUB/x",
        ".github",
        ".git\u{200c}hub/x",
        "\u{feff}.github/x",
        ".github./x",
        ".github /x",
        ".github . ./x",
        ".github\\x",
        ".github::$INDEX_ALLOCATION/x",
        ".github:stream",
        "GITHUB~1/x",
        "github~12/x",
        "GITHU~1/x",
        "GI7EBA~1/x",
        ".gitlab-ci.yml",
        "GITLAB~1.YML",
        "gitlab~2.yml",
        "ma\u{212a}efile",
        "MAKEFILE.",
        "Makefile",
        "./.github/x",
        "dir/cafe\u{301}",
        "DIR/CAF\u{c9}",
    ] {
        assert!(guarded.covers(&touched(path)), "{path:?}");
    }
    for path in [
        "src/.github/x",
        ".githubx/x",
        "github/x",
        ".git/hub",
        "GITHUB~x/x",
        "GITHUB~/x",
        "a~1/x",
        "~1",
        "GITLAB~1.YAML",
        "Makefile.am",
        "Makefile/x",
        "dir/cafe",
        "dir",
        "",
    ] {
        assert!(!guarded.covers(&touched(path)), "{path:?}");
    }
    // A path above a guarded one must not lead elsewhere, because something else would be below it.
    let inner = Guarded::new(&["ci/run/".into()]);
    for (path, leads, covered) in [
        ("ci", true, true),
        ("CI", true, true),
        ("ci", false, false),
        ("ci/run", true, true),
        ("ci/other", true, false),
        ("c", true, false),
    ] {
        let touched = Touched { path: path.to_owned(), leads };
        assert_eq!(inner.covers(&touched), covered, "{path} {leads}");
    }
    assert!(!Guarded::new(&["".into(), "/".into()]).covers(&touched("anything")));
}

#[test]
fn the_name_of_a_pushed_ref_can_be_shown_copied_and_written_anywhere() {
    for name in [
        "refs/heads/main",
        "refs/heads/agent/fix-1.2_3",
        "refs/tags/v1.0+x",
        "refs/heads/a@b",
        "refs/heads/x#1",
    ] {
        assert!(is_pushable(name) && is_ref(name), "{name}");
    }
    for name in [
        "",
        "main",
        "refs/heads/",
        "refs/heads//x",
        "refs/heads/.x",
        "refs/heads/x.lock",
        "refs/heads/x.LOCK/y",
        "refs/heads/x.",
        "refs/heads/x./y",
        "refs/heads/-x",
        "refs/heads/--upload-pack=x",
        "refs/heads/a..b",
        "refs/heads/a@{b",
        "refs/heads/@",
        "refs/heads/a b",
        "refs/heads/a\tb",
        "refs/heads/a;id",
        "refs/heads/$(id)",
        "refs/heads/`id`",
        "refs/heads/a'b",
        "refs/heads/a\"b",
        "refs/heads/a|b",
        "refs/heads/a\\b",
        "refs/heads/a:b",
        "refs/heads/\u{202e}x",
        "refs/heads/\u{9b}31m",
        "refs/heads/m\u{430}in",
        "refs/heads/\u{fffd}",
    ] {
        assert!(!is_pushable(name), "{name:?}");
    }
    assert!(!is_pushable(&format!("refs/heads/{}", "a".repeat(250))));
    // Names that an operator's own branch may have, but not a pushed one.
    for name in ["refs/heads/gr\u{f6}\u{df}e", "refs/heads/a'b", "refs/heads/-x"] {
        assert!(is_ref(name) && !is_pushable(name), "{name}");
    }
    for name in ["refs/heads/a\nb", "refs/heads/a\0b", "refs/heads/a b", "refs/../x", "HEAD"] {
        assert!(!is_ref(name), "{name:?}");
    }
}

#[test]
fn an_object_id_is_complete_and_of_either_hash() {
    let (short, long) = ("1".repeat(40), "f".repeat(64));
    for text in [&short, &long] {
        let id: ObjectId = text.parse().unwrap();
        assert_eq!((id.as_str(), id.null().len()), (text.as_str(), text.len()));
        assert!(is_null_id(id.null()) && id.empty_tree().len() == text.len());
    }
    for text in [
        "",
        "abc",
        &"1".repeat(39),
        &"1".repeat(41),
        &"G".repeat(40),
        &"A".repeat(40),
        &"0".repeat(40),
        &"0".repeat(64),
    ] {
        assert!(text.parse::<ObjectId>().is_err(), "{text}");
    }
    assert!(is_null_id(&"0".repeat(64)) && !is_null_id("0") && !is_null_id(&short));
}

#[test]
fn output_of_git_is_read_strictly() {
    let (a, b, zero) = ("a".repeat(40), "b".repeat(40), "0".repeat(40));
    let command = Command::read(format!("{zero} {a} refs/heads/x y").as_bytes()).unwrap();
    assert_eq!((command.old, command.new, command.name.as_str()), (None, a.parse().ok(), "refs/heads/x y"));
    let wide =
        Command::read(format!("{} {} refs/heads/x", "0".repeat(64), "c".repeat(64)).as_bytes()).unwrap();
    assert!(wide.old.is_none() && wide.new.is_some());
    let odd = Command::read(&[format!("{a} {b} refs/heads/").as_bytes(), b"\xff"].concat()).unwrap();
    assert!(!is_pushable(&odd.name));
    for line in
        [String::new(), a.clone(), format!("{a} {b}"), format!("{a}  x"), format!("abc {b} refs/heads/x")]
    {
        assert!(Command::read(line.as_bytes()).is_err(), "{line:?}");
    }
    assert_eq!(
        piece(format!("{a} {b}").as_bytes()).unwrap(),
        Piece::Trees(a.parse().unwrap(), b.parse().unwrap())
    );
    let Piece::Entry(None, Some(new)) = piece(format!(":000000 120000 {zero} {b} A").as_bytes()).unwrap()
    else {
        panic!("an entry that is new");
    };
    assert!(new.leads());
    for text in [
        String::new(),
        ":".to_owned(),
        format!(":100644 100644 {a} {b}"),
        format!(":100644 000000 {a} {b} D"),
        format!(":000000 100644 {zero} {zero} A"),
        format!(":xyz 100644 {a} {b} M"),
        format!("{a} {b} {a}"),
    ] {
        assert!(piece(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(listed::object(format!("{a} blob 12").as_bytes()).unwrap().size, 12);
    for text in [format!("{a} missing"), format!("{a} blob"), format!("{a} blob -1"), format!("{a} thing 1")]
    {
        assert!(listed::object(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_upstream_is_a_url_or_the_name_of_a_remote() {
    for place in [
        "https://example.com/x.git",
        "git@example.com:x.git",
        "/srv/x.git",
        "../x.git",
        "./x",
        "file:///srv/x",
    ] {
        assert!(url::is_location(place) && url::check(place).is_ok(), "{place}");
    }
    assert!(!url::is_location("origin") && !url::is_location("team/origin"));
    for bad in
        ["", "-x", "--upload-pack=x", "ext::sh -c id", "fd::3", "https://a\nb", "file:///a%2fb", "x\u{202e}y"]
    {
        assert!(url::check(bad).is_err(), "{bad:?}");
    }
    for (place, path) in [
        ("/srv/x.git", Some("/srv/x.git")),
        ("../x", Some("../x")),
        ("file:///srv/x", Some("/srv/x")),
        ("file://localhost/srv/x", Some("/srv/x")),
        ("./a:b", Some("./a:b")),
        ("host:x", None),
        ("ssh://h/x", None),
    ] {
        assert_eq!(url::local(place), path, "{place}");
    }
}

#[test]
fn a_tree_is_weighed_without_being_walked() {
    let id = |n: usize| -> ObjectId { format!("{n:040x}").parse().unwrap() };
    let entry = |mode: &str, name: &str, n: usize| {
        let bytes: Vec<u8> =
            (0..20).map(|i| u8::from_str_radix(&id(n).as_str()[2 * i..2 * i + 2], 16).unwrap()).collect();
        [format!("{mode} {name}\0").into_bytes(), bytes].concat()
    };
    let mut trees = Trees::default();
    trees.add(id(1), &[entry("100644", "a", 9000), entry("100644", "b", 9000)].concat()).unwrap();
    for n in 2..=100 {
        trees.add(id(n), &[entry("40000", "a", n - 1), entry("40000", "b", n - 1)].concat()).unwrap();
    }
    assert_eq!(trees.heaviest(), Weight { files: u64::MAX, depth: 100 });
    let mut trees = Trees::default();
    // A folder that was there before weighs nothing.
    trees.add(id(1), &[entry("100644", "a", 9000), entry("40000", "b", 700_000)].concat()).unwrap();
    assert_eq!(trees.heaviest(), Weight { files: 1, depth: 1 });
    // Trees that are nested as deep as there are trees, on a small stack.
    for n in 2..=100_000 {
        trees.add(id(n), &entry("40000", "a", n - 1)).unwrap();
    }
    assert_eq!(trees.heaviest(), Weight { files: 1, depth: 100_000 });
    // No hash leads back to itself. If one did, weighing would still end.
    trees.add(id(1), &entry("40000", "a", 100_000)).unwrap();
    assert!(trees.heaviest().depth <= 100_000);
    for bytes in [
        &b"100644"[..],
        b"100644 a",
        b"100644 a\0short",
        b"40000 a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert!(Trees::default().add(id(1), bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    /// A pushable name is harmless wherever it is printed or typed.
    #[test]
    fn a_pushable_name_never_needs_quoting(text in "\\PC{0,40}") {
        let name = format!("refs/heads/{text}");
        if is_pushable(&name) {
            prop_assert!(is_ref(&name) && name.is_ascii());
            let special = name.contains(|c: char| c.is_ascii_control() || " '\"`$&|;<>(){}[]*?!~^:\\".contains(c));
            let odd = ["/-", "..", "@{"].iter().any(|odd| name.contains(odd));
            prop_assert!(!special && !odd);
        }
    }

    /// No spelling of a guarded path with other case, invisible characters, dots or spaces gets past.
    #[test]
    fn no_spelling_of_a_guarded_path_gets_past(
        upper in proptest::collection::vec(any::<bool>(), 7),
        hidden in proptest::collection::vec(proptest::sample::select(vec!["", "\u{200c}", "\u{200d}", "\u{202a}", "\u{206f}", "\u{feff}"]), 7),
        end in "[. ]{0,3}",
    ) {
        let mut name = String::new();
        for ((letter, upper), hidden) in ".github".chars().zip(upper).zip(hidden) {
            name.push(if upper { letter.to_ascii_uppercase() } else { letter });
            name.push_str(hidden);
        }
        let path = format!("{name}{end}/workflows/x.yml");
        prop_assert!(Policy::default().guarded().covers(&touched(&path)), "{path:?}");
    }
}
