//! Who wrote a configuration.

use super::{operator_in, operator_within, runs_a_program};
use crate::ways_back::field::{Field, Verdict};
use crate::ways_back::{Attack, Needs};
use anyhow::{Context, Result, ensure};
use bottle_host::defence::Defence;

pub fn attacks() -> Vec<Attack> {
    let attack = |name, run| Attack::new(name, Defence::ConfigProvenance, run);
    vec![
        attack("config-says-it-is-safe", says_it_is_safe),
        attack("config-nearer-file", nearer_file),
        attack("config-left-by-removed-bottle", left_behind),
        attack("config-moved-with-its-folder", moved_with_its_folder),
        attack("config-names-another-bottle", names_another_bottle),
        attack("config-deleted", deleted),
        attack("config-entered-through-a-link", entered_through_a_link),
        attack("config-through-apply", through_apply),
        attack("config-changed-after-it-was-shown", changed_after_it_was_shown),
        attack("config-is-a-pipe", is_a_pipe),
        Attack {
            defence: Defence::BoundedReads,
            needs: Needs::Long,
            ..attack("config-without-end", without_end)
        },
    ]
}

/// The file that the guest writes says that the guest cannot write it.
fn says_it_is_safe(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.into_guest("/workspace/bottle.toml", runs_a_program(field, "t").as_bytes())?;
    field.operator(&["restart"])?;
    Ok(Verdict::Held)
}

/// A file of the guest's in a subfolder is nearer than the operator's.
fn nearer_file(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.into_guest("/workspace/folder/bottle.toml", runs_a_program(field, "t").as_bytes())?;
    operator_in(field, &field.path("project/folder"), &["restart"])?;
    Ok(Verdict::Held)
}

/// The bottle is gone when its guest's file is found.
fn left_behind(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.into_guest("/workspace/folder/bottle.toml", runs_a_program(field, "later").as_bytes())?;
    field.operator(&["rm", "--force", "t"])?;
    operator_in(field, &field.path("project/folder"), &["run", "--", "true"])?;
    Ok(Verdict::Held)
}

/// The operator calls the project something else afterwards.
fn moved_with_its_folder(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.into_guest("/workspace/bottle.toml", runs_a_program(field, "t").as_bytes())?;
    field.operator(&["rm", "--force", "t"])?;
    let elsewhere = field.path("renamed");
    std::fs::rename(field.path("project"), &elsewhere)?;
    operator_in(field, &elsewhere, &["run", "--", "true"])?;
    std::fs::rename(&elsewhere, field.path("project"))?;
    Ok(Verdict::Held)
}

/// `rm` without a name removes the bottle that the file names.
fn names_another_bottle(field: &mut Field) -> Result<Verdict> {
    let other = field.put("other/bottle.toml", "slug = \"other\"\n[workspace]\nmode = \"none\"\n")?;
    let other = other.to_str().context("a path")?.to_owned();
    field.up("")?;
    ensure!(field.operator(&["-c", &other, "up"])?.is_well(), "the other bottle does not start");
    field.into_guest("/workspace/bottle.toml", b"slug = \"other\"\n")?;
    field.operator(&["rm", "--force"])?;
    let gone = !field.path("state/other/plan.json").exists();
    field.operator(&["rm", "--force", "other"])?;
    Ok(Verdict::succeeded_if(gone, "another bottle was removed"))
}

/// Without the project's file, one of a folder above applies: another bottle's.
fn deleted(field: &mut Field) -> Result<Verdict> {
    let above = field.put("bottle.toml", "slug = \"above\"\n[workspace]\nmode = \"none\"\n")?;
    let above = above.to_str().context("a path")?.to_owned();
    field.up("")?;
    ensure!(field.operator(&["-c", &above, "up"])?.is_well(), "the other bottle does not start");
    field.guest("rm /workspace/bottle.toml")?;
    field.operator(&["rm", "--force"])?;
    let gone = !field.path("state/above/plan.json").exists();
    field.operator(&["rm", "--force", "above"])?;
    Ok(Verdict::succeeded_if(gone, "another bottle was removed"))
}

/// The operator's shell says `folder`; the guest has made a link to another project of it.
fn entered_through_a_link(field: &mut Field) -> Result<Verdict> {
    field.put("other/bottle.toml", "slug = \"other\"\n[workspace]\nmode = \"none\"\n")?;
    let other = field.path("other");
    field.up("")?;
    ensure!(operator_in(field, &other, &["up"])?.is_well(), "the other bottle does not start");
    field.guest(&format!("cd /workspace; mv folder moved; ln -s {} folder", other.display()))?;
    let mut command = field.command(&["rm", "--force"]);
    let folder = field.path("project/folder");
    command.current_dir(&folder).env("PWD", &folder);
    field.run(command)?;
    let gone = !field.path("state/other/plan.json").exists();
    field.operator(&["rm", "--force", "other"])?;
    Ok(Verdict::succeeded_if(gone, "another bottle was removed"))
}

/// The file is one change among others that the operator takes back.
fn through_apply(field: &mut Field) -> Result<Verdict> {
    field.up("[workspace]\nmode = \"copy\"\n")?;
    let config = runs_a_program(field, "t").replace("\"none\"", "\"copy\"");
    field.into_guest("/workspace/bottle.toml", config.as_bytes())?;
    field.operator(&["apply", "--yes"])?;
    field.operator(&["restart"])?;
    Ok(Verdict::Held)
}

/// The operator accepts what they saw; the guest has written something else meanwhile.
fn changed_after_it_was_shown(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.into_guest("/workspace/bottle.toml", b"slug = \"t\"\n[guest]\ncpus = 2\n")?;
    let shown = field.operator(&["restart"])?.text();
    let seen = shown.split("--trust=").nth(1).and_then(|rest| rest.split('`').next());
    let option = format!("--trust={}", seen.context("no digest is shown")?);
    let config = runs_a_program(field, "t").replace("\"none\"", "\"read-write\"");
    field.into_guest("/workspace/bottle.toml", config.as_bytes())?;
    field.operator(&["restart", &option])?;
    Ok(Verdict::Held)
}

/// Opening it waits for a writer who never comes.
fn is_a_pipe(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest("rm /workspace/bottle.toml; mkfifo /workspace/bottle.toml")?;
    let ended = operator_within(field, 8, &["-c", "bottle.toml", "plan"])?;
    let hung = ended.status.is_none_or(|status| status.code() == Some(124));
    Ok(Verdict::succeeded_if(hung, "a command hangs"))
}

/// Nothing but comments stands in the file, and a lot of them.
fn without_end(field: &mut Field) -> Result<Verdict> {
    const MANY: u64 = 20 * 1024 * 1024;
    field.up("")?;
    let before = field.memory();
    field.guest("yes '# a line of a comment, which nobody needs' | head -c 24M > /workspace/bottle.toml")?;
    let ended = field.operator(&["plan"])?;
    let more = ended.peak.saturating_sub(before);
    Ok(Verdict::succeeded_if(more > MANY, format!("a command took {more} bytes of memory")))
}
