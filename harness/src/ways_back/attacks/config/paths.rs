//! Attacks through what is at a host path that a configuration names.

use super::operator::operator_in;
use crate::ways_back::attack::Attack;
use crate::ways_back::target::{Target, Verdict};
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

/// Content that no guest may see.
const MINE: &str = "mine\n";

/// Starts the bottle, and returns false if it was refused.
fn starts(target: &mut Target, config: &str) -> Result<bool> {
    match target.up(config) {
        Ok(()) => Ok(true),
        Err(error) if error.to_string().contains("could put another in its place") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A folder of the workspace is also a volume, and the guest can give its name to something else.
fn volume_exchanged(target: &mut Target) -> Result<Verdict> {
    let config = "[[guest.volumes]]\nhost = \"folder\"\nguest = \"/data\"\n";
    if !starts(target, config)? {
        return Ok(Verdict::Held);
    }
    let outside = target.path("outside");
    target.guest(&format!("cd /workspace; mv folder moved; ln -s {} folder", outside.display()))?;
    target.operator(&["restart"])?;
    let seen = target.guest("cat /data/file || true")?;
    Ok(Verdict::succeeded_if(seen.contains(MINE), "the guest read a folder that nobody shared"))
}

/// The guest that made the link is gone, and the operator wrote the configuration.
fn link_left_behind(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let outside = target.path("outside");
    target.guest(&format!("ln -s {} /workspace/data", outside.display()))?;
    target.operator(&["rm", "--force", "t"])?;
    let config =
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n[[guest.volumes]]\nhost = \"data\"\nguest = \"/data\"\n";
    target.put("project/bottle.toml", config)?;
    let ended = target.operator(&["run", "--trust", "--", "cat", "/data/file"])?;
    Ok(Verdict::succeeded_if(ended.text().contains(MINE), "the guest read a folder that nobody shared"))
}

/// One bottle's guest can write to the folder that contains another bottle's volume.
fn of_another_bottle(target: &mut Target) -> Result<Verdict> {
    target.put("shared/inner/file", "shared\n")?;
    let config = "slug = \"other\"\n[workspace]\nmode = \"none\"\n[[guest.volumes]]\nhost = \"../shared/inner\"\nguest = \"/data\"\n";
    target.put("other/bottle.toml", config)?;
    let other = target.path("other");
    ensure!(operator_in(target, &other, &["up"])?.is_success(), "the other bottle does not start");
    let mut seen = String::new();
    if starts(target, "[[guest.volumes]]\nhost = \"../shared\"\nguest = \"/shared\"\nwritable = true\n")? {
        let outside = target.path("outside");
        target.guest(&format!("cd /shared; mv inner moved; ln -s {} inner", outside.display()))?;
        operator_in(target, &other, &["restart"])?;
        seen = operator_in(target, &other, &["exec", "--", "cat", "/data/file"])?.text();
    }
    operator_in(target, &other, &["rm", "--force", "other"])?;
    Ok(Verdict::succeeded_if(seen.contains(MINE), "a guest read a folder that nobody shared"))
}

/// A key's file is in the workspace, so any file of the host could be sent to an origin as a key.
fn key_file_exchanged(target: &mut Target) -> Result<Verdict> {
    target.put("project/key", "key\n")?;
    let config = "[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = { x-key = { from_file = \"key\" } }\n";
    if !starts(target, config)? {
        return Ok(Verdict::Held);
    }
    let secret = target.path("home/.ssh/authorized_keys");
    target.guest(&format!("cd /workspace; rm key; ln -s {} key", secret.display()))?;
    let ended = target.operator(&["restart"])?;
    Ok(Verdict::succeeded_if(ended.is_success(), "a file of the host was used as an upstream's key"))
}

/// The guest replaces the gate's repository with a link.
fn gate_repository_exchanged(target: &mut Target) -> Result<Verdict> {
    for name in ["project/repo", "private"] {
        let path = target.path(name);
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
    if !starts(target, "[[git-gate.repo]]\nname = \"repo\"\npath = \"repo\"\n")? {
        return Ok(Verdict::Held);
    }
    let private = target.path("private");
    target.guest(&format!("cd /workspace; mv repo moved; ln -s {} repo", private.display()))?;
    target.operator(&["rm", "--force", "t"])?;
    target.operator(&["up", "--trust"])?;
    let clone = "cd /tmp; git clone -q $BOTTLE_GIT_GATE/repo.git c >&2 || true; cat c/file || true";
    let seen = target.guest(clone).unwrap_or_default();
    Ok(Verdict::succeeded_if(seen.contains(MINE), "the guest cloned a repository that nobody shared"))
}

/// `init --force` overwrites the file that the guest's link leads to.
fn init_through_a_link(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let bashrc = target.path("home/.bashrc");
    let bashrc = bashrc.to_str().context("a path")?;
    target.guest(&format!("ln -sf {bashrc} /workspace/bottle.toml"))?;
    target.operator(&["init", "--force"])?;
    Ok(Verdict::Held)
}
