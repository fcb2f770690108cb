//! What stands at a host path that a configuration names.

use super::operator_in;
use crate::ways_back::Attack;
use crate::ways_back::field::{Field, Verdict};
use anyhow::{Context, Result, ensure};
use bottle_host::defence::Defence;
use std::fs;
use std::process::Command;

pub fn attacks() -> Vec<Attack> {
    let attack = |name, run| Attack::new(name, Defence::PinnedPaths, run);
    vec![
        attack("volume-exchanged-for-a-link", volume_exchanged),
        attack("volume-through-a-link-left-behind", link_left_behind),
        attack("volume-of-another-bottle", of_another_bottle),
        attack("key-file-exchanged", key_file_exchanged),
        attack("gate-repository-exchanged", gate_repository_exchanged),
        attack("init-through-a-link", init_through_a_link),
    ]
}

/// What the operator wants to have no guest see.
const MINE: &str = "mine\n";

/// Starts the bottle, or says that it was not started.
fn starts(field: &mut Field, config: &str) -> Result<bool> {
    match field.up(config) {
        Ok(()) => Ok(true),
        Err(error) if error.to_string().contains("could put another in its place") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A folder of the workspace is a volume, too. Its name is the guest's to give to something else.
fn volume_exchanged(field: &mut Field) -> Result<Verdict> {
    let config = "[[guest.volumes]]\nhost = \"folder\"\nguest = \"/data\"\n";
    if !starts(field, config)? {
        return Ok(Verdict::Held);
    }
    let outside = field.path("outside");
    field.guest(&format!("cd /workspace; mv folder moved; ln -s {} folder", outside.display()))?;
    field.operator(&["restart"])?;
    let seen = field.guest("cat /data/file || true")?;
    Ok(Verdict::succeeded_if(seen.contains(MINE), "the guest reads a folder that nobody shared"))
}

/// The guest that made the link is gone, and the configuration is the operator's own.
fn link_left_behind(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    let outside = field.path("outside");
    field.guest(&format!("ln -s {} /workspace/data", outside.display()))?;
    field.operator(&["rm", "--force", "t"])?;
    let config =
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n[[guest.volumes]]\nhost = \"data\"\nguest = \"/data\"\n";
    field.put("project/bottle.toml", config)?;
    let ended = field.operator(&["run", "--trust", "--", "cat", "/data/file"])?;
    Ok(Verdict::succeeded_if(ended.text().contains(MINE), "the guest reads a folder that nobody shared"))
}

/// One bottle's guest writes the folder that another one's volume is in.
fn of_another_bottle(field: &mut Field) -> Result<Verdict> {
    field.put("shared/inner/file", "shared\n")?;
    let config = "slug = \"other\"\n[workspace]\nmode = \"none\"\n[[guest.volumes]]\nhost = \"../shared/inner\"\nguest = \"/data\"\n";
    field.put("other/bottle.toml", config)?;
    let other = field.path("other");
    ensure!(operator_in(field, &other, &["up"])?.is_well(), "the other bottle does not start");
    let mut seen = String::new();
    if starts(field, "[[guest.volumes]]\nhost = \"../shared\"\nguest = \"/shared\"\nwritable = true\n")? {
        let outside = field.path("outside");
        field.guest(&format!("cd /shared; mv inner moved; ln -s {} inner", outside.display()))?;
        operator_in(field, &other, &["restart"])?;
        seen = operator_in(field, &other, &["exec", "--", "cat", "/data/file"])?.text();
    }
    operator_in(field, &other, &["rm", "--force", "other"])?;
    Ok(Verdict::succeeded_if(seen.contains(MINE), "a guest reads a folder that nobody shared"))
}

/// A key's file is in the workspace: any file of the host's goes to an origin as a key.
fn key_file_exchanged(field: &mut Field) -> Result<Verdict> {
    field.put("project/key", "key\n")?;
    let config = "[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = { x-key = { from_file = \"key\" } }\n";
    if !starts(field, config)? {
        return Ok(Verdict::Held);
    }
    let secret = field.path("home/.ssh/authorized_keys");
    field.guest(&format!("cd /workspace; rm key; ln -s {} key", secret.display()))?;
    let ended = field.operator(&["restart"])?;
    Ok(Verdict::succeeded_if(ended.is_well(), "a file of the host's is an upstream's key"))
}

/// The gate reads a repository that the guest put a link in the place of.
fn gate_repository_exchanged(field: &mut Field) -> Result<Verdict> {
    for name in ["project/repo", "private"] {
        let path = field.path(name);
        fs::create_dir_all(&path)?;
        fs::write(path.join("file"), if name == "private" { MINE } else { "shared\n" })?;
        for words in [
            &["init", "-q", "-b", "main"][..],
            &["remote", "add", "origin", "https://git.example.com/x.git"],
            &["add", "file"],
            &["-c", "user.name=o", "-c", "user.email=o@example.com", "commit", "-q", "-m", "x"],
        ] {
            ensure!(Command::new("git").args(words).current_dir(&path).status()?.success(), "git {words:?}");
        }
    }
    if !starts(field, "[[git-gate.repo]]\nname = \"repo\"\npath = \"repo\"\n")? {
        return Ok(Verdict::Held);
    }
    let private = field.path("private");
    field.guest(&format!("cd /workspace; mv repo moved; ln -s {} repo", private.display()))?;
    field.operator(&["rm", "--force", "t"])?;
    field.operator(&["up", "--trust"])?;
    let clone = "cd /tmp; git clone -q $BOTTLE_GIT_GATE/repo.git c >&2 || true; cat c/file || true";
    let seen = field.guest(clone).unwrap_or_default();
    Ok(Verdict::succeeded_if(seen.contains(MINE), "the guest clones a repository that nobody shared"))
}

/// `init --force` writes over what a link of the guest's leads to.
fn init_through_a_link(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    let target = field.path("home/.bashrc");
    let target = target.to_str().context("a path")?;
    field.guest(&format!("ln -sf {target} /workspace/bottle.toml"))?;
    field.operator(&["init", "--force"])?;
    Ok(Verdict::Held)
}
