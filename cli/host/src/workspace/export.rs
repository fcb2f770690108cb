//! Writes what a guest changed to a folder of results: the changed files, and a patch of all changes.
//!
//! It is the counterpart of [`super::apply`] for a folder that has nothing of the project's. What `apply` never takes is
//! left out here, too, and so is every `bottle.toml`: bottle would read it if somebody worked in the folder.

use super::changes::{Change, What};
use super::copy::Copy;
use super::decide::Here;
use super::look::{Item, Look};
use super::patch::{self, Mode, Stored};
use super::tree::Entry;
use crate::beneath::Folder;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest file of which a patch has a difference, in bytes. A longer one is only among the files.
const LONGEST: u64 = 16 << 20;
/// The most bytes of contents that a patch is made from.
const ALTOGETHER: u64 = 256 << 20;
const EXECUTABLE: u32 = 0o100;

/// One change, and where it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The change.
    pub change: Change,
    /// Whether the file, link or folder was written.
    pub is_file: bool,
    /// Whether the patch has it.
    pub is_in_patch: bool,
    /// Why it was not written, if something was in the way.
    pub why: Option<String>,
}

impl Copy {
    /// Writes the changed files below `files`, and all changes to `patch`, as `git apply` takes them in the project.
    ///
    /// # Errors
    /// Returns an error if the patch cannot be written, or the project cannot be read. A file that cannot be written is
    /// no error; its line says why.
    pub fn export(&self, look: &Look, files: &Folder, patch: &mut impl Write) -> Result<Vec<Exported>> {
        let ours = self.ours()?;
        let mut left = ALTOGETHER;
        let mut exported = Vec::new();
        for item in &look.items {
            let change = item.change.clone();
            let mut line = Exported { change, is_file: false, is_in_patch: false, why: None };
            if line.change.may_be_taken(true) {
                if is_configuration(&line.change.path) {
                    line.why = Some("bottle would read it; the patch has it".to_owned());
                } else if line.change.what != What::Deleted {
                    match put(look, item, files) {
                        Ok(()) => line.is_file = true,
                        Err(error) => line.why = Some(format!("{error:#}")),
                    }
                }
                line.is_in_patch = describe(&ours, look, item, &mut left, patch)?;
            }
            exported.push(line);
        }
        patch.flush()?;
        Ok(exported)
    }
}

/// Returns whether bottle would take the path for a configuration.
fn is_configuration(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"bottle.toml"))
}

/// Writes one changed file, link or folder.
fn put(look: &Look, item: &Item, files: &Folder) -> Result<()> {
    let path = &item.change.path;
    let name = path.file_name().context("it has no name")?;
    let above = files.make_folders(path.parent().unwrap_or(Path::new("")))?;
    match &item.after {
        Some(Entry::Folder) => drop(above.make_folders(Path::new(name))?),
        Some(Entry::Link(target)) => above.make_link(target, name)?,
        Some(Entry::File { mode, .. }) => {
            let content = item.content.as_ref().context("it was not read")?;
            let file = above.create(name, (mode & 0o777) | 0o600)?;
            look.snapshot.put(content, &file)?;
        }
        _ => anyhow::bail!("it is neither file, folder nor link"),
    }
    Ok(())
}

/// Adds one change to the patch. Returns false if it is too large for one, or of a kind that git has no words for.
fn describe(ours: &Folder, look: &Look, item: &Item, left: &mut u64, patch: &mut impl Write) -> Result<bool> {
    let (Some(before), Some(after)) = (before(ours, item), after(look, item)?) else { return Ok(false) };
    let size: u64 = [&before, &after].into_iter().flatten().map(|side| side.bytes.len() as u64).sum();
    if size > *left {
        return Ok(false);
    }
    *left -= size;
    patch::write(patch, item.change.path.as_os_str().as_bytes(), before.as_ref(), after.as_ref())?;
    Ok(before.is_some() || after.is_some())
}

fn mode(bits: u32) -> Mode {
    if bits & EXECUTABLE == 0 { Mode::Plain } else { Mode::Executable }
}

/// Returns what the project has; the outer `None` if a patch cannot say that.
fn before(ours: &Folder, item: &Item) -> Option<Option<Stored>> {
    match &item.here {
        Here::Nothing | Here::Blocked | Here::Is(Entry::Folder) => Some(None),
        Here::Is(Entry::Link(target)) => {
            Some(Some(Stored { mode: Mode::Link, bytes: target.as_os_str().as_bytes().to_vec() }))
        }
        Here::Is(Entry::File { mode: bits, len, .. }) if *len <= LONGEST => {
            let (above, name) = ours.above(&item.change.path).ok()?;
            let mut bytes = Vec::new();
            above.file(name).ok()?.0.take(LONGEST).read_to_end(&mut bytes).ok()?;
            Some(Some(Stored { mode: mode(*bits), bytes }))
        }
        Here::Is(_) => None,
    }
}

/// Returns what the guest has; the outer `None` if a patch cannot say that.
fn after(look: &Look, item: &Item) -> Result<Option<Option<Stored>>> {
    if item.change.what == What::Deleted {
        return Ok(Some(None));
    }
    Ok(match (&item.after, &item.content) {
        (Some(Entry::Folder), _) => Some(None),
        (Some(Entry::Link(target)), _) => {
            Some(Some(Stored { mode: Mode::Link, bytes: target.as_os_str().as_bytes().to_vec() }))
        }
        (Some(Entry::File { mode: bits, .. }), Some(content)) if content.len <= LONGEST => {
            Some(Some(Stored { mode: mode(*bits), bytes: look.snapshot.read(content, LONGEST)? }))
        }
        _ => None,
    })
}
