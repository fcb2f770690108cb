//! Attacks on `bottle cp`: the guest replaces its helper with one that sends its own archive.

use super::swap::{PAIRS, swap};
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{Target, Verdict};
use anyhow::{Result, bail};
use bottle_host::defence::Defence;
use std::fs;
use std::os::unix::fs::symlink;
use tar::{Builder, EntryType, Header};

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("cp-file-becomes-hook", Defence::CopyNames, hook),
        Attack::new("cp-folder-brings-its-neighbour", Defence::CopyNames, neighbour),
        Attack::new("cp-folder-brings-a-configuration", Defence::CopyNames, configuration),
        Attack::new("cp-link-leads-out", Defence::CopyKinds, link_out),
        Attack::new("cp-through-a-guests-link", Defence::ConfigProvenance, through_link),
        Attack::new("cp-out-through-a-guests-link", Defence::ConfigProvenance, out_through_link),
        Attack::new("cp-repository-in-a-folder", Defence::GitNames, repository),
        Attack::new("cp-completes-a-bare-repository", Defence::GitNames, bare),
        Attack::new("cp-endless-name", Defence::TreeLimits, endless_name),
        Attack::new("cp-terabyte-claimed", Defence::TreeLimits, terabyte),
        Attack {
            needs: Needs::Long,
            ..Attack::new("cp-in-follows-a-swapped-folder", Defence::Beneath, leak)
        },
        Attack { needs: Needs::Long, ..Attack::new("cp-silent-helper", Defence::TreeLimits, silence) },
    ]
}

/// Replaces the helper with one that sends these bytes.
fn send(target: &Target, bytes: &[u8]) -> Result<()> {
    target.into_guest("/tmp/archive", bytes)?;
    target.replace_helper("exec cat /tmp/archive")
}

/// Builds an archive from entries with a kind, a name, and content or a link's target, without the checks
/// that an honest program would make.
fn archive(entries: &[(EntryType, &str, &str)]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, what) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let content = if *kind == EntryType::Symlink {
            header.set_link_name_literal(what)?;
            &b""[..]
        } else {
            what.as_bytes()
        };
        header.set_size(content.len() as u64);
        let Some(gnu) = header.as_gnu_mut() else { bail!("a header of another kind") };
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content)?;
    }
    Ok(builder.into_inner()?)
}

/// The operator asks for one file, and the guest sends a hook instead.
fn hook(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.put("project/.git/hooks/pre-commit.sample", "")?;
    target.watch("project/.git");
    target.begin()?;
    target.guest("mkdir -p /tmp/a/.git/hooks; echo evil > /tmp/a/.git/hooks/post-checkout")?;
    target.replace_helper("exec tar -C /tmp/a -cf - .git/hooks/post-checkout")?;
    target.operator(&["cp", "t:/etc/hosts", "."])?;
    Ok(Verdict::Held)
}

/// The operator asks for one folder, and the guest also sends the operator's scripts beside it.
fn neighbour(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.put("project/scripts/build.sh", "mine\n")?;
    target.watch("project/scripts");
    target.begin()?;
    use EntryType::{Directory, Regular};
    send(
        target,
        &archive(&[
            (Directory, "tree", ""),
            (Regular, "tree/file", "x"),
            (Regular, "scripts/build.sh", "evil\n"),
        ])?,
    )?;
    target.operator(&["cp", "t:/tmp/tree", "."])?;
    Ok(Verdict::Held)
}

/// The operator copies over an existing folder, and the new one contains a `bottle.toml` that would start
/// programs.
fn configuration(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    use EntryType::{Directory, Regular};
    let evil = "[supervise]\ncommand = [\"touch\", \"/tmp/x\"]\n";
    send(target, &archive(&[(Directory, "folder", ""), (Regular, "folder/bottle.toml", evil)])?)?;
    target.operator(&["cp", "t:/tmp/folder", "."])?;
    let there = target.path("project/folder/bottle.toml").exists();
    Ok(Verdict::succeeded_if(there, "a bottle.toml was put into the project"))
}

/// The workspace folder that the operator copies into is a link to their keys.
fn through_link(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest(&format!("ln -s {} /workspace/results", target.path("home/.ssh").display()))?;
    target.operator(&["cp", "t:/etc/hosts", "results/authorized_keys"])?;
    Ok(Verdict::Held)
}

/// The workspace folder that the operator copies from is a link to their keys.
fn out_through_link(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.guest(&format!("ln -s {} /workspace/data", target.path("home/.ssh").display()))?;
    target.operator(&["cp", "data/authorized_keys", "t:/tmp/keys"])?;
    let said = target.guest("cat /tmp/keys 2>&1 || true")?;
    Ok(Verdict::succeeded_if(said.contains("mine"), "the operator's keys are in the guest"))
}

/// A folder contains a link with a harmless name that leads to the operator's keys. The next program that
/// writes to it writes there.
fn link_out(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    use EntryType::{Directory, Symlink};
    let keys = target.path("home/.ssh/authorized_keys");
    send(
        target,
        &archive(&[
            (Directory, "tree", ""),
            (Symlink, "tree/notes.txt", &keys.display().to_string()),
            (Symlink, "tree/up", "deep/../../../../home"),
        ])?,
    )?;
    target.operator(&["cp", "t:/tmp/tree", "."])?;
    let leads = |name: &str| fs::symlink_metadata(target.path("project/tree").join(name)).is_ok();
    Ok(Verdict::succeeded_if(leads("notes.txt") || leads("up"), "a link that leads out was made"))
}

/// A folder contains repositories whose configuration runs a program whenever git is used there: one in
/// `.git`, and one under a name that only a Mac takes for `.git`.
fn repository(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    use EntryType::{Directory, Regular};
    let config = format!("[core]\n\tfsmonitor = touch {}\n", target.proof().display());
    let mut entries = vec![(Directory, "tree", "")];
    for name in ["tree/.git/config", "tree/sub/.g\u{200c}it/config"] {
        entries.push((Regular, name, config.as_str()));
    }
    entries.extend([
        (Regular, "tree/.git/HEAD", "ref: refs/heads/main\n"),
        (Directory, "tree/.git/objects", ""),
        (Directory, "tree/.git/refs", ""),
        (Regular, "tree/file", "x"),
    ]);
    send(target, &archive(&entries)?)?;
    target.operator(&["cp", "t:/tmp/tree", "."])?;
    git_status(target, "project/tree")?;
    let there = target.path("project/tree/sub/.g\u{200c}it").exists();
    Ok(Verdict::succeeded_if(there, "a repository by another spelling was made"))
}

/// The operator's folder looks like half a bare repository, and the guest sends the other half.
fn bare(target: &mut Target) -> Result<Verdict> {
    target.put("project/data/objects/one", "x")?;
    target.put("project/data/refs/one", "x")?;
    target.up("")?;
    use EntryType::{Directory, Regular};
    let config = format!(
        "[core]\n\tbare = false\n\tworktree = .\n\trepositoryformatversion = 0\n\tfsmonitor = touch {}\n",
        target.proof().display()
    );
    let entries = [
        (Directory, "data", ""),
        (Regular, "data/HEAD", "ref: refs/heads/main\n"),
        (Regular, "data/config", &config),
    ];
    send(target, &archive(&entries)?)?;
    target.operator(&["cp", "t:/tmp/data", "."])?;
    git_status(target, "project/data")?;
    Ok(Verdict::Held)
}

/// Runs `git status` in a folder, as the prompt of an operator's shell does.
pub(super) fn git_status(target: &Target, folder: &str) -> Result<()> {
    let mut git = std::process::Command::new("git");
    git.arg("status").current_dir(target.path(folder)).env("HOME", target.path("home"));
    git.env("GIT_CONFIG_NOSYSTEM", "1");
    target.run(git).map(drop)
}

/// A file name that takes as much memory as the guest likes.
fn endless_name(target: &mut Target) -> Result<Verdict> {
    const MIB: u64 = 400;
    target.up("")?;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(MIB << 20);
    header.set_cksum();
    target.into_guest("/tmp/header", header.as_bytes())?;
    target.replace_helper(&format!("cat /tmp/header; head -c {} /dev/zero", MIB << 20))?;
    let before = target.memory();
    let ended = target.operator(&["cp", "t:/tmp/tree", "."])?;
    let grown = ended.peak.saturating_sub(before) >> 20;
    Ok(Verdict::succeeded_if(grown > MIB / 2, format!("it took {grown} MiB of memory")))
}

/// A file that claims to be a terabyte, and would continue until the disk is full. Here it ends earlier.
fn terabyte(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let mut header = Header::new_gnu();
    header.set_size(1 << 40);
    header.set_path("tree")?;
    header.set_cksum();
    target.into_guest("/tmp/header", header.as_bytes())?;
    target.replace_helper("cat /tmp/header; head -c 200000000 /dev/zero && echo > /tmp/all-was-taken")?;
    target.operator(&["cp", "t:/tmp/tree", "."])?;
    let left: Vec<_> =
        fs::read_dir(target.path("project"))?.flatten().map(|entry| entry.file_name()).collect();
    if left.iter().any(|name| name == "tree" || name.to_string_lossy().starts_with(".bottle-cp")) {
        return Ok(Verdict::Succeeded("half a file was left".to_owned()));
    }
    let taken = target.guest("rm /tmp/all-was-taken").is_ok();
    Ok(Verdict::succeeded_if(taken, "everything that came was written to the disk"))
}

/// The operator copies a folder into the guest while its subfolders are swapped with links to the
/// operator's keys.
fn leak(target: &mut Target) -> Result<Verdict> {
    for at in 0..PAIRS {
        target.put(&format!("project/folder/sub{at}/authorized_keys"), "nothing\n")?;
        symlink(target.path("home/.ssh"), target.path(format!("project/folder/link{at}")))?;
    }
    target.up("")?;
    swap(target, "folder", "sub", "link")?;
    for _ in 0..40 {
        target.operator(&["cp", "folder", "t:/tmp/got"])?;
        if target.guest("rm -rf /tmp/seen; mv /tmp/got /tmp/seen; grep -rq mine /tmp/seen").is_ok() {
            return Ok(Verdict::Succeeded("the operator's keys are in the guest".to_owned()));
        }
    }
    Ok(Verdict::Held)
}

/// The helper never says anything.
fn silence(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper("exec sleep 1000")?;
    let ended = target.operator(&["cp", "t:/etc/hosts", "."])?;
    Ok(Verdict::succeeded_if(ended.status.is_none(), "the operator's command hung"))
}
