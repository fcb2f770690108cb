//! `bottle rename`: gives a stopped bottle another name.
//!
//! smolvm cannot rename a machine, and a machine knows its bottle's paths, so a new one is created at the next start.
//! Everything that is not on the machine's disk goes with the bottle: its copy of the project, pushes that wait,
//! rules and logs. The copy travels through the trash, so that a crash loses nothing: it is in its old place, in
//! the trash, or in its new place.

use super::context::Context;
use crate::lifecycle::second_name;
use crate::suggest::no_such;
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home, remove_file};
use bottle_host::tools;
use bottle_host::workspace::Copy;
use bottle_host::workspace::trash::Trash;
use std::fs;

pub fn rename(context: &Context, from: &Slug, to: &Slug, renew: bool) -> Outcome {
    let home = Home::find()?;
    let folder = context.folder(Some(from.clone()))?;
    let target = home.bottle(to);
    let smolvm = tools::smolvm()?;
    let machines = smolvm.machines()?;
    let machine = machines.iter().find(|machine| machine.bottle().as_ref() == Some(from));
    if machine.is_none() && !folder.exists() {
        return Err(no_such(from));
    }
    let _lock = second_name::lock(&folder, &target, &machines, machine, "rename")?;
    if let Some(machine) = machine.filter(|machine| machine.is_of(&folder.state_id()) != Some(false)) {
        if !renew {
            let what =
                format!("smolvm cannot rename a machine, so what is on the disk of {from} would be lost");
            return Err(Failure::new(Kind::Busy, what).help(format!(
                "`bottle fork {from} {to}` copies the disk, the copy of the project and the rules into a second bottle; `bottle rename --renew {from} {to}` gives the disk up, and the copy of the project, pushes, rules and logs stay"
            )));
        }
        smolvm.delete(&machine.name)?;
    }
    fail_point::reached(FailPoint::RenameMachine);
    carry(&home, &folder, &target)?;
    context.say(&format!("{from} is {to} now, and `bottle up {to}` creates its machine"));
    if let Some(owner) = target.owner()? {
        context.say(&format!("slug = \"{to}\" in the bottle.toml of {} names it there", Line(&owner.path)));
    }
    Ok(())
}

/// Carries over what is on disk.
fn carry(home: &Home, folder: &Folder, target: &Folder) -> Outcome {
    for made_with_the_machine in [folder.machine_smolfile(), folder.smolfile(), folder.set_up()] {
        remove_file(&made_with_the_machine)?;
    }
    folder.remove_runtime()?;
    let trash = Trash::of(home);
    let copy = match Copy::find(folder)? {
        Some(copy) => trash.take(folder, copy.of(), Copy::changed(folder).ok())?,
        None => None,
    };
    fail_point::reached(FailPoint::RenameCopy);
    // From here on it has the new name.
    fs::rename(folder.state(), target.state()).map_err(anyhow::Error::from)?;
    fail_point::reached(FailPoint::RenameState);
    trash.follow(folder.slug(), target.slug())?;
    fail_point::reached(FailPoint::RenameTrash);
    if let Some(copy) = copy {
        trash.restore(&copy, target)?;
    }
    let Ok(mut plan) = target.read_plan() else { return Ok(()) };
    plan.slug.clone_from(target.slug());
    plan.subnet = plan.stack.subnet(target.slug());
    let (was, is) = (folder.copy(), target.copy());
    for volume in &mut plan.guest.volumes {
        if volume.host.as_str() == was.to_string_lossy() {
            volume.host = is.to_string_lossy().parse().map_err(anyhow::Error::from)?;
        }
    }
    Ok(target.write_plan(&plan)?)
}
