//! Attacks on `bottle cp`: the helper in the guest is replaced by one that sends an archive of its own.

use super::apply::{PAIRS, swap};
use crate::ways_back::field::{Field, Verdict};
use crate::ways_back::{Attack, Needs};
use anyhow::{Result, bail};
use bottle_host::defence::Defence;
use std::fs;
use std::os::unix::fs::symlink;
use tar::{Builder, EntryType, Header};

/// Every attack of this file.
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

/// From now on the helper sends these bytes, and nothing else.
fn send(field: &Field, bytes: &[u8]) -> Result<()> {
    field.into_guest("/tmp/archive", bytes)?;
    field.replace_helper("exec cat /tmp/archive")
}

/// An archive: kind, name, and content or target, as no well-meaning program would write it.
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

/// One file is asked for; a hook and a configuration come.
fn hook(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.put("project/.git/hooks/pre-commit.sample", "")?;
    field.watch("project/.git");
    field.begin()?;
    field.guest("mkdir -p /tmp/a/.git/hooks; echo evil > /tmp/a/.git/hooks/post-checkout")?;
    field.replace_helper("exec tar -C /tmp/a -cf - .git/hooks/post-checkout")?;
    field.operator(&["cp", "t:/etc/hosts", "."])?;
    Ok(Verdict::Held)
}

/// One folder is asked for; a second one comes beside it, that of the operator's scripts.
fn neighbour(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.put("project/scripts/build.sh", "mine\n")?;
    field.watch("project/scripts");
    field.begin()?;
    use EntryType::{Directory, Regular};
    send(
        field,
        &archive(&[
            (Directory, "tree", ""),
            (Regular, "tree/file", "x"),
            (Regular, "scripts/build.sh", "evil\n"),
        ])?,
    )?;
    field.operator(&["cp", "t:/tmp/tree", "."])?;
    Ok(Verdict::Held)
}

/// A folder is asked for, over one that is there; it holds a `bottle.toml` that would start programs.
fn configuration(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    use EntryType::{Directory, Regular};
    let evil = "[supervise]\ncommand = [\"touch\", \"/tmp/x\"]\n";
    send(field, &archive(&[(Directory, "folder", ""), (Regular, "folder/bottle.toml", evil)])?)?;
    field.operator(&["cp", "t:/tmp/folder", "."])?;
    let there = field.path("project/folder/bottle.toml").exists();
    Ok(Verdict::succeeded_if(there, "a bottle.toml was put into the project"))
}

/// The folder of the workspace that the operator copies into is a link to their keys.
fn through_link(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest(&format!("ln -s {} /workspace/results", field.path("home/.ssh").display()))?;
    field.operator(&["cp", "t:/etc/hosts", "results/authorized_keys"])?;
    Ok(Verdict::Held)
}

/// The folder of the workspace that the operator copies from is a link to their keys.
fn out_through_link(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.guest(&format!("ln -s {} /workspace/data", field.path("home/.ssh").display()))?;
    field.operator(&["cp", "data/authorized_keys", "t:/tmp/keys"])?;
    let said = field.guest("cat /tmp/keys 2>&1 || true")?;
    Ok(Verdict::succeeded_if(said.contains("mine"), "the operator's keys are in the guest"))
}

/// A folder holds a link with a harmless name to the operator's keys: the next program that writes
/// to it, writes there.
fn link_out(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    use EntryType::{Directory, Symlink};
    let keys = field.path("home/.ssh/authorized_keys");
    send(
        field,
        &archive(&[
            (Directory, "tree", ""),
            (Symlink, "tree/notes.txt", &keys.display().to_string()),
            (Symlink, "tree/up", "deep/../../../../home"),
        ])?,
    )?;
    field.operator(&["cp", "t:/tmp/tree", "."])?;
    let leads = |name: &str| fs::symlink_metadata(field.path("project/tree").join(name)).is_ok();
    Ok(Verdict::succeeded_if(leads("notes.txt") || leads("up"), "a link that leads out was made"))
}

/// A folder holds a repository whose configuration runs a program as soon as git is asked anything in
/// it. Its name is one that only a Mac takes for `.git`; so is one that git takes for it everywhere.
fn repository(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    use EntryType::{Directory, Regular};
    let config = format!("[core]\n\tfsmonitor = touch {}\n", field.proof().display());
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
    send(field, &archive(&entries)?)?;
    field.operator(&["cp", "t:/tmp/tree", "."])?;
    git_status(field, "project/tree")?;
    let there = field.path("project/tree/sub/.g\u{200c}it").exists();
    Ok(Verdict::succeeded_if(there, "a repository by another spelling was made"))
}

/// What the operator has looks like half a bare repository; the other half comes.
fn bare(field: &mut Field) -> Result<Verdict> {
    field.put("project/data/objects/one", "x")?;
    field.put("project/data/refs/one", "x")?;
    field.up("")?;
    use EntryType::{Directory, Regular};
    let config = format!(
        "[core]\n\tbare = false\n\tworktree = .\n\trepositoryformatversion = 0\n\tfsmonitor = touch {}\n",
        field.proof().display()
    );
    let entries = [
        (Directory, "data", ""),
        (Regular, "data/HEAD", "ref: refs/heads/main\n"),
        (Regular, "data/config", &config),
    ];
    send(field, &archive(&entries)?)?;
    field.operator(&["cp", "t:/tmp/data", "."])?;
    git_status(field, "project/data")?;
    Ok(Verdict::Held)
}

/// The operator enters a folder, and their shell's prompt asks git for the state of it.
pub(super) fn git_status(field: &Field, folder: &str) -> Result<()> {
    let mut git = std::process::Command::new("git");
    git.arg("status").current_dir(field.path(folder)).env("HOME", field.path("home"));
    git.env("GIT_CONFIG_NOSYSTEM", "1");
    field.run(git).map(drop)
}

/// A name that takes as much memory as the guest likes.
fn endless_name(field: &mut Field) -> Result<Verdict> {
    const MIB: u64 = 400;
    field.up("")?;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(MIB << 20);
    header.set_cksum();
    field.into_guest("/tmp/header", header.as_bytes())?;
    field.replace_helper(&format!("cat /tmp/header; head -c {} /dev/zero", MIB << 20))?;
    let before = field.memory();
    let ended = field.operator(&["cp", "t:/tmp/tree", "."])?;
    let grown = ended.peak.saturating_sub(before) >> 20;
    Ok(Verdict::succeeded_if(grown > MIB / 2, format!("it took {grown} MiB of memory")))
}

/// A file that is said to have a terabyte, and comes until the disk is full. Here it ends earlier.
fn terabyte(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    let mut header = Header::new_gnu();
    header.set_size(1 << 40);
    header.set_path("tree")?;
    header.set_cksum();
    field.into_guest("/tmp/header", header.as_bytes())?;
    field.replace_helper("cat /tmp/header; head -c 200000000 /dev/zero && echo > /tmp/all-was-taken")?;
    field.operator(&["cp", "t:/tmp/tree", "."])?;
    let left: Vec<_> =
        fs::read_dir(field.path("project"))?.flatten().map(|entry| entry.file_name()).collect();
    if left.iter().any(|name| name == "tree" || name.to_string_lossy().starts_with(".bottle-cp")) {
        return Ok(Verdict::Succeeded("half a file was left".to_owned()));
    }
    let taken = field.guest("rm /tmp/all-was-taken").is_ok();
    Ok(Verdict::succeeded_if(taken, "all that came was written to the disk"))
}

/// The operator copies a folder into the guest, which changes places with a link to the operator's
/// keys all the time.
fn leak(field: &mut Field) -> Result<Verdict> {
    for at in 0..PAIRS {
        field.put(&format!("project/folder/sub{at}/authorized_keys"), "nothing\n")?;
        symlink(field.path("home/.ssh"), field.path(&format!("project/folder/link{at}")))?;
    }
    field.up("")?;
    swap(field, "folder", "sub", "link")?;
    for _ in 0..40 {
        field.operator(&["cp", "folder", "t:/tmp/got"])?;
        if field.guest("rm -rf /tmp/seen; mv /tmp/got /tmp/seen; grep -rq mine /tmp/seen").is_ok() {
            return Ok(Verdict::Succeeded("the operator's keys are in the guest".to_owned()));
        }
    }
    Ok(Verdict::Held)
}

/// The helper says nothing, forever.
fn silence(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.replace_helper("exec sleep 1000")?;
    let ended = field.operator(&["cp", "t:/etc/hosts", "."])?;
    Ok(Verdict::succeeded_if(ended.status.is_none(), "the operator's command hung"))
}
