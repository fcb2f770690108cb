//! What `rename` and `fork` check before a bottle's work gets another name.

use super::stop::nothing_is_unfinished;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::Machine;
use bottle_host::state::{Folder, Lock};

/// Locks a bottle for the command that is called `verb`. `machine` is the bottle's among all `machines`, if it has one.
///
/// # Errors
/// Returns [`Kind::Busy`] if the other name is taken, or if the bottle runs, is being changed, or has an unfinished `apply`.
pub fn lock(
    from: &Folder,
    to: &Folder,
    machines: &[Machine],
    machine: Option<&Machine>,
    verb: &str,
) -> Outcome<Lock> {
    let (slug, new) = (from.slug(), to.slug());
    if to.exists() || machines.iter().any(|machine| machine.name == new.machine_name()) {
        return Err(Failure::new(Kind::Busy, format!("there is a bottle {new} already"))
            .help(format!("`bottle ls --all` lists it; `bottle rm {new}` removes it")));
    }
    let lock = from.lock_operation(verb)?;
    if machine.is_some_and(Machine::is_running) || from.has_keeper() {
        return Err(Failure::new(Kind::Busy, format!("bottle {slug} is running"))
            .help(format!("`bottle stop {slug}` stops it")));
    }
    nothing_is_unfinished(from)?;
    Ok(lock)
}
