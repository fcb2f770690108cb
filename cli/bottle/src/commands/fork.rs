//! `bottle fork`: gives a stopped bottle's work to a second bottle, which goes its own way from there.
//!
//! The new bottle's machine is created here and starts with a copy of the other's disks. Its copy of the project, the
//! record of that, and the rules come along. Pushes that wait, logs and keys stay with the bottle that they are of. A mark
//! says that the new bottle is not finished, until it is: `bottle up` refuses one that a crash left so.

use super::context::Context;
use crate::lifecycle::second_name;
use crate::suggest::no_such;
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::Smolvm;
use bottle_host::state::{Folder, Home, remove_file, write_private};
use bottle_host::tools;
use bottle_host::workspace::Copy;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

pub fn fork(context: &Context, from: &Slug, to: &Slug) -> Outcome {
    let home = Home::find()?;
    let folder = context.folder(Some(from.clone()))?;
    let target = home.bottle(to);
    let smolvm = tools::smolvm()?;
    let machines = smolvm.machines()?;
    let machine = machines.iter().find(|machine| machine.bottle().as_ref() == Some(from));
    let machine = machine.filter(|machine| machine.is_of(&folder.state_id()) != Some(false));
    if machine.is_none() || !folder.exists() {
        return Err(no_such(from));
    }
    let _lock = second_name::lock(&folder, &target, &machines, machine, "fork")?;
    let _target_lock = target.lock_operation("fork")?;
    let made = context
        .during(from, "copying its disk and its copy of the project", || make(&smolvm, &folder, &target));
    if let Err(failure) = made {
        let _ = smolvm.delete(&to.machine_name());
        target.remove()?;
        return Err(failure);
    }
    context.say(&format!("{to} has what {from} had; `bottle up {to}` starts it"));
    Ok(())
}

/// Makes the new bottle.
fn make(smolvm: &Smolvm, folder: &Folder, target: &Folder) -> Outcome {
    write_private(&target.unfinished(), b"")?;
    target.create()?;
    carry(folder, target, Folder::owner_record)?;
    carry(folder, target, Folder::rules)?;
    Copy::fork(folder, target)?;
    fail_point::reached(FailPoint::ForkCopied);
    let mut plan = folder.read_plan()?;
    let text = fs::read_to_string(folder.machine_smolfile()).map_err(anyhow::Error::from)?;
    let mut smolfile = Smolfile::parse(&text).map_err(anyhow::Error::from)?;
    // What is the bottle's own has another path now. Whatever else differs is changed when it starts.
    let paths = [(folder.copy(), target.copy()), (folder.helper_dir(), target.helper_dir())];
    let paths = paths.map(|(was, is)| (was.display().to_string(), is.display().to_string()));
    for volume in &mut smolfile.volumes {
        for (was, is) in &paths {
            if let Some(rest) = volume.strip_prefix(was).filter(|rest| rest.starts_with(':')) {
                *volume = format!("{is}{rest}");
            }
        }
    }
    let text = smolfile.render().map_err(anyhow::Error::from)?;
    write_private(&target.smolfile(), text.as_bytes())?;
    write_private(&target.machine_smolfile(), text.as_bytes())?;
    let disks = smolvm.copy_disks(folder.slug(), target, smolfile.image.is_some())?;
    smolvm.create(target)?;
    fail_point::reached(FailPoint::ForkMachine);
    disks.map_or(Ok(()), |disks| smolvm.give_disks(target.slug(), &disks))?;
    carry(folder, target, Folder::set_up)?;
    plan.slug.clone_from(target.slug());
    plan.subnet = plan.stack.subnet(target.slug());
    for volume in &mut plan.guest.volumes {
        if volume.host.as_str() == paths[0].0 {
            volume.host = paths[0].1.parse().map_err(anyhow::Error::from)?;
        }
    }
    target.write_plan(&plan)?;
    target.remove_runtime()?;
    fail_point::reached(FailPoint::ForkMarked);
    Ok(remove_file(&target.unfinished())?)
}

/// Copies a file of the bottle's state, if it is there.
fn carry(from: &Folder, to: &Folder, file: impl Fn(&Folder) -> PathBuf) -> Outcome {
    match fs::read(file(from)) {
        Ok(bytes) => Ok(write_private(&file(to), &bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

/// Says what takes the place of `bottle snapshot` and `bottle restore`.
///
/// # Errors
/// Always returns an error, which says it.
pub fn instead(verb: &str) -> Outcome {
    let what = format!(
        "there is no {verb}: smolvm saves no machine that has a mounted socket, as every bottle's has"
    );
    Err(Failure::new(Kind::Usage, what).help(
        "`bottle fork my-project before` keeps a stopped bottle as it is, in a second one; \
         `bottle rm my-project` and `bottle fork before my-project` go back to it",
    ))
}
