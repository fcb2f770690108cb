//! Looks for secrets in what was pushed: with gitleaks where it is installed, otherwise with a few
//! patterns of keys that say what they are.

use super::hook::{git, listed};
use anyhow::{Context, Result, bail};
use regex::bytes::RegexSet;
use serde::Deserialize;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// What is shown of what was found.
const MAX_FINDINGS: usize = 10;
/// gitleaks' exit status where it has found something: its own 1 would also be any other failure.
const LEAKS: i32 = 42;

/// Keys that say what they are. Their forms are the issuers' own.
const PATTERNS: [(&str, &str); 11] = [
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{60,})"),
    ("a GitLab token", r"\bglpat-[0-9A-Za-z_-]{20,}"),
    ("an Anthropic key", r"\bsk-ant-[0-9A-Za-z_-]{20,}"),
    ("an OpenAI key", r"\bsk-(?:proj-|svcacct-)?[0-9A-Za-z_-]{32,}"),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}\b"),
    ("a Slack token", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}"),
    ("a Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{20,}"),
    ("an npm token", r"\bnpm_[0-9A-Za-z]{36}\b"),
    ("a PyPI token", r"\bpypi-[0-9A-Za-z_-]{50,}"),
];

static KEYS: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| RegexSet::new(PATTERNS.iter().map(|(_, pattern)| pattern)).ok());

/// Where a commit and its ancestors that are new here hold secrets, in words that do not repeat them.
///
/// # Errors
/// Where they cannot be looked at.
pub fn new_commits(commit: &str) -> Result<Vec<String>> {
    match by_gitleaks(commit)? {
        Some(found) => Ok(found),
        None => {
            let show =
                ["log", "-p", "-c", "--text", "--no-color", "--no-ext-diff", "--no-textconv", "--unified=0"];
            Ok(in_patch(&listed(git().args(show).args(["--format=", commit, "--not", "--all"]))?))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finding {
    #[serde(rename = "RuleID")]
    rule: String,
    file: String,
    start_line: u64,
}

fn by_gitleaks(commit: &str) -> Result<Option<Vec<String>>> {
    let mut gitleaks = Command::new("gitleaks");
    gitleaks.args(["detect", "--source", ".", "--no-banner", "--redact"]);
    gitleaks.args(["--report-format", "json", "--report-path", "/dev/stdout"]);
    gitleaks.args(["--exit-code", &LEAKS.to_string()]).arg(format!("--log-opts={commit} --not --all"));
    let output = match gitleaks.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output.context("gitleaks")?,
    };
    match output.status.code() {
        Some(0) => Ok(Some(Vec::new())),
        Some(LEAKS) => {
            let findings: Vec<Finding> = serde_json::from_slice(&output.stdout).context("gitleaks")?;
            let word = |finding: &Finding| {
                format!("{} in {}:{}", finding.rule, finding.file.escape_debug(), finding.start_line)
            };
            let found: Vec<String> = findings.iter().take(MAX_FINDINGS).map(word).collect();
            Ok(Some(if found.is_empty() { vec!["gitleaks found one".to_owned()] } else { found }))
        }
        _ => bail!("gitleaks failed: {}", output.status),
    }
}

/// Looks at the lines that a patch adds.
fn in_patch(patch: &[u8]) -> Vec<String> {
    let Some(keys) = &*KEYS else { return vec!["the patterns cannot be used".to_owned()] };
    let (mut file, mut number) = (String::new(), 0);
    let mut found = Vec::new();
    for line in patch.split(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"+++ ") {
            file =
                String::from_utf8_lossy(name.strip_prefix(b"b/").unwrap_or(name)).escape_debug().to_string();
        } else if line.starts_with(b"@@") {
            number = first_added(line).unwrap_or(0);
        } else if line.starts_with(b"+") || line.starts_with(b" +") {
            if let Some(key) = keys.matches(line).iter().next() {
                found.push(format!("{} in {file}:{number}", PATTERNS[key].0));
            }
            number += 1;
        }
        if found.len() == MAX_FINDINGS {
            break;
        }
    }
    found
}

/// The first line of the new file that a hunk is about: `@@ -1,2 +3,4 @@`.
fn first_added(hunk: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(hunk).ok()?;
    let added = text
        .split(' ')
        .rfind(|word| word.starts_with('+') && word[1..].starts_with(|c: char| c.is_ascii_digit()))?;
    added[1..].split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_finds_its_key_and_ordinary_text_is_none() {
        let a = |n: usize| "a1B2".repeat(n.div_ceil(4))[..n].to_owned();
        let keys = [
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
        ];
        for (key, (what, _)) in keys.iter().zip(PATTERNS) {
            let patch = format!("+++ b/config.py\n@@ -0,0 +7,2 @@\n+x = 1\n+key = \"{key}\"\n");
            assert_eq!(in_patch(patch.as_bytes()), [format!("{what} in config.py:8")], "{key}");
            let taken_away = format!("+++ b/config.py\n@@ -7 +6,0 @@\n-key = \"{key}\"\n");
            assert!(in_patch(taken_away.as_bytes()).is_empty());
        }
        for text in [
            "sk-short",
            "risk-management-and-so-on",
            "BEGIN PUBLIC KEY",
            "AKIA",
            "github_pattern",
            "npm_config_cache",
        ] {
            assert!(in_patch(format!("+{text}\n").as_bytes()).is_empty(), "{text}");
        }
    }
}
