//! `bottle diff` and `bottle apply`: what the guest changed in its copy of the project.

use super::context::Context;
use crate::args::Size;
use crate::config::found::shown;
use crate::desk::changes;
use crate::output::Diff;
use bottle_core::slug::Slug;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::provenance::walk::walk;
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
        context.say(if paths.is_empty() {
            "the guest has changed nothing"
        } else {
            "the guest has changed nothing there"
        });
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
    let folder = context.folder(slug)?;
    // A lock makes a folder, and there is none for a bottle that is not there.
    if !folder.exists() {
        changes::copy(&folder)?;
    }
    let _lock = folder.lock_operation("apply")?;
    let mut copy = changes::copy(&folder)?;
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
        context.say(if paths.is_empty() {
            "there is nothing to apply"
        } else {
            "there is nothing to apply there"
        });
        return Ok(());
    }
    tell_of_attributes(&seen);
    seen.overwrites = how.overwrite;
    let asks = !(how.yes || how.dry_run || how.digest.is_some());
    if asks && std::io::stdin().is_terminal() {
        copy.show(&seen, out::text)?;
    } else {
        // Both sides of a conflict are shown, so that a person can decide.
        copy.show_conflicts(&seen, out::text)?;
    }
    let question = format!("Apply this to {}?", copy.of().display());
    if how.dry_run {
        return Ok(());
    }
    if asks && !out::confirmed(&question) {
        return Err(Failure::new(Kind::Negative, "nothing was applied")
            .help("`bottle apply --yes` applies what is there without asking"));
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
    let here = Context::here()?;
    let wanted = paths.iter().map(|path| within(copy, &here, path)).collect::<Outcome<Vec<_>>>()?;
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

/// Returns a path in the form that changes have. In the project it is relative to the current folder, and elsewhere to the
/// project's: `./a/` becomes `a`.
///
/// # Errors
/// Returns [`Kind::Usage`] if it is not in the project, or if nothing is and was there.
fn within(copy: &Copy, here: &Path, path: &Path) -> Outcome<PathBuf> {
    let (project, shown) = (copy.of(), shown(path));
    let below = |path: &Path| path.strip_prefix(project).map(Path::to_owned).ok();
    let outside = || {
        Failure::new(Kind::Usage, format!("{shown} is not in the project {}", self::shown(project))).help(
            "a path is relative to the current folder, and outside of the project to the project's folder",
        )
    };
    // A link of that name may lead elsewhere, so only what is above it is followed.
    let followed = || Some(walk(path.parent()?).ok()?.real.join(path.file_name()?));
    let start = if path.is_absolute() {
        below(path).or_else(|| below(&followed()?)).ok_or_else(outside)?
    } else {
        below(here).unwrap_or_default().join(path)
    };
    let mut wanted = PathBuf::new();
    for part in start.components() {
        match part {
            Component::Normal(name) => wanted.push(name),
            Component::ParentDir if !wanted.pop() => return Err(outside()),
            _ => {}
        }
    }
    if copy.knows(&wanted)? {
        return Ok(wanted);
    }
    Err(Failure::new(
        Kind::Usage,
        format!("there is no {shown}, neither in the project nor in the guest's copy"),
    )
    .help("`bottle diff --names` lists what the guest changed"))
}
