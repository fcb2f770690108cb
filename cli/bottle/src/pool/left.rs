//! Machines of the pool that nobody keeps any more, because a process was killed.

use super::shown::{Waits, machines, slug};
use bottle_core::slug::Slug;
use bottle_host::failure::Outcome;
use bottle_host::pool::Entry;
use bottle_host::smolvm::{self, pool_machine_name};
use bottle_host::state::Home;
use bottle_host::tools;

/// The beginning of the names of the pool's machines, as a person sees them.
const BEGINNING: &str = "pool-";

/// Lists them: those that are recorded, and those that only smolvm knows.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub fn all(home: &Home, known: &[smolvm::Machine]) -> Outcome<Vec<Slug>> {
    let recorded = machines(home)?;
    let only_known = known
        .iter()
        .filter_map(|machine| format!("{BEGINNING}{}", machine.pool_id()?).parse::<Slug>().ok())
        .filter(|slug| !recorded.iter().any(|machine| machine.slug == *slug));
    let left =
        recorded.iter().filter(|machine| machine.state == Waits::Left).map(|machine| machine.slug.clone());
    Ok(left.chain(only_known).collect())
}

/// Removes one of them. One that somebody keeps by now stays.
///
/// # Errors
/// Returns an error if smolvm does not delete it.
pub fn remove(home: &Home, named: &Slug) -> Outcome {
    let smolvm = tools::smolvm()?;
    let Some(entry) = Entry::all(home)?.into_iter().find(|entry| slug(entry).as_ref() == Some(named)) else {
        let id = named.as_str().strip_prefix(BEGINNING).unwrap_or_default();
        let name = pool_machine_name(id);
        return match smolvm.delete(&name) {
            Err(failure) if smolvm.machine_named(&name)?.is_some() => Err(failure),
            // Whoever was removing it has done so.
            _ => Ok(()),
        };
    };
    entry.claim_to_remove("`bottle cleanup`")?.map_or(Ok(()), |claim| claim.remove(&smolvm))
}
