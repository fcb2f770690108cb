//! One bottle, one owner: a name means the bottle of the project that used it first.

use crate::config::found::shown;
use anyhow::Context;
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home, Relation};
use bottle_host::workspace;
use std::path::Path;

/// Lets a command go on if the bottle belongs to the project, or if a person says that it still does.
///
/// # Errors
/// Returns [`Kind::Busy`] if it belongs to another project, with the two ways out.
pub fn check(home: &Home, folder: &Folder, project: &Path, confirmed: &dyn Fn(&str) -> bool) -> Outcome {
    let (slug, here) = (folder.slug(), shown(project));
    let changed = match folder.relation_to(project)? {
        Relation::Owner => return Ok(()),
        // A run that has ended leaves nothing but its log.
        Relation::Moved(_) | Relation::Replaced(_) if !folder.holds_work() => return Ok(()),
        Relation::Stranger(owner) => {
            let owner = Line(&owner.path).to_string();
            return Err(Failure::new(Kind::Busy, format!("bottle {slug} belongs to {owner}, not to {here}"))
                .help(format!(
                    "for that one: cd {owner}; for one of its own here: slug = \"{}\" in bottle.toml",
                    free(home, slug)
                )));
        }
        Relation::Moved(owner) => {
            format!("bottle {slug} was made for {}, which is now {here}", Line(&owner.path))
        }
        Relation::Replaced(_) => format!("bottle {slug} was made for another folder that was at {here}"),
    };
    if !confirmed(&format!("{changed}. Is it the same project?")) {
        return Err(Failure::new(Kind::Busy, changed)
            .help(format!("if it is the same project: `bottle up --moved {slug}`")));
    }
    // All lead to the project: the bottle's own record, that of the guest's copy, and that of an interrupted `apply`.
    workspace::follow(folder, &project.canonicalize().with_context(|| here.clone())?)?;
    folder.belong_to(project)?;
    Ok(workspace::recover(folder)?)
}

/// Returns the name for a bottle of this project: this one, or a similar one if another project has it.
pub fn own_name(home: &Home, slug: &Slug, project: &Path) -> Slug {
    match home.bottle(slug).relation_to(project) {
        Ok(Relation::Stranger(_)) => free(home, slug),
        _ => slug.clone(),
    }
}

/// Returns a name like this one that no bottle has.
pub fn free(home: &Home, slug: &Slug) -> Slug {
    let taken = |name: &Slug| home.bottle(name).exists();
    let numbered = (2..).filter_map(|number| {
        let number = format!("-{number}");
        let stem: String = slug.as_str().chars().take(Slug::MAX_LEN - number.len()).collect();
        format!("{stem}{number}").parse().ok()
    });
    std::iter::once(slug.clone())
        .chain(numbered.take(1000))
        .find(|name| !taken(name))
        .unwrap_or_else(|| slug.clone())
}
