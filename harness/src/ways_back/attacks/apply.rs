//! Attacks on `diff` and `apply`, and on all that reads, gives or removes a guest's copy of the project.

use super::copy::git_status;
use crate::ways_back::field::{Field, Verdict};
use crate::ways_back::{Attack, Needs};
use anyhow::{Context, Result, bail};
use bottle_host::defence::{Defence, WITHOUT};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::{Command, Stdio};

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("apply-through-the-project-s-link", Defence::Beneath, through_link),
        Attack::new("apply-through-a-link-made-since", Defence::Beneath, through_new_link),
        Attack::new("apply-git-by-another-spelling", Defence::GitNames, spelling),
        Attack::new("apply-bare-repository", Defence::GitNames, bare),
        Attack::new("apply-bare-repository-in-two-steps", Defence::GitNames, two_steps),
        Attack::new("apply-gitmodules-with-a-command", Defence::GitNames, gitmodules),
        Attack::new("apply-changed-since-the-diff", Defence::ShownIsApplied, since_diff),
        Attack::new("apply-changed-while-it-asks", Defence::ShownIsApplied, while_asked),
        Attack {
            needs: Needs::Long,
            ..Attack::new("copy-too-deep-to-remove", Defence::TreeLimits, too_deep)
        },
        Attack {
            needs: Needs::Long,
            ..Attack::new("copy-with-a-file-of-a-terabyte", Defence::TreeLimits, terabyte)
        },
        Attack { needs: Needs::Long, ..Attack::new("give-follows-a-swapped-folder", Defence::Beneath, give) },
    ]
}

const COPY: &str = "[workspace]\nmode = \"copy\"\n";

/// How many pairs of names change places.
pub(super) const PAIRS: usize = 16;

/// In the guest's workspace `one0` and `other0`, `one1` and `other1` and so on change places, as fast
/// as that goes, from now on.
pub(super) fn swap(field: &Field, folder: &str, one: &str, other: &str) -> Result<()> {
    // renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
    let number = if cfg!(target_arch = "x86_64") { 316 } else { 276 };
    let last = PAIRS - 1;
    let script = format!(
        "cd {folder}; perl -e 'my @a = map {{ \"{one}$_\" }} 0..{last}; my @b = map {{ \"{other}$_\" }} 0..{last}; while (1) {{ my $i = int(rand({PAIRS})); syscall({number}, -100, $a[$i], -100, $b[$i], 2) }}' > /dev/null 2>&1 < /dev/null & sleep 0.2; kill -0 $!"
    );
    field.guest(&script).map(drop)
}

/// The project has a link into `.git`. In the copy the guest puts a folder in its place, with a hook.
fn through_link(field: &mut Field) -> Result<Verdict> {
    field.put("project/.git/hooks/pre-commit.sample", "")?;
    symlink(".git/hooks", field.path("project/lib"))?;
    field.watch("project/.git");
    field.up(COPY)?;
    field
        .guest("rm lib; mkdir lib; printf '#!/bin/sh\\n' > lib/post-checkout; chmod 755 lib/post-checkout")?;
    field.operator(&["apply", "--yes"])?;
    Ok(Verdict::Held)
}

/// Since the bottle was started, the operator has moved a folder elsewhere and left a link to it.
fn through_new_link(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    field.guest("echo evil > folder/inner; echo evil > folder/new")?;
    fs::remove_dir_all(field.path("project/folder"))?;
    symlink(field.path("outside/folder"), field.path("project/folder"))?;
    field.operator(&["apply", "--yes", "--overwrite"])?;
    Ok(Verdict::Held)
}

/// Names that this file system takes for others than `.git`, and that of the operator's colleague
/// does not.
fn spelling(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    let names = ["git~1", ".git\u{200c}", ".GIT ", ".git::$INDEX_ALLOCATION", ".git.", "a\\.git\\hooks"];
    for name in names {
        field.guest(&format!("mkdir '{name}'; echo evil > '{name}/config'"))?;
    }
    field.operator(&["apply", "--yes", "--overwrite"])?;
    let there = names.iter().find(|name| field.path("project").join(name).exists());
    Ok(Verdict::succeeded_if(there.is_some(), format!("{there:?} was made")))
}

/// What makes a folder a repository whose configuration runs a program, in two parts.
fn parts(field: &Field) -> (String, String) {
    let config = format!(
        "[core]\\n\\tbare = false\\n\\tworktree = .\\n\\trepositoryformatversion = 0\\n\\tfsmonitor = touch {}\\n",
        field.proof().display()
    );
    let head =
        format!("mkdir -p notes; echo ref: refs/heads/main > notes/HEAD; printf '{config}' > notes/config");
    let rest = "mkdir -p notes/objects notes/refs; echo > notes/objects/x; echo > notes/refs/x".to_owned();
    (head, rest)
}

/// A folder without a `.git`, which git takes for a repository all the same.
fn bare(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    let (head, rest) = parts(field);
    field.guest(&format!("{head}; {rest}; echo > notes/readme"))?;
    field.operator(&["apply", "--yes"])?;
    fs::create_dir_all(field.path("project/notes"))?;
    git_status(field, "project/notes")?;
    Ok(Verdict::Held)
}

/// The same, a harmless part on each of two days.
fn two_steps(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    let (head, rest) = parts(field);
    field.guest(&head)?;
    let first = field.operator(&["apply", "--yes"])?;
    if !field.path("project/notes/HEAD").exists() {
        bail!("a file with the name HEAD alone is harmless, and was not taken: {}", first.text());
    }
    // The first part is gone from the copy: only the project still has it.
    field.guest(&format!("{rest}; rm notes/HEAD"))?;
    field.operator(&["apply", "--yes", "--", "notes/objects"])?;
    field.operator(&["apply", "--yes", "--", "notes/refs"])?;
    git_status(field, "project/notes")?;
    Ok(Verdict::Held)
}

/// A list of submodules that says what to run when they are updated.
fn gitmodules(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    field.guest("printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ../x\\n\\tupdate = !touch proof\\n' > .gitmodules")?;
    field.operator(&["apply", "--yes"])?;
    let there = field.path("project/.gitmodules").exists();
    Ok(Verdict::succeeded_if(there, "a .gitmodules with a command was taken"))
}

/// The operator looks at the difference and says yes to that; the guest has something else by then.
fn since_diff(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    field.guest("echo harmless > kept")?;
    let mut command = field.command(&["diff", "--json"]);
    command.stderr(Stdio::null());
    let shown: serde_json::Value = serde_json::from_slice(&field.run(command)?.said)?;
    let digest = shown["digest"].as_str().context("a digest")?.to_owned();
    field.guest("echo evil > kept")?;
    let refused = field.operator(&["apply", "--digest", &digest])?;
    if fs::read_to_string(field.path("project/kept"))? == "evil\n" {
        return Ok(Verdict::Succeeded("what was taken is not what was shown".to_owned()));
    }
    // What was shown can still be had.
    field.guest("echo harmless > kept")?;
    let taken = field.operator(&["apply", "--digest", &digest])?;
    if refused.is_well() || !taken.is_well() {
        bail!("{}{}", refused.text(), taken.text());
    }
    Ok(Verdict::Held)
}

/// The command shows the difference and asks; the guest changes the file before the operator answers.
fn while_asked(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    field.guest("echo harmless > kept")?;
    let words = field.command(&["apply"]);
    let line = format!("{} --quiet apply", words.get_program().display());
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).current_dir(field.path("project"));
    command.envs(words.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (mut typed, mut said) =
        (child.stdin.take().context("a terminal")?, child.stdout.take().context("it")?);
    let mut shown = Vec::new();
    while !shown.windows(5).any(|part| part == b"[y/N]") {
        let mut bytes = [0; 512];
        let len = said.read(&mut bytes)?;
        if len == 0 {
            bail!("it did not ask: {}", String::from_utf8_lossy(&shown));
        }
        shown.extend_from_slice(&bytes[..len]);
    }
    field.guest("echo evil > kept")?;
    typed.write_all(b"y\n")?;
    std::io::copy(&mut said, &mut std::io::sink())?;
    child.wait()?;
    match fs::read_to_string(field.path("project/kept"))?.as_str() {
        "evil\n" => Ok(Verdict::Succeeded("what was taken is not what was shown".to_owned())),
        "harmless\n" => Ok(Verdict::Held),
        other => bail!("nothing was taken: {other}"),
    }
}

/// A tree of many levels, which the usual way of removing one cannot hold open.
fn too_deep(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    field.guest("perl -e 'for (1..2500) { mkdir \"e\"; chdir \"e\" }'")?;
    let shown = field.operator(&["diff", "--names"])?;
    if shown.status.is_none() {
        return Ok(Verdict::Succeeded("`diff` hung".to_owned()));
    }
    // As many descriptors as a process usually may have.
    let rm = field.command(&["rm", "--force", "t"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1024; exec \"$0\" --quiet rm --force t"]).arg(rm.get_program());
    command.current_dir(field.path("project"));
    command.envs(rm.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = field.run(command)?;
    Ok(Verdict::succeeded_if(!ended.is_well(), "the copy cannot be removed"))
}

/// A file that has a terabyte and takes no place. The operator wants to see what changed.
fn terabyte(field: &mut Field) -> Result<Verdict> {
    field.up(COPY)?;
    field.guest("truncate -s 1T big; echo four >> kept")?;
    let ended = field.operator(&["diff"])?;
    if ended.status.is_some() && !ended.text().contains("+four") {
        bail!("what else changed was not shown: {}", ended.text());
    }
    Ok(Verdict::succeeded_if(ended.status.is_none(), "`diff` hung"))
}

/// While the copy is given to the machine's user, folders of it change places with links out.
///
/// The stand-in's machines run as the operator and are given nothing, so the keeper's own step is run
/// beside it, in a process of its own.
fn give(field: &mut Field) -> Result<Verdict> {
    const SOMEBODY: u32 = 4242;
    let theirs = field.put("outside/many/file", "mine\n")?;
    chown(&theirs, Some(SOMEBODY), Some(SOMEBODY))?;
    for at in 0..PAIRS {
        field.put(&format!("project/many{at}/file"), "theirs\n")?;
    }
    field.up(COPY)?;
    let copy = field.path("run/.copies/t");
    for at in 0..PAIRS {
        symlink(field.path("outside/many"), copy.join(format!("link{at}")))?;
    }
    swap(field, ".", "many", "link")?;
    for uid in 2_000_000..2_000_040_u32 {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("give").arg(&copy).arg(uid.to_string());
        if let Some(defence) = field.without() {
            command.env(WITHOUT, defence.name());
        }
        let ended = field.run(command)?;
        if fs::metadata(&copy)?.uid() != uid {
            bail!("nothing was given: {}", ended.text());
        }
        if fs::metadata(&theirs)?.uid() != SOMEBODY {
            return Ok(Verdict::Succeeded("a file outside of the copy was given away".to_owned()));
        }
    }
    Ok(Verdict::Held)
}
