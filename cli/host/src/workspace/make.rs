//! Creates a copy, gives it away, and removes it.

use super::copy::{Copy, open};
use super::duplicate::{self, Duplicate, Omitted};
use super::exclude::{self, Exclude, Lists};
use super::record::Record;
use super::tree;
use crate::beneath::{self, Folder as Beneath};
use crate::fail_point::{self, FailPoint};
use crate::failure::{Failure, Kind, Outcome};
use crate::out;
use crate::state::{Folder, passable_dir};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::visible::{Bytes, Line};
use rustix::fs::{Gid, Uid};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

impl Copy {
    /// Copies a project, unless that was done before: a copy survives its bottle's restarts.
    ///
    /// # Errors
    /// Returns an error if something cannot be read or written, or if there is a copy of another project with
    /// work in it.
    pub fn make(folder: &Folder, of: &Path, exclude: &[String]) -> Result<Self> {
        if let Some(known) = Self::find(folder)? {
            if known.record.of == of {
                return Ok(known);
            }
            let (slug, other) = (folder.slug(), known.of().display());
            let changed = known.count();
            ensure!(
                matches!(changed, Ok(0)),
                "{slug} has a copy of {other} with changes in it; `bottle apply {slug}` applies them, `bottle rm {slug}` asks what to do with them"
            );
        }
        // What has no record is incomplete, and nobody has worked in it. What is complete has no work of anybody's in it.
        folder.remove_copy()?;
        let path = folder.copy_draft();
        let above = path.parent().unwrap_or(&path);
        passable_dir(above)?;
        DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        let lists = lists(of, exclude)?;
        let Duplicate { copied: manifest, stamps, omitted } =
            duplicate::copy(&open(of)?, &open(&path)?, &Exclude::new(&lists)?)
                .with_context(|| format!("cannot copy {}", of.display()))?;
        let record = Record { of: of.to_owned(), manifest, exclude: Some(lists) };
        let made = Self { folder: folder.clone(), record };
        tell(&omitted);
        fail_point::reached(FailPoint::CopyMade);
        made.remember()?;
        fail_point::reached(FailPoint::CopyRecorded);
        made.folder.name_copy()?;
        stamps.follow(folder, &made.record.manifest, std::iter::empty());
        Ok(made)
    }

    /// Gives another bottle a copy of a bottle's copy, as it is, with the record of what was there at first.
    ///
    /// # Errors
    /// Returns an error if something cannot be read or written.
    pub fn fork(from: &Folder, to: &Folder) -> Result<()> {
        let Some(known) = Self::find(from)? else { return Ok(()) };
        let path = to.copy_draft();
        let above = path.parent().unwrap_or(&path);
        passable_dir(above)?;
        DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        let copied = duplicate::copy(&open(&from.copy())?, &open(&path)?, &Exclude::nothing())
            .with_context(|| format!("cannot copy {}", from.copy().display()))?;
        tell(&copied.omitted);
        known.record.write(to)?;
        to.name_copy()
    }

    /// Returns how many paths the bottle's guest has changed, or 0 if it has no copy.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be examined.
    pub fn changed(folder: &Folder) -> Result<usize> {
        Self::find(folder)?.map_or(Ok(0), |copy| copy.count())
    }

    /// Removes a bottle's copy unless the guest has changed something in it, and returns how many paths have
    /// changed.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be examined or removed.
    pub fn leave(folder: &Folder) -> Result<usize> {
        let changed = Self::changed(folder)?;
        if changed == 0 {
            folder.remove_copy()?;
        }
        Ok(changed)
    }
}

/// Returns the lists of what is not copied from a project: `exclude`, and the project's own list.
///
/// # Errors
/// Returns [`Kind::Usage`] if the project's own list cannot be read, or has a line that is not a pattern.
pub fn lists(of: &Path, exclude: &[String]) -> Outcome<Lists> {
    let wrong = |what: String| {
        let path = of.join(exclude::FILE);
        Failure::new(Kind::Usage, format!("{}: {what}", Line(&path.to_string_lossy())))
            .help("it is a text file with patterns as in a .gitignore; correct it, or move it away")
    };
    let text = own_list(&open(of)?).map_err(|error| wrong(format!("{error:#}")))?;
    let lists = Lists { configured: exclude.to_vec(), ignored: text.lines().map(str::to_owned).collect() };
    for (index, line) in lists.ignored.iter().enumerate() {
        exclude::parse(line).map_err(|why| wrong(format!("line {}: {why}", index + 1)))?;
    }
    Ok(lists)
}

/// Reads the project's own list. Without one, it is empty.
fn own_list(project: &Beneath) -> Result<String> {
    const LONGEST: u64 = 1 << 20;
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let name = exclude::FILE.as_ref();
    match project.meta(name).map(|meta| meta.kind) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Ok(beneath::Kind::Link) => bail!("it is a link, and none is followed here"),
        Ok(beneath::Kind::Folder) => bail!("it is a folder"),
        Ok(beneath::Kind::Special) => bail!("it is a device, a socket or a pipe"),
        Ok(beneath::Kind::File) | Err(_) => {}
    }
    let (file, meta) = project.file(name)?;
    ensure!(meta.len <= LONGEST, "it is larger than {} KiB", LONGEST >> 10);
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    // Some editors begin a file with a mark that belongs to no line.
    let text = bytes.strip_prefix(MARK).unwrap_or(&bytes);
    let good = text.utf8_chunks().next().map_or(0, |chunk| chunk.valid().matches('\n').count());
    Ok(std::str::from_utf8(text).with_context(|| format!("line {} is not UTF-8", good + 1))?.to_owned())
}

/// Reports what was not copied, or not copied unchanged.
fn tell(omitted: &Omitted) {
    let one = |what: &str, paths: &[PathBuf], hint: &str| {
        if !paths.is_empty() {
            out::note(format_args!("{what}: {}{hint}", shown(paths)));
        }
    };
    one("not copied, because it is excluded", &omitted.listed, "");
    let hint = omitted.secret.first().map(|secret| {
        let name = secret.file_name().and_then(OsStr::to_str).filter(|name| is_plain(name)).unwrap_or(".env");
        format!(" (`exclude = [\"!{name}\"]` in [workspace] copies {name})")
    });
    one("not copied, because it may hold secrets", &omitted.secret, &hint.unwrap_or_default());
    let hint = " (`exclude` in [workspace] copies it, with a pattern that begins with `!`)";
    one("not copied, because it holds the results of a run", &omitted.results, hint);
    one("not copied, because it is neither file, folder nor link", &omitted.special, "");
    one("not copied, because you may not read it", &omitted.unreadable, "");
    one("not copied, because it is nested too deeply", &omitted.deep, "");
    one("copied without its set-user-id or set-group-id bit", &omitted.privileged, "");
}

/// Returns whether a name is a pattern that matches only itself.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Returns the first few of these paths, and how many there are.
pub fn shown(paths: &[PathBuf]) -> String {
    const NAMED: usize = 5;
    let names: Vec<String> =
        paths.iter().take(NAMED).map(|path| Bytes(path.as_os_str().as_bytes()).to_string()).collect();
    let more = paths.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Gives a copy to the user that smolvm created for its machine, which could not write to it otherwise.
///
/// # Errors
/// Returns an error if it cannot be given away.
pub fn give(path: &Path, uid: Uid) -> Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.uid() == uid.as_raw() {
        return Ok(());
    }
    let dir = open(path)?;
    tree::give_all(&dir, uid, Gid::from_raw(uid.as_raw()))
}
