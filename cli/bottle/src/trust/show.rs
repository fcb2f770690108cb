//! Shows a person a configuration that nobody has accepted.

use bottle_core::visible;
use similar::TextDiff;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;
use toml::{Table, Value};

/// How many lines to show. A longer difference can be accepted by its digest only.
const MOST_LINES: usize = 200;
/// How much of a line to show.
const MOST_CHARACTERS: usize = 400;
/// How long a comparison may take: a file may be written to make it slow.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keys, and what they do on this machine.
const MATTERS: [(&str, &str); 13] = [
    ("slug", "which bottle is meant"),
    ("audit", "what is let through without a log"),
    ("allow-sensitive", "keys and other secrets of this machine that the guest may have"),
    ("network", "who speaks TCP with the guest"),
    ("guest.image", "what the guest boots from"),
    ("guest.volumes", "folders that the guest gets"),
    ("guest.env", "variables of the guest"),
    ("workspace", "whether the guest gets the project's folder"),
    ("egress", "hosts that the agent reaches"),
    ("pipelock", "a program on this machine, or its address"),
    ("supervise", "a program on this machine, or its address"),
    ("git-gate", "a program on this machine, its address, or repositories"),
    ("upstream", "programs, files and variables on this machine that give keys, and where the keys go"),
];

/// A configuration as it is shown to a person.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Several lines, each of them safe to print.
    pub text: String,
    /// Whether this is all of it.
    pub is_whole: bool,
}

impl Shown {
    /// Shows how a text differs from what was accepted before it, or shows all of it.
    pub fn of(what: &str, before: Option<&str>, after: &str, digest: &str) -> Self {
        let mut text = format!("{what}:\n");
        let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before.unwrap_or_default(), after);
        let lines = diff.unified_diff().context_radius(1).to_string();
        let mut is_whole = true;
        for line in lines.lines().take(MOST_LINES) {
            let fits = line.chars().take(MOST_CHARACTERS).collect::<String>();
            let cut = if fits.len() < line.len() { " ..." } else { "" };
            is_whole &= cut.is_empty();
            let _ = writeln!(text, "  {}{cut}", visible::Line(&fits));
        }
        is_whole &= lines.lines().count() <= MOST_LINES;
        if !is_whole {
            let _ = writeln!(text, "  ... this is not all of it: look at the file");
        }
        let keys = differing(before.unwrap_or_default(), after);
        for (key, does) in MATTERS.iter().filter(|(key, _)| keys.iter().any(|differs| concerns(differs, key)))
        {
            let _ = writeln!(text, "  {key}: {does}");
        }
        let _ = write!(text, "  digest {digest}");
        Self { text, is_whole }
    }
}

/// Returns whether a key that differs is this one, or contains it.
fn concerns(differs: &str, key: &str) -> bool {
    differs == key
        || differs.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
        || key.strip_prefix(differs).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the keys, two levels deep, whose values differ.
fn differing(before: &str, after: &str) -> BTreeSet<String> {
    let table = |text: &str| text.parse::<Table>().unwrap_or_default();
    let (before, after) = (table(before), table(after));
    let mut keys = BTreeSet::new();
    for key in before.keys().chain(after.keys()) {
        match (before.get(key), after.get(key)) {
            (was, is) if was == is => {}
            (Some(Value::Table(was)), Some(Value::Table(is))) => {
                let inner = was.keys().chain(is.keys()).filter(|inner| was.get(*inner) != is.get(*inner));
                keys.extend(inner.map(|inner| format!("{key}.{inner}")));
            }
            _ => _ = keys.insert(key.clone()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_with_what_it_does_and_steers_no_terminal() {
        let shown = Shown::of(
            "f",
            Some("slug = \"a\"\n[guest]\ncpus = 1\n"),
            "slug = \"a\"\n[guest]\ncpus = 2\nvolumes = []\n# \u{202e}\n",
            "d",
        );
        assert!(shown.is_whole && shown.text.contains("+volumes = []\n"), "{}", shown.text);
        assert!(shown.text.contains("guest.volumes: folders") && !shown.text.contains("slug: "));
        assert!(!shown.text.contains(['\u{1b}', '\u{202e}']), "{}", shown.text);
        let steering = Shown::of("f", None, "# \u{1b}[2J", "d").text;
        assert!(steering.contains("+# \\u{1b}[2J"), "{steering}");
        let all = Shown::of("f", None, "[upstream]\n", "d");
        assert!(all.text.contains("+[upstream]") && all.text.contains("upstream: programs"));
        let long = Shown::of("f", None, &"# x\n".repeat(MOST_LINES + 50), "d");
        assert!(!long.is_whole && long.text.contains("not all of it"));
        let wide = Shown::of("f", None, &"x".repeat(MOST_CHARACTERS + 1), "d");
        assert!(!wide.is_whole && wide.text.len() < 2 * MOST_CHARACTERS, "{}", wide.text);
    }
}
