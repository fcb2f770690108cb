//! A guest's changes in its copy of the project, and which of them come back.

use super::key::key;
use crate::suggest::no_such_or;
use crate::trust;
use bottle_core::visible::Bytes;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home};
use bottle_host::workspace::changes::{Change, Kept};
use bottle_host::workspace::trash::Trash;
use bottle_host::workspace::{Applied, Copy, Look, MOST};
use bottle_ui::desk::{ChangedFile, Changes, Picked};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many paths are shown.
const SHOWN: usize = 2000;
/// How many bytes of differences are shown.
const TEXT: usize = 2 << 20;

/// Returns the copy of a bottle's guest.
///
/// # Errors
/// Returns [`Kind::NoBottle`] if it has none.
pub fn copy(folder: &Folder) -> Outcome<Copy> {
    if let Some(copy) = Copy::find(folder)? {
        return Ok(copy);
    }
    let slug = folder.slug();
    let removed = Trash::of(&Home::find()?).entries()?;
    let removed = removed.iter().rev().find(|entry| entry.slug == *slug);
    Err(match removed {
        Some(entry) => Failure::new(Kind::NoBottle, format!("the copy of {slug}'s guest is in the trash"))
            .help(format!("`bottle trash --restore {}` brings it back", entry.name)),
        None if folder.read_plan().is_err() => no_such_or(slug, &format!("`bottle up {slug}` starts one")),
        None => Failure::new(Kind::NoBottle, format!("the guest of {slug} has no copy of a project"))
            .help("with `[workspace] mode = \"copy\"` in bottle.toml it works on one"),
    })
}

/// Applies what was looked at.
///
/// # Errors
/// Returns an error if the project cannot be written. It is unchanged then.
pub fn take(home: &Home, copy: &mut Copy, seen: Look, overwrite: bool) -> Outcome<Applied> {
    trust::touched(home, copy.of())?;
    copy.apply(seen, overwrite).map_err(unwritten)
}

/// Makes the failure of a project that could not be written. It is as it was.
pub fn unwritten(error: anyhow::Error) -> Failure {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match cause {
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Failure::new(Kind::Unavailable, format!("{error:#}"))
                .help("the project is as it was; make that path one that you can write to, or leave it out")
        }
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Failure::new(Kind::Internal, format!("{error:#}"))
                .help("the project is as it was; free some space, and try again")
        }
        _ => error.into(),
    }
}

/// Returns what the guest changed.
///
/// # Errors
/// Returns an error if it has no copy, or if the copy cannot be read.
pub fn list(folder: &Folder) -> Outcome<Changes> {
    let copy = copy(folder)?;
    let look = copy.look(&[], MOST)?;
    let mut differences = copy.differences(&look, TEXT)?.into_iter();
    let mut files = Vec::new();
    let mut more = 0;
    for (change, digest) in look.digests() {
        let difference = differences.next();
        if files.len() == SHOWN {
            more += 1;
            continue;
        }
        files.push(ChangedFile {
            key: key(bytes(&change.path)),
            digest: digest.to_string(),
            path: Bytes(bytes(&change.path)).to_string(),
            letter: change.what.letter(),
            kept: change.kept.map(|kept| kept.to_string()),
            may_be_applied: change.may_be_taken(true),
            conflict: change.kept == Some(Kept::Conflict),
            difference,
        });
    }
    let project = Bytes(bytes(copy.of())).to_string();
    Ok(Changes { project, files, more, with_attributes: look.with_attributes })
}

/// Applies the paths that a person picked, if each is still what they saw, and returns what was done.
///
/// # Errors
/// Returns [`Kind::Usage`] if one of them is not. Then nothing is applied.
pub fn apply(home: &Home, folder: &Folder, picked: &[Picked]) -> Outcome<String> {
    let _lock = folder.lock_operation("apply")?;
    let mut copy = copy(folder)?;
    let wanted: HashMap<&str, &str> =
        picked.iter().map(|picked| (picked.key.as_str(), picked.digest.as_str())).collect();
    let changed = || {
        Failure::new(Kind::Usage, "the copy has changed since: this is not what was shown")
            .help("look again, and pick what is there now")
    };
    let paths: Vec<PathBuf> = {
        let all = copy.look(&[], MOST)?;
        let named = all.changes().filter(|change| wanted.contains_key(key(bytes(&change.path)).as_str()));
        named.map(|change| change.path.clone()).collect()
    };
    if paths.is_empty() || paths.len() != wanted.len() {
        return Err(changed());
    }
    // What is compared here is what is written. The guest works on meanwhile.
    let seen = copy.look(&paths, MOST)?;
    let is_seen = |(change, digest): (&Change, bottle_host::workspace::Digest)| {
        let picked = wanted.get(key(bytes(&change.path)).as_str());
        let makes_room = seen.makes_room(change) && paths.iter().any(|path| path.starts_with(&change.path));
        picked.map_or(makes_room, |picked| *picked == digest.to_string())
    };
    if !seen.digests().all(is_seen) || seen.changes().count() < paths.len() {
        return Err(changed());
    }
    let overwrite = seen.changes().any(|change| change.kept == Some(Kept::Conflict));
    let applied = take(home, &mut copy, seen, overwrite)?;
    let (taken, kept) = (applied.taken.len(), applied.kept.len());
    if taken == 0 {
        return Err(
            Failure::new(Kind::Usage, "nothing could be applied").help("look again: each path says why")
        );
    }
    Ok(format!("{taken} applied, {kept} left in the guest; `bottle undo {}` takes it back", folder.slug()))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
