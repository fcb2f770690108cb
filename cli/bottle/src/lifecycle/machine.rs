//! Carries a bottle's machine over from one start to the next.

use super::files;
use crate::resolve::Resolved;
use bottle_core::smolfile::Smolfile;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::{Machine, Smolvm};
use bottle_host::state::{Folder, remove_file, write_private};
use std::path::Path;

/// What becomes of a machine that is created again.
const RENEWED: &str = "creates it again; everything on its disk is lost";

/// Returns the Smolfile that the machine was created with, if that is known.
fn created_with(folder: &Folder) -> Option<Smolfile> {
    let text = std::fs::read_to_string(folder.machine_smolfile()).ok()?;
    Smolfile::parse(&text).ok()
}

/// Returns whether two Smolfiles name the same image. The file of one from a registry has its digest for a name, in
/// whichever cache folder.
fn is_same_image(one: &Smolfile, other: &Smolfile) -> bool {
    let name = |smolfile: &Smolfile| {
        let name = Path::new(smolfile.image.as_deref()?).file_name()?.to_str()?;
        let digest = name.strip_suffix(".tar")?;
        (digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digest.to_owned())
    };
    one.image == other.image || name(one).is_some_and(|digest| Some(digest) == name(other))
}

/// What a start does to the existing machine.
pub enum MachineChange {
    /// There is none: it is created.
    Create,
    /// It stays as it is.
    Keep(Machine),
    /// It takes over a Smolfile that differs from its own, and keeps its disk.
    Follow(Machine, Box<Smolfile>),
    /// It needs another image, so it is created again.
    Replace(Machine),
}

impl MachineChange {
    /// Compares the Smolfile that the machine was created with to the one that is wanted now.
    ///
    /// # Errors
    /// Returns [`Kind::Busy`] if another image is wanted and `renew` does not permit losing the disk.
    pub fn of(folder: &Folder, machine: Option<Machine>, resolved: &Resolved, renew: bool) -> Outcome<Self> {
        let Some(machine) = machine else { return Ok(Self::Create) };
        let (was, is) = (created_with(folder), files::smolfile(folder, resolved)?);
        match was {
            _ if renew => Ok(Self::Replace(machine)),
            Some(was) if was == is => Ok(Self::Keep(machine)),
            Some(was) if is_same_image(&was, &is) => Ok(Self::Follow(machine, Box::new(was))),
            was => {
                let why = if was.is_some() {
                    "has another image"
                } else {
                    "was created by another version or by hand"
                };
                Err(Failure::new(Kind::Busy, format!("the machine of {} {why}", folder.slug()))
                    .help(format!("`--renew` {RENEWED}")))
            }
        }
    }

    /// Returns what a person has to do before the bottle's machine can be used for this plan, if there is something.
    pub fn remedy(folder: &Folder, machine: Option<Machine>, resolved: &Resolved) -> Option<String> {
        let failure = Self::of(folder, machine, resolved, false)
            .err()
            .filter(|failure| failure.kind() == Kind::Busy)?;
        let slug = folder.slug();
        Some(format!("{}; `bottle up --renew {slug}` {RENEWED}", failure.what()))
    }

    /// Carries the change out. Afterwards the machine exists as wanted, and does not run.
    ///
    /// # Errors
    /// Returns an error if smolvm fails.
    pub fn apply(&self, smolvm: &Smolvm, folder: &Folder, progress: &dyn Fn(&str)) -> Outcome {
        let slug = folder.slug();
        let text = std::fs::read_to_string(folder.smolfile()).map_err(anyhow::Error::from)?;
        let remember = || write_private(&folder.machine_smolfile(), text.as_bytes());
        // This order is safe in a crash: a record without its machine does no harm, but a machine without its
        // record would cost its disk.
        let create = || -> Outcome {
            // Nothing is set up on a new disk.
            remove_file(&folder.set_up())?;
            remember()?;
            fail_point::reached(FailPoint::UpRemembered);
            smolvm.create(folder)
        };
        match self {
            Self::Keep(machine) if machine.is_running() => smolvm.stop(slug),
            Self::Keep(_) => Ok(()),
            Self::Create => create(),
            Self::Follow(machine, was) => {
                progress("its configuration has changed: changing its machine");
                if machine.is_running() {
                    smolvm.stop(slug)?;
                }
                // Here the order is reversed: to repeat a change is harmless.
                smolvm.update(slug, was, &Smolfile::parse(&text).map_err(anyhow::Error::from)?)?;
                fail_point::reached(FailPoint::UpFollowed);
                Ok(remember()?)
            }
            Self::Replace(machine) => {
                progress("creating its machine again");
                smolvm.delete(&machine.name)?;
                create()
            }
        }
    }
}
