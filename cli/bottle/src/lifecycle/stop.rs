//! Ends a bottle: its machine first, then its keeper, then the files of a running bottle.

use crate::config::found::shown;
use bottle_host::control::{self, Request};
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::{Machine, Smolvm};
use bottle_host::state::{Folder, Home};
use bottle_host::workspace::trash::{Entry, Trash};
use bottle_host::workspace::{self, Copy, Unfinished};
use std::time::{Duration, Instant};

/// How long a keeper may take to end.
const END: Duration = Duration::from_secs(10);

/// Stops a bottle. Its disk, its copy of the project and its log stay.
///
/// # Errors
/// Returns an error that says what does not end.
pub fn stop(smolvm: &Smolvm, folder: &Folder, machine: &Machine) -> Outcome {
    if machine.is_running() {
        smolvm.stop(folder.slug())?;
        fail_point::reached(FailPoint::StopMachine);
    }
    end_keeper(folder)
}

/// Ends a bottle's keeper, if it has not ended with its machine.
///
/// # Errors
/// Returns [`Kind::Internal`] if it does not end within ten seconds.
pub fn end_keeper(folder: &Folder) -> Outcome {
    let end = Instant::now() + END;
    let _ = control::ask(folder, &Request::Stop);
    fail_point::reached(FailPoint::EndTold);
    while folder.has_keeper() {
        if Instant::now() > end {
            return Err(Failure::new(
                Kind::Internal,
                format!("the keeper of {} does not end", folder.slug()),
            )
            .help("`bottle cleanup` shows its process"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fail_point::reached(FailPoint::EndKeeper);
    folder.remove_runtime()?;
    Ok(())
}

/// Refuses to remove a bottle with what it takes to finish or undo an interrupted `apply`.
///
/// # Errors
/// [`Kind::Busy`] where one waits for its project.
pub fn nothing_is_unfinished(folder: &Folder) -> Outcome {
    let slug = folder.slug();
    let Some(Unfinished { project, journal }) = workspace::unfinished(folder)? else { return Ok(()) };
    let project = shown(&project);
    Err(Failure::new(
        Kind::Busy,
        format!("an interrupted `bottle apply {slug}` left {project} half changed, and that is not there now"),
    )
    .help(format!(
        "`bottle up --moved {slug}`, where the project is now, finishes or undoes it; if it is gone for good: `rm {}`",
        shown(&journal)
    )))
}

/// Removes a bottle with its disk, its copy of the project and its log. A copy in which the guest changed
/// something goes to the trash, and is returned.
///
/// # Errors
/// Returns an error that says what does not end, or cannot be removed.
pub fn remove(
    smolvm: &Smolvm,
    home: &Home,
    folder: &Folder,
    machine: Option<&Machine>,
) -> Outcome<Option<Entry>> {
    nothing_is_unfinished(folder)?;
    end_keeper(folder)?;
    if let Some(machine) = machine {
        smolvm.delete(&machine.name)?;
        fail_point::reached(FailPoint::RmMachine);
    }
    // The changes are counted again, because the guest may have worked until now. A copy that cannot be
    // compared is kept, too.
    let kept = match Copy::find(folder)? {
        Some(copy) => match Copy::changed(folder).ok() {
            Some(0) => None,
            changed => Trash::of(home).take(folder, copy.of(), changed)?,
        },
        None => None,
    };
    fail_point::reached(FailPoint::RmTrash);
    folder.remove()?;
    Ok(kept)
}
