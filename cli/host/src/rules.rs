//! Rules that a person changed with `bottle allow` and `bottle deny`. They survive a restart, and override
//! `bottle.toml`.
//!
//! They are kept in `rules.json`, which only [`Changes::add`] writes. The plan is the record of the last
//! start. [`now`] returns the current rules: the plan's rules with these changes.

use crate::state::{Folder, parse_json, write_private};
use anyhow::{Context, Result};
use bottle_core::egress::{HostPattern, HostRule, Rules};
use bottle_core::plan::Plan;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;

/// A change of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Let the agent reach these hosts.
    Allow(HostRule),
    /// Close a host again.
    Deny(HostPattern),
}

/// All changes of a bottle's rules so far, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes(Vec<Change>);

impl Change {
    /// Applies the change to the rules.
    pub fn apply(&self, rules: &mut Rules) {
        match self {
            Self::Allow(rule) => {
                rules.deny.retain(|pattern| *pattern != rule.pattern);
                if !rules.allow.contains(rule) {
                    rules.allow.push(rule.clone());
                }
            }
            Self::Deny(pattern) => {
                rules.allow.retain(|known| known.pattern != *pattern);
                if !rules.deny.contains(pattern) {
                    rules.deny.push(pattern.clone());
                }
            }
        }
    }

    fn pattern(&self) -> &HostPattern {
        match self {
            Self::Allow(rule) => &rule.pattern,
            Self::Deny(pattern) => pattern,
        }
    }

    /// Returns the command that makes the change, and what it is about.
    pub fn in_words(&self) -> (&'static str, String) {
        match self {
            Self::Allow(rule) => ("allow", rule.to_string()),
            Self::Deny(pattern) => ("deny", pattern.to_string()),
        }
    }

    /// Returns the event and the fields for the log.
    pub fn recorded(&self, by: &str) -> (&'static str, Value) {
        let (event, rule) = match self {
            Self::Allow(rule) => ("allowed", rule.to_string()),
            Self::Deny(pattern) => ("denied", pattern.to_string()),
        };
        (event, json!({ "rule": rule, "by": by }))
    }
}

/// Returns the current rules of a bottle: those that it was started with, and every change since.
///
/// # Errors
/// Returns an error if the changes cannot be read.
pub fn now(folder: &Folder, plan: &Plan) -> Result<Rules> {
    let mut rules = plan.egress.clone();
    Changes::read(folder)?.apply(&mut rules);
    Ok(rules)
}

impl Changes {
    /// Reads the changes of a bottle.
    ///
    /// # Errors
    /// Returns an error if the file exists and cannot be read.
    pub fn read(folder: &Folder) -> Result<Self> {
        let path = folder.rules();
        match fs::read_to_string(&path) {
            Ok(text) => parse_json(&path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Adds a change on disk. It replaces the changes that it overrides.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn add(folder: &Folder, change: &Change) -> Result<()> {
        let mut changes = Self::read(folder)?;
        changes.0.retain(|known| match (known, change) {
            (Change::Allow(known), Change::Allow(rule)) => known != rule,
            _ => known.pattern() != change.pattern(),
        });
        changes.0.push(change.clone());
        write_private(&folder.rules(), serde_json::to_string_pretty(&changes)?.as_bytes())
    }

    /// Returns the changes, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    /// Applies all changes to the rules.
    pub fn apply(&self, rules: &mut Rules) {
        self.0.iter().for_each(|change| change.apply(rules));
    }
}
