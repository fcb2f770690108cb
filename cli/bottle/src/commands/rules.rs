//! `bottle allow` and `bottle deny`: change rules while a bottle runs. The changes stay.

use super::context::Context;
use crate::desk::rules;
use crate::suggest;
use bottle_core::slug::Slug;
use bottle_host::failure::Outcome;
use bottle_host::out;
use bottle_host::state::Folder;

pub fn allow(context: &Context, slug: &Slug, host: &str) -> Outcome {
    let rule = rules::narrow(host)?;
    let folder = of(context, slug)?;
    let is_wide = rules::wide(&folder, &rule).is_some();
    let said = rules::allow(&folder, rule)?;
    if is_wide {
        out::note(said);
    } else {
        context.say(&said);
    }
    Ok(())
}

pub fn deny(context: &Context, slug: &Slug, host: &str) -> Outcome {
    let pattern = rules::parse(host)?.pattern;
    context.say(&rules::deny(&of(context, slug)?, pattern)?);
    Ok(())
}

fn of(context: &Context, slug: &Slug) -> Outcome<Folder> {
    let folder = context.folder(Some(slug.clone()))?;
    if folder.exists() {
        return Ok(folder);
    }
    Err(suggest::no_such_or(slug, "rules for a new bottle belong in its bottle.toml"))
}
