//! `bottle exec` and `bottle shell`: run a command in a bottle that is up.

use super::context::Context;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::Terminal;
use bottle_host::tools;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// The shell of nearly every root filesystem.
pub const SHELL: &str = "/bin/sh";

pub fn exec(context: &Context, slug: Option<Slug>, words: &[String]) -> Outcome<ExitCode> {
    let folder = context.running(slug)?;
    let slug = folder.slug();
    // The bottle was checked when it started.
    let error = tools::smolvm()?.exec(slug, Terminal::here(), words).exec();
    Err(Failure::new(Kind::Internal, format!("cannot run smolvm: {error}")))
}
