//! Hosts that a person opens and closes.

use crate::describe::wide_open;
use crate::operator::who;
use bottle_core::egress::{HostPattern, HostRule, Rules};
use bottle_host::audit;
use bottle_host::control::{self, Request};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::rules::{Change, Changes};
use bottle_host::state::Folder;
use bottle_sidecars::egress::public_suffix;

/// Opens a host, parsed by [`narrow`], for a bottle, and returns what holds now.
///
/// # Errors
/// Returns an error if it cannot be recorded.
pub fn allow(folder: &Folder, rule: HostRule) -> Outcome<String> {
    let said = wide(folder, &rule).unwrap_or_else(|| format!("{} may reach {rule}", folder.slug()));
    change(folder, Change::Allow(rule))?;
    Ok(said)
}

/// Closes hosts for a bottle, and returns what holds now. There can never be too many closed hosts.
///
/// # Errors
/// Returns an error as for [`allow`].
pub fn deny(folder: &Folder, pattern: HostPattern) -> Outcome<String> {
    let said = format!("{} may not reach {pattern}, on any port", folder.slug());
    change(folder, Change::Deny(pattern))?;
    Ok(said)
}

/// Parses a host that may be opened: no whole public suffix.
///
/// # Errors
/// Returns [`Kind::Usage`] if it is none.
pub fn narrow(host: &str) -> Outcome<HostRule> {
    let rule = parse(host)?;
    public_suffix::check(&rule.pattern)
        .map_err(|wide| Failure::new(Kind::Usage, format!("HOST: {wide}")).help(wide.help()))?;
    Ok(rule)
}

/// Returns what has to be said, however quiet a person wants it, of a rule that opens every host.
pub fn wide(folder: &Folder, rule: &HostRule) -> Option<String> {
    wide_open(folder.slug(), &Rules { allow: vec![rule.clone()], ..Rules::default() })
}

/// Parses a host, or a pattern of hosts.
///
/// # Errors
/// Returns [`Kind::Usage`] if it is none.
pub fn parse(host: &str) -> Outcome<HostRule> {
    host.parse().map_err(|error| {
        Failure::new(Kind::Usage, format!("HOST: {error}")).help(
            "it has the form example.com, *.example.com or example.com:8443; `bottle allow --help` says more",
        )
    })
}

fn change(folder: &Folder, change: Change) -> Outcome {
    if folder.has_keeper() {
        return control::demand(folder, &Request::Rules { change, by: who() }, Kind::Internal);
    }
    // A stopped bottle reads them when it starts.
    let _lock = folder.lock_operation("allow")?;
    let (event, details) = change.recorded(&who());
    audit::decided(folder, "rules", event, details)?;
    Ok(Changes::add(folder, &change)?)
}
