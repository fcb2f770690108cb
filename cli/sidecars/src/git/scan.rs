//! Finds secrets in a push. It searches every new object of any kind (a file, a link's target, a name, a
//! message, a tag) as a whole and byte by byte, instead of the text of a patch. If gitleaks is installed, it
//! runs as well.

use super::child::Git;
use super::objects::{NewObjects, fill};
use anyhow::{Context, Result, bail};
use bottle_core::git::name::ObjectId;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use regex::bytes::RegexSet;
use serde::Deserialize;
use std::sync::LazyLock;

/// How many findings are shown.
const MAX_FINDINGS: usize = 10;
/// The exit status that gitleaks is told to use for findings. Its default, 1, also means any other failure.
const LEAKS: i32 = 42;
/// How many bytes are searched at a time.
const WINDOW: usize = 256 << 10;
/// How many of them are searched again, together with the bytes that follow. No pattern needs more to match,
/// even with two bytes per letter.
const AGAIN: usize = 1 << 10;

/// Keys that can be recognized by their format, which their issuers define.
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

/// What becomes of a push in which one of them is found.
pub const SCANNED: &str = "A push with any of them would have been refused, so none was found.";

/// Returns the kinds of keys that are searched for.
pub fn scanned_kinds() -> impl Iterator<Item = &'static str> {
    PATTERNS.iter().map(|(kind, _)| *kind)
}

static KEYS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    // Patterns match bytes, not letters: the bytes beside a key do not have to be UTF-8, and do not count as
    // part of a word.
    RegexSet::new(PATTERNS.iter().map(|(_, pattern)| format!("(?-u){pattern}"))).ok()
});

/// Describes the secrets in a push, without repeating them.
///
/// # Errors
/// Returns an error if the objects cannot be read.
pub fn new_objects(commit: &ObjectId, new: &NewObjects) -> Result<Vec<String>> {
    let mut found = by_gitleaks(commit)?;
    if !Defence::GitTrees.stands() {
        found.extend(in_patch(commit)?);
        return Ok(found);
    }
    let mut window = vec![0; WINDOW];
    new.read(Git::in_hook(), |object, content| {
        if found.len() >= MAX_FINDINGS {
            return Ok(());
        }
        if let Some((what, line)) = search(content, &mut window)? {
            let place = new.location(object);
            let line = if object.kind == "blob" { format!(":{line}") } else { String::new() };
            found.push(format!("{what} in {place}{line}"));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns the kind and the line of the first key in a stream of bytes.
fn search(content: &mut dyn std::io::Read, window: &mut [u8]) -> Result<Option<(&'static str, usize)>> {
    let (mut kept, mut lines) = (0, 1);
    loop {
        let read = fill(content, &mut window[kept..])?;
        let seen = &window[..kept + read];
        if let Some(what) = key(seen) {
            let before = seen.len() - first(seen).map_or(0, <[u8]>::len);
            return Ok(Some((what, lines + newlines(&seen[..before]))));
        }
        if kept + read < window.len() {
            return Ok(None);
        }
        let start = window.len() - AGAIN;
        lines += newlines(&window[..start]);
        window.copy_within(start.., 0);
        kept = AGAIN;
    }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the bytes from the line with the first key onwards. A key that spans lines counts as being on the
/// first.
fn first(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if key(line).is_some() {
            return Some(rest);
        }
        rest = &rest[line.len()..];
    }
    None
}

/// Returns the kind of key in some bytes, read as they are or as UTF-16.
fn key(bytes: &[u8]) -> Option<&'static str> {
    matched(bytes).or_else(|| {
        let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        if narrow.len() == bytes.len() { None } else { matched(&narrow) }
    })
}

/// Returns the kind of secret in some text.
pub fn matched(bytes: &[u8]) -> Option<&'static str> {
    let Some(keys) = &*KEYS else { return Some("something unknown (the patterns cannot be used)") };
    keys.matches(bytes).iter().next().map(|key| PATTERNS[key].0)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finding {
    #[serde(rename = "RuleID")]
    rule: String,
    file: String,
    start_line: u64,
}

/// Returns the findings of gitleaks, or none if it is not installed.
fn by_gitleaks(commit: &ObjectId) -> Result<Vec<String>> {
    let gitleaks = Git::scanner("gitleaks")
        .args(["detect", "--source", ".", "--no-banner", "--redact"])
        .args(["--report-format", "json", "--report-path", "/dev/stdout"])
        .args(["--exit-code", &LEAKS.to_string()])
        .args([format!("--log-opts={commit} --not --all")]);
    let ended = match gitleaks.finish() {
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        ended => ended.context("gitleaks")?,
    };
    match ended.status.code() {
        Some(0) => Ok(Vec::new()),
        Some(LEAKS) => {
            let findings: Vec<Finding> = serde_json::from_slice(&ended.stdout).context("gitleaks")?;
            let word = |finding: &Finding| {
                format!("{} in {}:{}", finding.rule, Line(&finding.file), finding.start_line)
            };
            let found: Vec<String> = findings.iter().take(MAX_FINDINGS).map(word).collect();
            Ok(if found.is_empty() { vec!["a secret that gitleaks found".to_owned()] } else { found })
        }
        _ => bail!("gitleaks failed: {}", ended.status),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Returns the kinds of keys in the lines that a patch adds.
fn in_patch(commit: &ObjectId) -> Result<Vec<String>> {
    let show = ["log", "-p", "-c", "--text", "--no-color", "--no-ext-diff", "--no-textconv", "--unified=0"];
    let patch = Git::in_hook().args(show).args(["--format=", commit.as_str(), "--not", "--all"]).output()?;
    let added = patch
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"+++ ") && (line.starts_with(b"+") || line.starts_with(b" +")));
    Ok(added.filter_map(matched).map(str::to_owned).take(MAX_FINDINGS).collect())
}

#[cfg(test)]
mod tests;
