//! Attacks on `diff` and `apply`, and on everything that reads, gives away or removes a guest's copy of the
//! project.

use super::copy::git_status;
use super::swap::{PAIRS, swap};
use crate::environment::answer;
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{Target, Verdict, copy_variables};
use anyhow::{Context, Result, bail};
use bottle_host::defence::{Defence, WITHOUT};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::{Command, Stdio};

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
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

/// Since the bottle started, the operator has moved a folder elsewhere and left a link to it.
fn through_new_link(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    target.guest("echo evil > folder/inner; echo evil > folder/new")?;
    fs::remove_dir_all(target.path("project/folder"))?;
    symlink(target.path("outside/folder"), target.path("project/folder"))?;
    target.operator(&["apply", "--yes", "--overwrite"])?;
    Ok(Verdict::Held)
}

/// Names that are not `.git` on this file system, but are on a colleague's.
fn spelling(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    let names = ["git~1", ".git\u{200c}", ".GIT ", ".git::$INDEX_ALLOCATION", ".git.", "a\\.git\\hooks"];
    for name in names {
        target.guest(&format!("mkdir '{name}'; echo evil > '{name}/config'"))?;
    }
    target.operator(&["apply", "--yes", "--overwrite"])?;
    let there = names.iter().find(|name| target.path("project").join(name).exists());
    Ok(Verdict::succeeded_if(there.is_some(), format!("{there:?} was made")))
}

/// Returns two scripts that together turn a folder into a repository whose configuration runs a program.
fn parts(target: &Target) -> (String, String) {
    let config = format!(
        "[core]\\n\\tbare = false\\n\\tworktree = .\\n\\trepositoryformatversion = 0\\n\\tfsmonitor = touch {}\\n",
        target.proof().display()
    );
    let head =
        format!("mkdir -p notes; echo ref: refs/heads/main > notes/HEAD; printf '{config}' > notes/config");
    let rest = "mkdir -p notes/objects notes/refs; echo > notes/objects/x; echo > notes/refs/x".to_owned();
    (head, rest)
}

/// A folder without a `.git` that git still takes for a repository.
fn bare(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    let (head, rest) = parts(target);
    target.guest(&format!("{head}; {rest}; echo > notes/readme"))?;
    target.operator(&["apply", "--yes"])?;
    fs::create_dir_all(target.path("project/notes"))?;
    git_status(target, "project/notes")?;
    Ok(Verdict::Held)
}

/// The same, in two parts that are harmless on their own.
fn two_steps(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    let (head, rest) = parts(target);
    target.guest(&head)?;
    let first = target.operator(&["apply", "--yes"])?;
    if !target.path("project/notes/HEAD").exists() {
        bail!("a file called HEAD is harmless by itself, but was not applied: {}", first.text());
    }
    // Remove the first part from the copy, so that only the project still has it.
    target.guest(&format!("{rest}; rm notes/HEAD"))?;
    target.operator(&["apply", "--yes", "--", "notes/objects"])?;
    target.operator(&["apply", "--yes", "--", "notes/refs"])?;
    git_status(target, "project/notes")?;
    Ok(Verdict::Held)
}

/// A `.gitmodules` with a command that git runs when it updates the submodule.
fn gitmodules(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    target.guest("printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ../x\\n\\tupdate = !touch proof\\n' > .gitmodules")?;
    target.operator(&["apply", "--yes"])?;
    let there = target.path("project/.gitmodules").exists();
    Ok(Verdict::succeeded_if(there, "a .gitmodules with a command was applied"))
}

/// The operator looks at the diff and accepts it, but by then the guest has changed the file.
fn since_diff(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    target.guest("echo harmless > kept")?;
    let mut command = target.command(&["diff", "--json"]);
    command.stderr(Stdio::null());
    let shown = answer(&target.run(command)?.output)?;
    let digest = shown["digest"].as_str().context("a digest")?.to_owned();
    target.guest("echo evil > kept")?;
    let refused = target.operator(&["apply", "--digest", &digest])?;
    if fs::read_to_string(target.path("project/kept"))? == "evil\n" {
        return Ok(Verdict::Succeeded("what was applied is not what was shown".to_owned()));
    }
    // What was shown can still be applied.
    target.guest("echo harmless > kept")?;
    let taken = target.operator(&["apply", "--digest", &digest])?;
    if refused.is_success() || !taken.is_success() {
        bail!("{}{}", refused.text(), taken.text());
    }
    Ok(Verdict::Held)
}

/// The command shows the diff and asks, and the guest changes the file before the operator answers.
fn while_asked(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    target.guest("echo harmless > kept")?;
    let words = target.command(&["apply"]);
    let line = format!("{} --quiet apply", words.get_program().display());
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).current_dir(target.path("project"));
    copy_variables(&words, &mut command);
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
    target.guest("echo evil > kept")?;
    typed.write_all(b"y\n")?;
    std::io::copy(&mut said, &mut std::io::sink())?;
    child.wait()?;
    match fs::read_to_string(target.path("project/kept"))?.as_str() {
        "evil\n" => Ok(Verdict::Succeeded("what was applied is not what was shown".to_owned())),
        "harmless\n" => Ok(Verdict::Held),
        other => bail!("nothing was applied: {other}"),
    }
}

/// A tree with more levels than the usual way of removing one can keep open.
fn too_deep(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    target.guest("perl -e 'for (1..2500) { mkdir \"e\"; chdir \"e\" }'")?;
    let shown = target.operator(&["diff", "--names"])?;
    if shown.status.is_none() {
        return Ok(Verdict::Succeeded("`diff` hung".to_owned()));
    }
    // The usual limit on open descriptors.
    let rm = target.command(&["rm", "--force", "t"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 1024; \"$0\" --quiet rm --force t && exec \"$0\" --quiet trash --now"])
        .arg(rm.get_program());
    command.current_dir(target.path("project"));
    copy_variables(&rm, &mut command);
    let ended = target.run(command)?;
    Ok(Verdict::succeeded_if(!ended.is_success(), "the copy cannot be removed"))
}

/// A sparse file of a terabyte. The operator wants to see what has changed.
fn terabyte(target: &mut Target) -> Result<Verdict> {
    target.up(COPY)?;
    target.guest("truncate -s 1T big; echo four >> kept")?;
    let ended = target.operator(&["diff"])?;
    if ended.status.is_some() && !ended.text().contains("+four") {
        bail!("the other change was not shown: {}", ended.text());
    }
    Ok(Verdict::succeeded_if(ended.status.is_none(), "`diff` hung"))
}

/// Folders of the copy are swapped with links that lead out, while the copy is given to the machine's user.
///
/// The stand-in's machines run as the operator and are given nothing, so the keeper's step is run on its own,
/// in a separate process.
fn give(target: &mut Target) -> Result<Verdict> {
    const SOMEBODY: u32 = 4242;
    let theirs = target.put("outside/many/file", "mine\n")?;
    chown(&theirs, Some(SOMEBODY), Some(SOMEBODY))?;
    for at in 0..PAIRS {
        target.put(&format!("project/many{at}/file"), "theirs\n")?;
    }
    target.up(COPY)?;
    let copy = target.path("run/.copies/t");
    for at in 0..PAIRS {
        symlink(target.path("outside/many"), copy.join(format!("link{at}")))?;
    }
    swap(target, ".", "many", "link")?;
    for uid in 2_000_000..2_000_040_u32 {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("give").arg(&copy).arg(uid.to_string());
        if let Some(defence) = target.without() {
            command.env(WITHOUT, defence.name());
        }
        let ended = target.run(command)?;
        if fs::metadata(&copy)?.uid() != uid {
            bail!("nothing was given: {}", ended.text());
        }
        if fs::metadata(&theirs)?.uid() != SOMEBODY {
            return Ok(Verdict::Succeeded("a file outside the copy was given away".to_owned()));
        }
    }
    Ok(Verdict::Held)
}
