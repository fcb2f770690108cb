//! `bottle plan`: shows what would start, and how it differs from the last start.

use super::context::Context;
use super::up::behind;
use crate::config::Config;
use crate::config::found::shown;
use crate::describe::{describe, difference};
use crate::lifecycle::check::check;
use crate::lifecycle::files;
use crate::lifecycle::machine::MachineChange;
use crate::made_from::MadeFrom;
use crate::pool::fit::fit;
use crate::pool::shown::waiting;
use crate::resolve::{Resolved, resolve};
use bottle_core::slug::Slug;
use bottle_core::specification::{MachineUser, Workspace};
use bottle_core::visible::Line;
use bottle_host::confine;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home};
use bottle_host::tools;
use bottle_host::workspace;
use bottle_host::{out, outln};
use std::path::Path;

pub fn plan(context: &Context, slug: Option<Slug>, diff: bool, json: bool) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    let home = Home::find()?;
    let folder = home.bottle(&slug);
    let resolved =
        resolve(&slug, &config, tools::stack(config.stack), &home, MadeFrom::of(&folder, &config).as_ref())?;
    context.note_trust(&home, &config)?;
    let checked = check(&home, &folder, &config, &resolved);
    // A bottle without a machine is spared the question, which takes smolvm longer than all the rest. A machine
    // can be looked up only where smolvm is there.
    let may_have_one = folder.machine_smolfile().exists();
    let machine = may_have_one.then(|| tools::smolvm().and_then(|smolvm| Ok(smolvm.machine(&slug)?)));
    let machine = machine.and_then(Result::ok).flatten();
    if let Some(remedy) = MachineChange::remedy(&folder, machine, &resolved) {
        out::note(remedy);
    }
    if resolved.is_behind {
        out::note(behind(&slug));
    }
    if diff {
        checked?;
        return show_difference(&folder, &resolved, json);
    }
    let plan = &resolved.plan;
    if json {
        if let Some(project) = shares_project(&config) {
            out::note(format_args!("the guest can write to {}, and not only to a copy of it", Line(project)));
        }
        out::json(plan)?;
        return checked.map(drop);
    }
    // The files are shown first: they help to see why the bottle would not start.
    let (rendered, checked) = match checked {
        Ok(rendered) => (rendered, Ok(())),
        Err(failure) => (files::render(&folder, &resolved, &config)?, Err(failure)),
    };
    match &config.file {
        Some(found) => outln!("file      {}", shown(&found.path))?,
        None => outln!("file      none: every key has its default")?,
    }
    out::text(describe(plan, &resolved.services))?;
    if let Some(image) = &resolved.image {
        outln!("fetched   {}", image.describe())?;
    }
    if let Some(why) = tools::why_sockets(config.stack, plan.stack) {
        outln!("because   {why}; `bottle doctor` says how to get it")?;
    }
    if config.warm > 0
        && let Ok(smolvm) = tools::smolvm()
    {
        let what = match fit(&resolved, &smolvm)? {
            Ok(shape) if waiting(&home, &shape)? > 0 => {
                "a run begins as a machine that waits for one".to_owned()
            }
            Ok(_) => "no machine waits yet: a run boots its own, and asks for one".to_owned(),
            Err(why) => format!("a run boots its own machine: {why}"),
        };
        outln!("pool      {what}")?;
    }
    if let Some((project, exclude)) = &resolved.copied {
        for line in copied(project.as_str(), exclude)? {
            outln!("{line}")?;
        }
    }
    for folder in config.writable() {
        let is_project = shares_project(&config) == Some(folder);
        let instead = if is_project { "; with mode = \"copy\" it works on a copy" } else { "" };
        outln!(
            "writable  {folder}: what the guest writes there is written to your own files at once{instead}"
        )?;
    }
    for shared in &config.exposed {
        let said = if shared.by_file { "allow-sensitive in bottle.toml" } else { "--i-know" };
        outln!("sensitive {} {}: the guest gets it, by {said}", shown(&shared.folder), shared.why)?;
    }
    let offered = confine::offered();
    if !offered.is_whole() {
        outln!("weaker    this kernel cannot confine the keeper fully: {offered}; see `bottle doctor`")?;
    }
    if resolved.user == MachineUser::Root {
        outln!(
            "as root   the machine's process: no other user could write its folders; mode = \"copy\" needs none"
        )?;
    }
    outln!("\n--- {}\n{}", folder.smolfile().display(), rendered.smolfile)?;
    if let Some(gvproxy) = rendered.gvproxy {
        outln!("--- {}\n{gvproxy}", folder.gvproxy().display())?;
    }
    checked
}

/// Returns the project if the guest can write to it, and not only to a copy.
fn shares_project(config: &Config) -> Option<&str> {
    match &config.workspace {
        Workspace::Shared { host, writable: true } => Some(host.as_str()),
        _ => None,
    }
}

fn show_difference(folder: &Folder, resolved: &Resolved, json: bool) -> Outcome {
    let Some(lines) = difference(folder, resolved) else {
        return Err(Failure::new(Kind::NoBottle, format!("bottle {} was never started", folder.slug()))
            .help("`bottle plan` shows what would start"));
    };
    if json {
        out::json(&lines)?;
    } else {
        lines.iter().try_for_each(out::line)?;
    }
    if lines.is_empty() {
        return Ok(());
    }
    let what = format!("the plan differs from the last start in {} lines", lines.len());
    Err(Failure::new(Kind::Negative, what).shown())
}

/// Describes the guest's copy of the project, and what is left out of it.
fn copied(project: &str, exclude: &[String]) -> Outcome<Vec<String>> {
    let lists = workspace::lists(Path::new(project), exclude)?;
    let patterns: Vec<&str> = lists.configured.iter().chain(&lists.ignored).map(String::as_str).collect();
    let patterns: Vec<&str> =
        patterns.into_iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    let mut lines = vec![format!(
        "copy      the guest works on a copy of {}; `bottle diff` shows its changes, `bottle apply` takes them back",
        Line(project)
    )];
    let also = if patterns.is_empty() { String::new() } else { format!(", {}", Line(&patterns.join(", "))) };
    lines.push(format!("excluded  .env and its like, but not .env.example and .env.sample{also}"));
    Ok(lines)
}
