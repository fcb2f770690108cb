//! `bottle plan --explain`: which file each value of a bottle comes from.

use super::context::Context;
use crate::config::{Config, Written};
use bottle_core::slug::Slug;
use bottle_core::specification::{StackChoice, Workspace};
use bottle_core::stack::Stack;
use bottle_core::visible::Line;
use bottle_host::failure::Outcome;
use bottle_host::outln;
use bottle_host::rules::Changes;
use bottle_host::state::Home;
use bottle_host::tools;
use std::collections::BTreeSet;

pub fn explain(context: &Context, slug: Option<Slug>) -> Outcome {
    let named = slug.is_some();
    let (slug, config) = context.configured(slug)?;
    let home = Home::find()?;
    context.note_trust(&home, &config)?;
    let mut rows: Vec<(String, String, String)> = config
        .written
        .iter()
        .map(|written| (written.key.clone(), written.value.clone(), written.to_string()))
        .collect();
    rows.extend(left_open(&slug, &config, named));
    for change in Changes::read(&home.bottle(&slug))?.iter() {
        let (verb, rule) = change.in_words();
        rows.push((format!("egress.{verb}"), rule, format!("`bottle {verb} {slug}`")));
    }
    rows.sort();
    for (key, value, from) in &rows {
        outln!("{:<24} {:<40} {from}", Line(key).to_string(), Line(value).to_string())?;
    }
    for (written, by) in &config.overridden {
        let (key, value) = (Line(&written.key).to_string(), Line(&written.value).to_string());
        outln!("{key:<24} {value:<40} {written}, which {by} overrides")?;
    }
    Ok(())
}

/// Returns the values that no file sets, each with where it comes from instead.
fn left_open(slug: &Slug, config: &Config, named: bool) -> Vec<(String, String, String)> {
    let set: BTreeSet<&str> = config.written.iter().map(|written| written.key.as_str()).collect();
    let default = "the default".to_owned();
    let profile = config.agent.as_ref().map(|agent| format!("the profile of {}", agent.name));
    let mut rows = Vec::new();
    let mut open = |key: &str, value: String, from: String| {
        if !set.contains(key) {
            rows.push((key.to_owned(), value, from));
        }
    };
    let from = if named { "the command line".to_owned() } else { "the folder's name".to_owned() };
    open("slug", slug.to_string(), from);
    open("guest.cpus", config.guest.cpus.to_string(), default.clone());
    open("guest.memory", config.guest.memory_mib.to_string(), default.clone());
    match (&config.guest.image, &profile) {
        (Some(image), Some(profile)) => open("guest.image", image.to_string(), profile.clone()),
        _ => open("guest.image", "smolvm's bare Alpine".to_owned(), default.clone()),
    }
    let stack = match (config.stack, tools::stack(config.stack)) {
        (StackChoice::Auto, chosen) => format!("{} here", name(chosen)),
        (_, chosen) => name(chosen).to_owned(),
    };
    open("network.stack", stack, default.clone());
    open("workspace.mode", mode(&config.workspace).to_owned(), default);
    if let Some(profile) = profile {
        for rule in &config.egress.allow {
            let is_written = written_says(&config.written, "egress.allow", &rule.to_string());
            if !is_written {
                rows.push(("egress.allow".to_owned(), rule.to_string(), profile.clone()));
            }
        }
        for command in config.setup.run.iter().filter(|_| !set.contains("guest.setup")) {
            rows.push(("guest.setup".to_owned(), command.to_string(), profile.clone()));
        }
        if !set.contains("upstream") {
            let upstreams = config.upstreams.iter();
            rows.extend(upstreams.map(|one| ("upstream".to_owned(), one.path.to_string(), profile.clone())));
        }
    }
    rows
}

fn written_says(written: &[Written], key: &str, value: &str) -> bool {
    written.iter().any(|written| written.key == key && written.value.contains(value))
}

fn name(stack: Stack) -> &'static str {
    match stack {
        Stack::Gvproxy(_) => "gvproxy",
        Stack::Sockets => "sockets",
    }
}

fn mode(workspace: &Workspace) -> &'static str {
    match workspace {
        Workspace::None => "none",
        Workspace::Copy { .. } => "copy",
        Workspace::Shared { writable: true, .. } => "read-write",
        Workspace::Shared { writable: false, .. } => "read-only",
    }
}
