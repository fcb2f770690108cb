//! Attacks through configuration that a guest wrote.

use super::operator::{operator_in, operator_within, runs_a_program};
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{Target, Verdict, WRITABLE};
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

/// The file that the guest writes says that the guest cannot write to it.
fn says_it_is_safe(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.into_guest("/workspace/bottle.toml", runs_a_program(target, "t").as_bytes())?;
    target.operator(&["restart"])?;
    Ok(Verdict::Held)
}

/// The guest's file in a subfolder is nearer than the operator's.
fn nearer_file(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.into_guest("/workspace/folder/bottle.toml", runs_a_program(target, "other").as_bytes())?;
    operator_in(target, &target.path("project/folder"), &["up"])?;
    Ok(Verdict::Held)
}

/// The bottle is gone by the time the guest's file is found.
fn left_behind(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.into_guest("/workspace/folder/bottle.toml", runs_a_program(target, "later").as_bytes())?;
    target.operator(&["rm", "--force", "t"])?;
    operator_in(target, &target.path("project/folder"), &["run", "--", "true"])?;
    Ok(Verdict::Held)
}

/// The operator renames the project afterwards.
fn moved_with_its_folder(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.into_guest("/workspace/bottle.toml", runs_a_program(target, "t").as_bytes())?;
    target.operator(&["rm", "--force", "t"])?;
    let elsewhere = target.path("renamed");
    std::fs::rename(target.path("project"), &elsewhere)?;
    operator_in(target, &elsewhere, &["run", "--", "true"])?;
    std::fs::rename(&elsewhere, target.path("project"))?;
    Ok(Verdict::Held)
}

/// `rm` without a name removes the bottle that the file names.
fn names_another_bottle(target: &mut Target) -> Result<Verdict> {
    let other = target.put("other/bottle.toml", "slug = \"other\"\n[workspace]\nmode = \"none\"\n")?;
    let other = other.to_str().context("a path")?.to_owned();
    target.up("")?;
    ensure!(target.operator(&["-c", &other, "up"])?.is_success(), "the other bottle does not start");
    target.into_guest("/workspace/bottle.toml", b"slug = \"other\"\n")?;
    target.operator(&["rm", "--force"])?;
    let gone = !target.path("state/other/plan.json").exists();
    target.operator(&["rm", "--force", "other"])?;
    Ok(Verdict::succeeded_if(gone, "another bottle was removed"))
}

/// Without the project's file, the file in a folder above applies, and it is another bottle's.
fn deleted(target: &mut Target) -> Result<Verdict> {
    let above = target.put("bottle.toml", "slug = \"above\"\n[workspace]\nmode = \"none\"\n")?;
    let above = above.to_str().context("a path")?.to_owned();
    target.up("")?;
    ensure!(target.operator(&["-c", &above, "up"])?.is_success(), "the other bottle does not start");
    target.guest("rm /workspace/bottle.toml")?;
    target.operator(&["rm", "--force"])?;
    let gone = !target.path("state/above/plan.json").exists();
    target.operator(&["rm", "--force", "above"])?;
    Ok(Verdict::succeeded_if(gone, "another bottle was removed"))
}

/// The operator's shell is in `folder`, which the guest has replaced with a link to another project.
fn entered_through_a_link(target: &mut Target) -> Result<Verdict> {
    target.put("other/bottle.toml", "slug = \"other\"\n[workspace]\nmode = \"none\"\n")?;
    let other = target.path("other");
    target.up("")?;
    ensure!(operator_in(target, &other, &["up"])?.is_success(), "the other bottle does not start");
    target.guest(&format!("cd /workspace; mv folder moved; ln -s {} folder", other.display()))?;
    let mut command = target.command(&["rm", "--force"]);
    let folder = target.path("project/folder");
    command.current_dir(&folder).env("PWD", &folder);
    target.run(command)?;
    let gone = !target.path("state/other/plan.json").exists();
    target.operator(&["rm", "--force", "other"])?;
    Ok(Verdict::succeeded_if(gone, "another bottle was removed"))
}

/// The file is one of several changes that the operator applies.
fn through_apply(target: &mut Target) -> Result<Verdict> {
    target.up("[workspace]\nmode = \"copy\"\n")?;
    let config = runs_a_program(target, "t").replace("\"none\"", "\"copy\"");
    target.into_guest("/workspace/bottle.toml", config.as_bytes())?;
    target.operator(&["apply", "--yes"])?;
    target.operator(&["restart"])?;
    Ok(Verdict::Held)
}

/// The operator accepts what they saw, but the guest has meanwhile written something else.
fn changed_after_it_was_shown(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.into_guest(
        "/workspace/bottle.toml",
        format!("slug = \"t\"\n{WRITABLE}[guest]\ncpus = 2\n").as_bytes(),
    )?;
    let shown = target.operator(&["restart"])?.text();
    let seen = shown.split("--trust=").nth(1).and_then(|rest| rest.split('`').next());
    let option = format!("--trust={}", seen.context("no digest is shown")?);
    let config = runs_a_program(target, "t").replace("\"none\"", "\"read-write\"");
    target.into_guest("/workspace/bottle.toml", config.as_bytes())?;
    target.operator(&["restart", &option])?;
    Ok(Verdict::Held)
}

/// Opening the file would wait for a writer that never comes.
fn is_a_pipe(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest("rm /workspace/bottle.toml; mkfifo /workspace/bottle.toml")?;
    let ended = operator_within(target, 8, &["-c", "bottle.toml", "plan"])?;
    let hung = ended.status.is_none_or(|status| status.code() == Some(124));
    Ok(Verdict::succeeded_if(hung, "a command hangs"))
}

/// The file contains nothing but a great many comments.
fn without_end(target: &mut Target) -> Result<Verdict> {
    const MANY: u64 = 20 * 1024 * 1024;
    target.up("")?;
    let before = target.memory();
    target.guest("yes '# a line of a comment, which nobody needs' | head -c 24M > /workspace/bottle.toml")?;
    let ended = target.operator(&["plan"])?;
    let more = ended.peak.saturating_sub(before);
    Ok(Verdict::succeeded_if(more > MANY, format!("a command took {more} bytes of memory")))
}
