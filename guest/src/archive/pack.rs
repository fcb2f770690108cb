//! Packs a file, a link or a folder.

use super::sparse::{self, Data};
use crate::beneath::{Folder, Kind, Limits, Links, Meta, Seen, walk_on};
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// How many of the omitted paths are listed.
const NAMED: usize = 20;

/// Splits a path into its parent folder and its last name. `.`, `..` and `/` are folders without a name.
pub fn split(path: &Path) -> (&Path, Option<&OsStr>) {
    match path.file_name() {
        Some(last) => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            (above.unwrap_or(Path::new(".")), Some(last))
        }
        None => (path, None),
    }
}

/// Packs a file, a link or a folder under this name. It follows no link, not even one at the end of the path.
/// It omits anything that is not a file, folder or link, or that may not be read, and returns the first of
/// those paths.
///
/// # Errors
/// Returns an error if the path does not exist or cannot be read.
pub fn pack(path: &Path, name: &OsStr, links: Links, out: impl Write) -> Result<Vec<PathBuf>> {
    let what = || path.display().to_string();
    let (above, last) = split(path);
    let above = Folder::open(above, links).with_context(what)?;
    pack_from(&above, last, path, name, out)
}

/// Packs this name in a folder, or the folder itself, like [`pack`]. The path is only for messages.
///
/// # Errors
/// Returns an error as for [`pack`].
pub fn pack_from(
    above: &Folder,
    last: Option<&OsStr>,
    path: &Path,
    name: &OsStr,
    out: impl Write,
) -> Result<Vec<PathBuf>> {
    let what = || path.display().to_string();
    let mut archive = Builder::new(out);
    let mut left = Vec::new();
    let meta = last.map_or_else(|| above.own_meta(), |last| above.meta(last)).with_context(what)?;
    match (last, meta.kind) {
        (last, Kind::Folder) => {
            let root =
                last.map_or_else(|| above.try_clone(), |last| above.folder(last)).with_context(what)?;
            put_folder(&mut archive, Path::new(name), &meta).with_context(what)?;
            let mut closed = Vec::new();
            let visit = |seen: &Seen| {
                let place = Path::new(name).join(seen.path);
                let put = put(&mut archive, seen.folder, seen.name, &place, seen.meta);
                let put = match put {
                    // It could not be opened, so nothing of it was sent.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Put::LeftOut,
                    put => put.with_context(|| path.join(seen.path).display().to_string())?,
                };
                match put {
                    Put::Done => {}
                    Put::LeftOut if left.len() < NAMED => left.push(place),
                    Put::LeftOut => {}
                }
                Ok(true)
            };
            walk_on(&root, &Limits::NONE, visit, |path| {
                closed.push(Path::new(name).join(path));
                Ok(!path.as_os_str().is_empty())
            })?;
            left.extend(closed.into_iter().take(NAMED));
        }
        (Some(last), _) => {
            if let Put::LeftOut = put(&mut archive, above, last, Path::new(name), meta).with_context(what)? {
                anyhow::bail!("{}: {NEITHER}", path.display());
            }
        }
        (None, _) => {}
    }
    archive.into_inner().and_then(|mut out| out.flush()).with_context(what)?;
    Ok(left)
}

/// The reason for omitting something.
pub const NEITHER: &str = "neither file, folder nor link, or you may not read it";

enum Put {
    Done,
    LeftOut,
}

fn put(
    to: &mut Builder<impl Write>,
    folder: &Folder,
    name: &OsStr,
    place: &Path,
    meta: Meta,
) -> io::Result<Put> {
    match meta.kind {
        Kind::Folder => put_folder(to, place, &meta)?,
        Kind::Link => {
            let target = folder.read_link(name)?;
            to.append_link(&mut header(EntryType::Symlink, 0, &meta), place, target)?;
        }
        Kind::File => {
            // The file may grow or shrink meanwhile. Exactly as many bytes are sent as the header says.
            let (file, meta) = folder.file(name)?;
            let parts = sparse::parts(&file, meta.len)?;
            let mut header = header(EntryType::Regular, meta.len, &meta);
            let has_holes = parts.iter().map(|part| part.len).sum::<u64>() < meta.len;
            let map = if has_holes { sparse::write_map(&mut header, meta.len, &parts) } else { Vec::new() };
            to.append_data(&mut header, place, map.as_slice().chain(Data::new(&file, &parts)))?;
        }
        Kind::Special => return Ok(Put::LeftOut),
    }
    Ok(Put::Done)
}

fn put_folder(to: &mut Builder<impl Write>, place: &Path, meta: &Meta) -> io::Result<()> {
    to.append_data(&mut header(EntryType::Directory, 0, meta), place, io::empty())
}

fn header(kind: EntryType, len: u64, meta: &Meta) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_size(len);
    header.set_mtime(u64::try_from(meta.changed / 1_000_000_000).unwrap_or_default());
    header
}
