//! Rules that are written into a project's `bottle.toml`.

use crate::config::edit;
use crate::config::found::{FILE, Found, shown};
use crate::trust::{self, Standing};
use anyhow::Context;
use bottle_core::egress::HostRule;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home, Relation};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Adds a host to `[egress] allow` in the `bottle.toml` of a bottle's project, and returns what was done. Only
/// the line that it belongs to changes.
///
/// # Errors
/// Returns an error if there is no such file, if a guest could write it, or if it has a form that cannot be
/// changed. It is unchanged then.
pub fn allow(home: &Home, folder: &Folder, rule: &HostRule) -> Outcome<String> {
    let by_hand = format!("add \"{rule}\" to `allow` in `[egress]` yourself");
    let fail = |what: String| Failure::new(Kind::Usage, what).help(by_hand.clone());
    let Some(owner) = folder.owner()? else {
        return Err(fail(format!("it is not known which project {} belongs to", folder.slug())));
    };
    let project = Path::new(&owner.path);
    let is_there = project.is_dir() && folder.relation_to(project)? == Relation::Owner;
    let path = project.join(FILE);
    if !is_there || !path.exists() {
        return Err(fail(format!("there is no {}", shown(&path))));
    }
    let search = Found::search(Some(&path), project)?;
    let found = search.found.ok_or_else(|| fail(format!("there is no {}", shown(&path))))?;
    if trust::standing(home, &found)? != Standing::Untouched || found.walk.real != found.path {
        return Err(fail(format!("a guest could write {}", shown(&found.path))));
    }
    let text = edit::allow(&found.text, rule)
        .ok_or_else(|| fail(format!("{} has a form that only a person can change", shown(&found.path))))?;
    if text != found.text {
        replace(&found.path, &text)?;
    }
    Ok(format!("{} allows {rule}", shown(&found.path)))
}

/// Replaces a file as a whole. Its permissions stay.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let what = || shown(path);
    let mode = fs::metadata(path).with_context(what)?.permissions();
    let mut draft = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path)).with_context(what)?;
    draft.write_all(text.as_bytes()).with_context(what)?;
    draft.as_file().set_permissions(mode).with_context(what)?;
    draft.persist(path).with_context(what)?;
    Ok(())
}
