//! Files on a stream, as a tar archive: `bottle cp`, on both ends.
//!
//! Whoever unpacks does not trust whoever packed: everything is written through a descriptor of
//! the target's folder that nothing leads out of, no link is followed, and only folders, files and
//! links are made.

use anyhow::{Context, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use tar::{Archive, Builder, EntryType};

/// Permission bits that travel: none that give a program somebody else's rights.
const MODE: u32 = 0o777;

/// `bottle-guest pack PATH`: an archive on standard output.
pub fn pack_main(words: Vec<OsString>) -> Result<ExitCode> {
    pack(&only(words)?, io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// `bottle-guest unpack PATH`: an archive on standard input.
pub fn unpack_main(words: Vec<OsString>) -> Result<ExitCode> {
    unpack(io::stdin().lock(), &only(words)?)?;
    Ok(ExitCode::SUCCESS)
}

fn only(words: Vec<OsString>) -> Result<PathBuf> {
    match <[OsString; 1]>::try_from(words) {
        Ok([path]) => Ok(path.into()),
        Err(_) => bail!("one path is wanted"),
    }
}

/// Packs a file, a link or a folder under its own name.
///
/// # Errors
/// Where it is not there or cannot be read.
pub fn pack(path: &Path, out: impl Write) -> Result<()> {
    let what = || path.display().to_string();
    let meta = fs::symlink_metadata(path).with_context(what)?;
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        // `.`, `..` and `/` have a name of their own only once they are resolved.
        None => fs::canonicalize(path)?.file_name().map_or_else(|| OsString::from("root"), OsStr::to_owned),
    };
    let mut archive = Builder::new(out);
    archive.follow_symlinks(false);
    if meta.is_dir() {
        archive.append_dir_all(&name, path).with_context(what)?;
    } else {
        archive.append_path_with_name(path, &name).with_context(what)?;
    }
    archive.into_inner().and_then(|mut out| out.flush()).with_context(what)
}

/// Unpacks an archive as `cp -r` would: into `target` where that is a folder, else as `target`.
///
/// # Errors
/// Where something cannot be written, or would be outside of the target.
pub fn unpack(from: impl Read, target: &Path) -> Result<()> {
    let what = || target.display().to_string();
    let (folder, rename) = if target.is_dir() {
        (target, None)
    } else {
        let above = target.parent().filter(|above| !above.as_os_str().is_empty());
        (above.unwrap_or(Path::new(".")), Some(target.file_name().with_context(what)?.to_owned()))
    };
    let dir =
        Dir::open_ambient_dir(folder, ambient_authority()).with_context(|| folder.display().to_string())?;
    let mut entries = 0_u64;
    for entry in Archive::new(from).entries()? {
        let mut entry = entry.context("what comes is no archive")?;
        let path = placed(&entry.path()?, rename.as_deref())?;
        put(&dir, &path, &mut entry).with_context(|| folder.join(&path).display().to_string())?;
        entries += 1;
    }
    if entries == 0 {
        bail!("nothing came");
    }
    Ok(())
}

/// Where an entry goes: a relative path without dots, its first part renamed if that is wanted.
fn placed(path: &Path, rename: Option<&OsStr>) -> Result<PathBuf> {
    let mut placed = PathBuf::new();
    for (at, part) in path.components().enumerate() {
        match (part, at, rename) {
            (Component::Normal(_), 0, Some(name)) => placed.push(name),
            (Component::Normal(name), ..) => placed.push(name),
            (Component::CurDir, ..) => {}
            _ => bail!("{} leads out of where it is unpacked", path.display()),
        }
    }
    if placed.as_os_str().is_empty() {
        bail!("an entry has no name");
    }
    Ok(placed)
}

fn put(dir: &Dir, path: &Path, entry: &mut tar::Entry<impl Read>) -> Result<()> {
    let mode = entry.header().mode().unwrap_or(0o644) & MODE;
    match entry.header().entry_type() {
        EntryType::Directory => {
            if !dir.is_dir(path) {
                dir.create_dir(path)?;
            }
        }
        EntryType::Regular | EntryType::Continuous => {
            clear(dir, path)?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(mode);
            io::copy(entry, &mut dir.open_with(path, &options)?)?;
        }
        EntryType::Symlink => {
            clear(dir, path)?;
            let link = entry.link_name()?.context("a link that points nowhere")?;
            dir.symlink_contents(link, path)?;
        }
        other => bail!("{other:?} is not copied"),
    }
    Ok(())
}

/// A file or a link of that name makes room; a folder does not.
fn clear(dir: &Dir, path: &Path) -> Result<()> {
    match dir.symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => bail!("is a folder"),
        Ok(_) => Ok(dir.remove_file(path)?),
        Err(_) => Ok(()),
    }
}
