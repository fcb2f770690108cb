//! Tests of what counts as a key.

use super::*;

fn a(n: usize) -> String {
    "a1B2".repeat(n.div_ceil(4))[..n].to_owned()
}

fn keys() -> Vec<String> {
    vec![
        "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
        format!("AKIA{}", "A1B2".repeat(4)),
        format!("ghp_{}", a(36)),
        format!("glpat-{}", a(20)),
        format!("sk-ant-{}", a(40)),
        format!("sk-proj-{}", a(40)),
        format!("AIza{}", a(35)),
        format!("xoxb-{}", a(20)),
        format!("sk_live_{}", a(24)),
        format!("npm_{}", a(36)),
        format!("pypi-{}", a(60)),
    ]
}

fn found(content: &[u8]) -> Option<(&'static str, usize)> {
    search(&mut &*content, &mut vec![0; WINDOW]).unwrap()
}

#[test]
fn each_pattern_finds_its_key_and_not_ordinary_text() {
    for (key, (what, _)) in keys().iter().zip(PATTERNS) {
        assert_eq!(found(format!("x = 1\nkey = \"{key}\"\n").as_bytes()), Some((what, 2)), "{key}");
        // In a patch, this would look like something else, and the next line is not text.
        assert_eq!(found(format!("++ {key}\n").as_bytes()), Some((what, 1)));
        assert_eq!(found(format!("\0\x01\u{fffd}\n\n{key}").as_bytes()), Some((what, 3)));
        assert_eq!(found(format!("\u{e9}{key}\u{e9}").as_bytes()), Some((what, 1)), "{key}");
    }
    for text in [
        "sk-short",
        "risk-management-and-so-on",
        "BEGIN PUBLIC KEY",
        "AKIA",
        "github_pattern",
        "npm_config_cache",
    ] {
        assert_eq!(found(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_key_in_utf_16_is_found() {
    for (key, (what, _)) in keys().iter().zip(PATTERNS) {
        let text = format!("key: {key} \n");
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(found(&little).map(|found| found.0), Some(what), "{key}");
        assert_eq!(found(&big).map(|found| found.0), Some(what), "{key}");
    }
}

#[test]
fn a_key_is_found_wherever_a_window_ends() {
    let key = format!("ghp_{}", a(36));
    for start in (WINDOW - 80..WINDOW + 10).step_by(3).chain([0, 3 * WINDOW - 17]) {
        let mut content = vec![b' '; start];
        content.extend_from_slice(key.as_bytes());
        content.extend_from_slice(&[b' '; 4096]);
        assert_eq!(found(&content), Some(("a GitHub token", 1)), "{start}");
        let wide: Vec<u8> = content.iter().flat_map(|byte| [*byte, 0]).collect();
        assert_eq!(found(&wide), Some(("a GitHub token", 1)), "{start}");
    }
    assert_eq!(found(&vec![b'a'; 3 * WINDOW]), None);
}
