//! What is kept of a bottle's log to be shown: the newest lines, counts by destination, and counts by minute.
//! Its size does not depend on what a guest writes into the log.

use crate::desk::{Class, Destination, Line, Log, Minute, Standing};
use bottle_core::egress::{HostRule, Rules};
use bottle_core::visible;
use bottle_host::audit::Entry;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How many lines are kept.
const LINES: usize = 1000;
/// How many lines are given out at a time.
const AT_ONCE: usize = 300;
/// How many destinations are told apart.
const DESTINATIONS: usize = 500;
/// How many of them are given out.
const LISTED: usize = 100;
/// How many minutes are counted.
pub const MINUTES: u64 = 60;
/// The longest text of a line or a destination, in characters.
const LONGEST: usize = 400;
/// A minute, in milliseconds.
const MINUTE: u64 = 60_000;

/// What is kept of a log.
#[derive(Debug, Default)]
pub struct Book {
    lines: VecDeque<Line>,
    last: u64,
    destinations: HashMap<(Class, String, String), Counted>,
    others: u64,
    minutes: BTreeMap<u64, (u64, u64)>,
}

#[derive(Debug)]
struct Counted {
    part: String,
    reason: String,
    count: u64,
    last_ms: u64,
    rule: Option<HostRule>,
}

impl Book {
    /// Adds a line of the log, or one that cannot be parsed.
    pub fn add(&mut self, line: &Result<Entry, String>) {
        self.last += 1;
        let line = match line {
            Ok(entry) => {
                // Two logs are shown as one, and this says only that one of them refers to the other.
                if entry.part == "audit" && matches!(entry.event.as_str(), "decided" | "continued") {
                    return;
                }
                self.count(entry);
                Line {
                    number: self.last,
                    time_ms: entry.time_ms,
                    part: shown(&entry.part),
                    event: shown(&entry.event),
                    class: class(entry),
                    details: details(entry),
                }
            }
            Err(text) => Line {
                number: self.last,
                time_ms: 0,
                part: "log".to_owned(),
                event: "unreadable".to_owned(),
                class: Class::Trouble,
                details: shown(text),
            },
        };
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn count(&mut self, entry: &Entry) {
        let class = class(entry);
        let is_counted = matches!(class, Class::Refused | Class::Allowed);
        let Some((name, rule)) = destination(entry).filter(|_| is_counted) else { return };
        let count = entry.number("repeated").unwrap_or(1);
        let minute = entry.time_ms / MINUTE;
        let (refused, allowed) = self.minutes.entry(minute).or_default();
        let counter = if class == Class::Refused { refused } else { allowed };
        *counter = counter.saturating_add(count);
        while self.minutes.len() > usize::try_from(MINUTES).unwrap_or(usize::MAX) {
            self.minutes.pop_first();
        }
        let reason = shown(entry.text("reason").unwrap_or_default());
        let key = (class, name, reason.clone());
        if !self.destinations.contains_key(&key) && self.destinations.len() >= DESTINATIONS {
            self.others = self.others.saturating_add(count);
            return;
        }
        let counted = self.destinations.entry(key).or_insert_with(|| Counted {
            part: shown(&entry.part),
            reason,
            count: 0,
            last_ms: 0,
            rule,
        });
        counted.count = counted.count.saturating_add(count);
        counted.last_ms = counted.last_ms.max(entry.time_ms);
    }

    /// Returns what is kept, with the lines after the one with this number. `rules` are the ones that hold now,
    /// and `now_ms` is the time.
    pub fn log(&self, after: u64, rules: &Rules, now_ms: u64, reading: bool) -> Log {
        let newer = self.lines.iter().filter(|line| line.number > after);
        let skipped = newer.clone().count().saturating_sub(AT_ONCE);
        let mut destinations: Vec<Destination> = self
            .destinations
            .iter()
            .map(|((class, name, _), counted)| Destination {
                name: name.clone(),
                class: *class,
                part: counted.part.clone(),
                reason: counted.reason.clone(),
                count: counted.count,
                last_ms: counted.last_ms,
                rule: counted.rule.as_ref().map(ToString::to_string),
                standing: counted.rule.as_ref().map_or(Standing::Undecided, |rule| standing(rule, rules)),
            })
            .collect();
        destinations.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        let rest: u64 = destinations.iter().skip(LISTED).map(|destination| destination.count).sum();
        destinations.truncate(LISTED);
        Log {
            lines: newer.skip(skipped).cloned().collect(),
            last: self.last,
            reading,
            destinations,
            others: self.others.saturating_add(rest),
            minutes: self.minutes(now_ms),
        }
    }

    fn minutes(&self, now_ms: u64) -> Vec<Minute> {
        let now = now_ms / MINUTE;
        let minutes = now.saturating_sub(MINUTES - 1)..=now;
        minutes
            .map(|minute| {
                let (refused, allowed) = self.minutes.get(&minute).copied().unwrap_or_default();
                Minute { at_ms: minute * MINUTE, refused, allowed }
            })
            .collect()
    }
}

/// Returns what the rules say about a host.
fn standing(rule: &HostRule, rules: &Rules) -> Standing {
    if rules.deny.contains(&rule.pattern) {
        Standing::Denied
    } else if rules.allow.contains(rule) {
        Standing::Allowed
    } else {
        Standing::Undecided
    }
}

fn class(entry: &Entry) -> Class {
    match entry.event.as_str() {
        "refused" | "denied" | "rejected" | "turned-away" => Class::Refused,
        "allowed" | "approved" | "forwarded" | "opened" => Class::Allowed,
        "failed" | "lost" | "torn" => Class::Trouble,
        event if event.ends_with("-ended") || event.ends_with("-failed") => Class::Trouble,
        _ => Class::Note,
    }
}

/// Returns where an event of the guest's went, and the rule that would open it.
fn destination(entry: &Entry) -> Option<(String, Option<HostRule>)> {
    if entry.part == "guard" || entry.part == "link" {
        return Some((shown(entry.text("destination").unwrap_or("other frames")), None));
    }
    // `opened` begins what `allowed` ends.
    if entry.event == "opened" {
        return None;
    }
    let request = entry.text("request")?;
    let (method, target) = request.split_once(' ')?;
    let (rest, port) = match (method, target.split_once("://")) {
        ("CONNECT", _) => (target, 443),
        (_, Some(("http", rest))) => (rest, 80),
        (_, Some((_, rest))) => (rest, 443),
        // A path on the door, for an upstream.
        (_, None) => return Some((shown(target.split(['?', '#']).next().unwrap_or_default()), None)),
    };
    let named = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rule = bottle_core::egress::authority(named, port).ok().and_then(|(host, port)| {
        let text = if port == 443 { host.to_string() } else { format!("{host}:{port}") };
        text.parse().ok()
    });
    let can_open = matches!(entry.text("reason"), None | Some("host" | "port" | "closed"));
    Some((shown(named), rule.filter(|_| can_open)))
}

/// Returns text on one line, not too long, with everything escaped that could deceive a reader.
fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() {
        cut.push('\u{2026}');
    }
    visible::Line(&cut).to_string()
}

fn details(entry: &Entry) -> String {
    let fields = entry.details.iter().map(|(key, value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    });
    shown(&fields.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(event: &str, request: &str, at: u64) -> Result<Entry, String> {
        let line = json!({ "time_ms": at, "part": "pipelock", "event": event, "reason": "host",
                           "request": request, "previous": "" });
        Ok(serde_json::from_value(line).unwrap())
    }

    #[test]
    fn however_many_lines_a_guest_writes_they_take_no_more_room() {
        let mut book = Book::default();
        for at in 0..60_000_u64 {
            let host = format!("{}.{}.test", "x".repeat(50), at % 5000);
            book.add(&entry("refused", &format!("CONNECT {host}:443"), at * 170));
        }
        assert_eq!((book.lines.len(), book.destinations.len()), (LINES, DESTINATIONS));
        assert!(book.minutes.len() as u64 <= MINUTES);
        let log = book.log(0, &Rules::default(), 60_000 * 170, false);
        assert_eq!((log.lines.len(), log.destinations.len(), log.last), (AT_ONCE, LISTED, 60_000));
        let counted: u64 = log.destinations.iter().map(|one| one.count).sum();
        assert_eq!(counted + log.others, 60_000);
        assert!(log.minutes.iter().map(|minute| minute.refused).sum::<u64>() > 20_000);
    }

    #[test]
    fn a_destination_has_the_rule_that_would_open_it() {
        let mut book = Book::default();
        for (request, name, rule) in [
            ("CONNECT a.test:443", "a.test:443", Some("a.test")),
            ("CONNECT a.test:8443", "a.test:8443", Some("a.test:8443")),
            ("GET http://a.test/x?y", "a.test", Some("a.test:80")),
            ("GET /v1/messages", "/v1/messages", None),
            ("CONNECT 10.0.0.1:443", "10.0.0.1:443", None),
            ("CONNECT \u{202e}a:443", "\\u{202e}a:443", None),
        ] {
            book.add(&entry("refused", request, 0));
            let log = book.log(0, &Rules::default(), 0, false);
            let found = log.destinations.iter().find(|one| one.name == name && one.rule.as_deref() == rule);
            assert!(found.is_some(), "{request}: {:?}", log.destinations);
        }
    }

    #[test]
    fn what_a_guest_wrote_is_escaped_and_cut() {
        let mut book = Book::default();
        book.add(&entry("refused", &format!("CONNECT \u{1b}[31m{}\u{202e}:443", "y".repeat(5000)), 0));
        let log = book.log(0, &Rules::default(), 0, false);
        let text = serde_json::to_string(&log).unwrap();
        assert!(!text.contains("\\u001b") && !text.contains('\u{202e}') && text.len() < 4000, "{text}");
    }
}
