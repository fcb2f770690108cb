//! `bottle diff` and `bottle apply`: what the guest changed in its copy of the project.

use super::context::Context;
use crate::args::Size;
use crate::desk::changes;
use crate::output::Diff;
use bottle_core::slug::Slug;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::Home;
use bottle_host::workspace::{Copy, Digest, Look, MOST};
use std::io::IsTerminal;
use std::path::{Component, Path, PathBuf};

/// How to show changes.
pub struct Shown {
    pub names: bool,
    pub json: bool,
    pub max_size: Option<Size>,
}

pub fn diff(context: &Context, slug: Option<Slug>, how: &Shown, paths: &[PathBuf]) -> Outcome {
    let copy = find(context, slug)?;
    let look = look(context, &copy, how.max_size, paths)?;
    let digest = look.digest();
    tell_of_attributes(&look);
    if how.json {
        let changes: Vec<_> = look.changes().collect();
        return out::json(&Diff { changes, digest: digest.to_string() });
    }
    if how.names {
        look.lines().try_for_each(out::line)?;
    } else {
        copy.show(&look, out::text)?;
    }
    if look.changes().next().is_none() {
        context.say("the guest has changed nothing");
    } else {
        context.say(&format!("`bottle apply --digest {digest}` applies exactly this"));
    }
    Ok(())
}

/// How to take changes back.
#[derive(Default)]
pub struct How {
    pub overwrite: bool,
    pub dry_run: bool,
    pub digest: Option<Digest>,
    pub max_size: Option<Size>,
    pub yes: bool,
}

pub fn apply(context: &Context, slug: Option<Slug>, how: &How, paths: &[PathBuf]) -> Outcome {
    let _lock = context.folder(slug.clone())?.lock_operation("apply")?;
    let mut copy = find(context, slug)?;
    // What is read here is shown, confirmed and written: the guest works on meanwhile.
    let mut seen = look(context, &copy, how.max_size, paths)?;
    if let Some(wanted) = &how.digest
        && Defence::ShownIsApplied.stands()
        && *wanted != seen.digest()
    {
        return Err(Failure::new(Kind::Usage, "the copy has changed since: this is not what was shown")
            .help("`bottle diff` with the same paths and options shows what is there now"));
    }
    if seen.changes().next().is_none() {
        context.say("there is nothing to apply");
        return Ok(());
    }
    tell_of_attributes(&seen);
    let asks = !(how.yes || how.dry_run || how.digest.is_some());
    if asks && std::io::stdin().is_terminal() {
        copy.show(&seen, out::text)?;
    } else {
        // Both sides of a conflict are shown, so that a person can decide.
        copy.show_conflicts(&seen, out::text)?;
    }
    let question = format!("Apply this to {}?", copy.of().display());
    if how.dry_run || (asks && !out::confirmed(&question)) {
        return Ok(());
    }
    if !Defence::ShownIsApplied.stands() {
        seen = look(context, &copy, how.max_size, paths)?;
    }
    let slug = copy.slug().clone();
    let applied = context.during(&slug, "applying the changes", || {
        changes::take(&Home::find()?, &mut copy, seen, how.overwrite)
    })?;
    context.say(&format!("{} applied, {} left in the guest", applied.taken.len(), applied.kept.len()));
    if applied.taken.is_empty() {
        return Err(Failure::new(Kind::Usage, "nothing could be applied; the list says why").help(
            "`bottle diff` shows both sides; `bottle apply --overwrite` takes the guest's version where both changed",
        ));
    }
    Ok(())
}

fn find(context: &Context, slug: Option<Slug>) -> Outcome<Copy> {
    changes::copy(&context.folder(slug)?)
}

fn look(context: &Context, copy: &Copy, max_size: Option<Size>, paths: &[PathBuf]) -> Outcome<Look> {
    let wanted: Vec<PathBuf> = paths.iter().map(|path| plain(path)).collect();
    let most = max_size.map_or(MOST, |Size(bytes)| bytes);
    Ok(context.during(copy.slug(), "comparing the copy with the project", || copy.look(&wanted, most))?)
}

fn tell_of_attributes(look: &Look) {
    if look.with_attributes > 0 {
        out::note(format_args!(
            "changed files with extended attributes in the guest, which stay there: {}",
            look.with_attributes
        ));
    }
}

/// Returns a path in the form that changes have: `./a/` becomes `a`.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
