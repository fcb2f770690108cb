//! `bottle cp`: files in and out, by the helper that is in every guest.

use super::context::Context;
use crate::args::Place;
use crate::failure::{Failure, Kind, Outcome};
use crate::preflight;
use crate::smolvm::Terminal;
use anyhow::Context as _;
use bottle_core::slug::Slug;
use bottle_core::smolfile::HELPER;
use bottle_core::visible;
use bottle_guest::archive;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub fn cp(context: &Context, from: &Place, to: &Place) -> Outcome {
    match (from, to) {
        (Place::Here(from), Place::Guest(slug, to)) => put(context, from, slug, to),
        (Place::Guest(slug, from), Place::Here(to)) => fetch(context, slug, from, to),
        _ => Err(Failure::new(Kind::Usage, "one of the two is in a bottle, and only one")
            .help("a path in a bottle is SLUG:PATH")),
    }
}

fn put(context: &Context, from: &Path, slug: &Slug, to: &str) -> Outcome {
    // What is not there is said before the guest has made anything of it.
    std::fs::symlink_metadata(from)
        .map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}", from.display())))?;
    let mut guest = helper(context, slug, "unpack", to)?.stdin(Stdio::piped()).spawn().context("smolvm")?;
    let packed = match guest.stdin.take() {
        Some(stdin) => archive::pack(from, stdin),
        None => Ok(()),
    };
    // Where the guest gave up, its own words say more than a pipe that broke.
    finish(guest)?;
    Ok(packed?)
}

fn fetch(context: &Context, slug: &Slug, from: &str, to: &Path) -> Outcome {
    let mut guest = helper(context, slug, "pack", from)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("smolvm")?;
    let unpacked = match guest.stdout.take() {
        Some(stdout) => archive::unpack(stdout, to),
        None => Ok(()),
    };
    finish(guest)?;
    Ok(unpacked?)
}

fn helper(context: &Context, slug: &Slug, job: &str, path: &str) -> Outcome<Command> {
    let folder = context.running(Some(slug.clone()))?;
    let words = [HELPER, job, path].map(str::to_owned);
    let mut command = preflight::smolvm()?.exec(folder.slug(), Terminal::Pipe, &words);
    command.stderr(Stdio::piped());
    Ok(command)
}

fn finish(guest: Child) -> Outcome {
    let output = guest.wait_with_output().context("smolvm")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rev().find_map(|line| line.strip_prefix("bottle-guest: "));
    let why = line.map_or_else(|| output.status.to_string(), |line| visible::Line(line).to_string());
    Err(Failure::new(Kind::Usage, format!("in the guest: {why}")))
}
