//! `bottle suggest`: the hosts that were refused in this run, as lines for `bottle.toml`.
//!
//! The guest chose these names, so nothing is suggested that a person would not write by hand: names that are
//! whole and plain, one by one, each with what it was refused for. Never a pattern, an address, or a host that a
//! rule closes.

use super::context::Context;
use super::logs::with_log;
use crate::output::{NotSuggested, Suggested, Suggestions};
use bottle_core::egress::{HostRule, authority};
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_host::audit::{Entry, Merged};
use bottle_host::failure::Outcome;
use bottle_host::{out, outln};
use bottle_sidecars::egress::public_suffix;
use std::collections::BTreeMap;

/// How many hosts are suggested. Whoever needs more has not looked at these yet.
const MOST: usize = 40;
/// The longest label of a name that a person can be expected to have read. Longer ones carry data.
const LONGEST_LABEL: usize = 40;

pub fn suggest(context: &Context, slug: Option<Slug>, json: bool) -> Outcome {
    let folder = with_log(context, slug)?;
    let mut refusals = Refusals::default();
    let mut lines = Merged::new(&folder.audit(), &folder.decisions())?;
    while let Some(line) = lines.next_line()? {
        if let Ok(entry) = line {
            refusals.add(&entry);
        }
    }
    let suggestions = refusals.into_suggestions();
    if json {
        return out::json(&suggestions);
    }
    for refused in &suggestions.not {
        outln!("# not {}: {} ({} times)", Line(&refused.host), refused.why, refused.times)?;
    }
    if suggestions.hosts.is_empty() {
        context.say("nothing was refused in this run that a rule could allow");
        return Ok(());
    }
    outln!("# the guest chose these names: look at each, and delete what it does not need")?;
    outln!("[egress]\nallow = [")?;
    for host in &suggestions.hosts {
        outln!("    \"{}\",  # refused {} times", host.rule, host.times)?;
    }
    outln!("]")?;
    if suggestions.left_out > 0 {
        out::note(format_args!("{} more hosts were refused", suggestions.left_out));
    }
    Ok(())
}

/// What the egress proxy refused since the keeper started, by host and port.
#[derive(Default)]
struct Refusals(BTreeMap<(String, Option<u16>), Count>);

#[derive(Default)]
struct Count {
    times: u64,
    reason: String,
}

impl Refusals {
    fn add(&mut self, entry: &Entry) {
        match (entry.part.as_str(), entry.event.as_str()) {
            // A run begins with its keeper.
            ("keeper", "started") => self.0.clear(),
            ("rules", "allowed") => self.allowed(entry),
            ("pipelock", "refused") => {
                let (Some(reason), Some(request)) = (entry.text("reason"), entry.text("request")) else {
                    return;
                };
                if !matches!(reason, "host" | "port" | "closed" | "address-literal") {
                    return;
                }
                let (host, port) = destination(request);
                let count = self.0.entry((host, port)).or_default();
                count.times = count.times.saturating_add(entry.number("repeated").unwrap_or(1));
                reason.clone_into(&mut count.reason);
            }
            _ => {}
        }
    }

    /// Forgets what a rule allows by now.
    fn allowed(&mut self, entry: &Entry) {
        let Some(rule) = entry.text("rule").and_then(|rule| rule.parse::<HostRule>().ok()) else { return };
        self.0.retain(|(host, port), _| {
            let is_meant = host.parse().is_ok_and(|host| rule.pattern.matches(&host));
            !(is_meant && port.is_none_or(|port| rule.ports.contains(&port)))
        });
    }

    fn into_suggestions(self) -> Suggestions {
        let (mut hosts, mut not) = (Vec::new(), Vec::new());
        for ((host, port), Count { times, reason }) in self.0 {
            match rule(&host, port, &reason) {
                Ok(rule) => hosts.push(Suggested { rule, times }),
                Err(why) => not.push(NotSuggested { host, why: why.to_owned(), times }),
            }
        }
        hosts.sort_by_key(|host| std::cmp::Reverse(host.times));
        not.sort_by_key(|host| std::cmp::Reverse(host.times));
        let left_out = hosts.len().saturating_sub(MOST) + not.len().saturating_sub(MOST);
        hosts.truncate(MOST);
        not.truncate(MOST);
        Suggestions { hosts, not, left_out }
    }
}

/// Splits what a request was for: `CONNECT host:port`, or `GET http://host:port/path`.
fn destination(request: &str) -> (String, Option<u16>) {
    let target = request.split_once(' ').map_or(request, |(_, target)| target);
    let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
    let named = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let default = if scheme == "http" { 80 } else { 443 };
    match authority(named, default) {
        Ok((host, port)) => (host.to_string(), Some(port)),
        Err(_) => (named.to_owned(), None),
    }
}

/// Returns the rule for one host, or why none is suggested.
fn rule(host: &str, port: Option<u16>, reason: &str) -> Result<HostRule, &'static str> {
    if reason == "closed" {
        return Err("a rule of yours closes it");
    }
    let port =
        port.filter(|_| reason != "address-literal").ok_or("it is no name, and rules have names only")?;
    let text = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
    let rule: HostRule = text.parse().map_err(|_| "it is no name, and rules have names only")?;
    if public_suffix::is_suffix(host) {
        return Err("it is a public suffix: anybody can have a name below it");
    }
    if !host.contains('.') {
        return Err("it has one label, so it means something else in each network");
    }
    if host.split('.').any(|label| label.len() > LONGEST_LABEL) {
        return Err("a part of it is so long that it may carry data out");
    }
    if host.split('.').any(|label| label.starts_with("xn--")) {
        return Err("it has letters of another script, which can look like those of a name that you know");
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn entry(part: &str, event: &str, details: &serde_json::Value) -> Entry {
        let mut line = json!({ "time_ms": 1, "part": part, "event": event, "previous": "" });
        let empty = Map::new();
        line.as_object_mut().unwrap().extend(details.as_object().unwrap_or(&empty).clone());
        serde_json::from_value::<Entry>(line).unwrap()
    }

    fn refused(request: &str, reason: &str, repeated: u64) -> Entry {
        entry("pipelock", "refused", &json!({ "request": request, "reason": reason, "repeated": repeated }))
    }

    #[test]
    fn hosts_are_suggested_one_by_one_with_their_counts() {
        let mut refusals = Refusals::default();
        refusals.add(&refused("CONNECT before.test:443", "host", 1));
        refusals.add(&entry("keeper", "started", &json!({})));
        for (request, reason, repeated) in [
            ("CONNECT a.test:443", "host", 1),
            ("CONNECT a.test:443", "host", 4),
            ("CONNECT b.test:8443", "port", 1),
            ("GET http://c.test/x?y", "host", 2),
            ("CONNECT taken.test:443", "host", 9),
            ("CONNECT rebound.test:443", "address", 9),
        ] {
            refusals.add(&refused(request, reason, repeated));
        }
        refusals.add(&entry("rules", "allowed", &json!({ "rule": "taken.test" })));
        let told = refusals.into_suggestions();
        let told: Vec<(String, u64)> =
            told.hosts.iter().map(|host| (host.rule.to_string(), host.times)).collect();
        let wanted = [("a.test", 5), ("c.test:80", 2), ("b.test:8443", 1)];
        assert_eq!(told, wanted.map(|(rule, times)| (rule.to_owned(), times)));
    }

    #[test]
    fn what_a_guest_made_up_is_told_of_and_not_suggested() {
        let long = format!("{}.evil.test", "d".repeat(60));
        for (host, reason) in [
            ("10.0.0.1", "address-literal"),
            ("[::1]:443", "address-literal"),
            ("github.io", "host"),
            ("co.uk", "host"),
            ("localhost", "host"),
            ("xn--pple-43d.com", "host"),
            (long.as_str(), "host"),
            ("shut.test", "closed"),
            ("a\"]\nevil = [\"", "host"),
        ] {
            let mut refusals = Refusals::default();
            refusals.add(&refused(&format!("CONNECT {host}"), reason, 1));
            let told = refusals.into_suggestions();
            assert!(told.hosts.is_empty() && told.not.len() == 1, "{host}: {told:?}");
        }
        let mut many = Refusals::default();
        (0..500).for_each(|number| many.add(&refused(&format!("CONNECT h{number}.test:443"), "host", 1)));
        let told = many.into_suggestions();
        assert_eq!((told.hosts.len(), told.left_out), (MOST, 460));
    }
}
