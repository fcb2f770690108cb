//! A machine of the pool that has become a bottle's.

use super::furnish::{empty, pour, variables};
use anyhow::{Context, Result};
use bottle_core::helper::{HELPER, VARIABLES};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::text::MountPath;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::Outcome;
use bottle_host::peer::{Named, Process};
use bottle_host::pool::{Booted, Claim, Entry, Shape, has_warmer, longest};
use bottle_host::smolvm::{Smolvm, Terminal};
use bottle_host::state::{Folder, Home, remove_file};
use bottle_keeper::give_guest_socket;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A machine that is this run's. When this value is dropped, whoever keeps the pool removes the machine.
#[derive(Debug)]
pub struct Taken {
    claim: Claim,
    process: Process,
    copies: bool,
}

impl Taken {
    /// Takes the machine of this shape that has waited longest, if one waits. However many runs do this at once, each
    /// machine is taken once.
    pub fn find(home: &Home, shape: &Shape, slug: &Slug) -> Option<Self> {
        let mut waiting: Vec<_> =
            Entry::all(home).ok()?.into_iter().filter_map(|entry| fitting(entry, shape)).collect();
        waiting.sort_by_key(|(_, booted)| booted.started);
        let by = format!("`bottle run` of {slug} (process {})", std::process::id());
        for (entry, booted) in waiting {
            let Ok(Some(claim)) = entry.claim(&by) else { continue };
            fail_point::reached(FailPoint::PoolClaimed);
            // What is not used is removed, and not put back.
            if let Some(process) = booted.process()
                && is_untouched(&claim)
            {
                return Some(Self { claim, process, copies: shape.copies });
            }
        }
        None
    }

    /// Returns which processes are the machine's.
    pub fn machine(&self, smolvm: &Smolvm) -> Named {
        smolvm.machine_of(self.process.pid())
    }

    /// Gives the machine what the bottle's folders hold. From then on the folders that it shares are the bottle's.
    ///
    /// # Errors
    /// Returns an error if one of them cannot be filled.
    pub fn furnish(&self, folder: &Folder, plan: &Plan) -> Result<()> {
        let entry = self.claim.entry();
        if self.copies {
            // A draft without a record is incomplete, wherever this is killed, and nobody has worked in it.
            let (record, aside) = (folder.copy_record(), folder.copy_record().with_extension("aside"));
            let moved =
                |from: &Path, to: &Path| fs::rename(from, to).with_context(|| to.display().to_string());
            moved(&folder.copy(), &folder.copy_draft())?;
            moved(&record, &aside)?;
            pour(&folder.copy_draft(), &entry.copy())?;
            fail_point::reached(FailPoint::PoolPoured);
            moved(&aside, &record)?;
            folder.name_copy()?;
        }
        fail_point::reached(FailPoint::PoolCopy);
        let user = self.process.user().context("the machine's process has ended")?;
        let file = Path::new(VARIABLES).file_name().context("the variables' file")?;
        variables(&folder.helper_dir().join(file), plan, user)?;
        empty(&entry.helper_dir())?;
        pour(&folder.helper_dir(), &entry.helper_dir())?;
        fail_point::reached(FailPoint::PoolHelper);
        Ok(())
    }

    /// Lets the machine reach the bottle's keeper, which listens already.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be given to it.
    pub fn connect(&self, folder: &Folder) -> Result<()> {
        let socket = self.claim.entry().socket();
        remove_file(&socket)?;
        fs::hard_link(folder.guest_socket(), &socket).with_context(|| socket.display().to_string())?;
        give_guest_socket(folder, self.process.pid())?;
        fail_point::reached(FailPoint::PoolConnected);
        Ok(())
    }

    /// Returns the call that runs a command in the machine once the keeper has greeted its helper.
    pub fn call(&self, smolvm: &Smolvm, plan: &Plan, terminal: Terminal, command: &[String]) -> Command {
        let mut words = plan.link();
        words.extend(["--", HELPER, "exec", "--variables", VARIABLES, "--"].map(str::to_owned));
        words.extend_from_slice(command);
        let workdir = plan.guest.workdir.as_ref().map(MountPath::as_str);
        smolvm.exec_in(&self.claim.entry().machine_name(), terminal, workdir, &words)
    }

    /// Ends the machine. Nothing runs in it any more, and what its guest wrote to its copy of the project is there. Its
    /// disk is removed by whoever keeps the pool, or else now.
    ///
    /// # Errors
    /// Returns an error if the machine cannot be ended.
    pub fn end(self, home: &Home, smolvm: &Smolvm) -> Outcome {
        let has_ended = self.claim.kill();
        fail_point::reached(FailPoint::PoolEnded);
        if has_ended && has_warmer(home) { Ok(()) } else { self.claim.remove(smolvm) }
    }
}

/// Returns a machine that waits, if it is of this shape and not too old.
fn fitting(entry: Entry, shape: &Shape) -> Option<(Entry, Booted)> {
    let record = entry.read().ok()?;
    let booted = record.booted?;
    (record.shape == *shape && booted.age()? < longest()).then_some((entry, booted))
}

/// Returns whether nobody has written to the folder that becomes the copy of a project.
fn is_untouched(claim: &Claim) -> bool {
    fs::read_dir(claim.entry().copy()).is_ok_and(|mut entries| entries.next().is_none())
}
