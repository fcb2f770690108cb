//! Reads an archive entry by entry, in bounded memory.
//!
//! The grammar is what [`super::pack`] writes and no more: GNU headers with long names. Whatever else a tar
//! can contain (PAX records, sparse maps) is refused, because each is one more way to give a name or a size.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::{Read, Take};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tar::{Archive, EntryType};

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A folder.
    Folder,
    /// A file of this many bytes.
    File(u64),
    /// A symbolic link with its target.
    Link(PathBuf),
    /// Something else, in words.
    Other(&'static str),
}

/// What an entry says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its permission bits.
    pub mode: u32,
    /// When it was changed, in seconds since 1970.
    pub changed: Option<u64>,
}

/// The longest name or target of a link, in bytes: longer than any system accepts.
const LONGEST: u64 = 8192;

/// Calls `visit` for each entry of an archive in turn, with its path, its attributes, what it is, and
/// its content. With `is_bounded`, names longer than any system accepts are refused, and so is everything
/// else that could go on without end and that counting entries and their bytes would not notice.
///
/// # Errors
/// Returns an error if this is not such an archive, if it ends in the middle, or if `visit` returns one.
pub fn each(
    from: impl Read,
    is_bounded: bool,
    mut visit: impl FnMut(PathBuf, Attributes, &Item, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let longest = if is_bounded { LONGEST } else { u64::MAX };
    let mut archive = Archive::new(from);
    let (mut name, mut target) = (None, None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.context("the stream is not an archive")?;
        let header = entry.header();
        let len = header.entry_size().context("the stream is not an archive")?;
        let attributes = Attributes {
            mode: header.mode().unwrap_or(0o644),
            changed: header.mtime().ok().filter(|time| *time > 0),
        };
        let item = match header.entry_type() {
            // Only one may precede each entry, so that the count of entries bounds what is read.
            EntryType::GNULongName if is_bounded && name.is_some() => bail!("an entry has two names"),
            EntryType::GNULongLink if is_bounded && target.is_some() => {
                bail!("a link has two targets")
            }
            EntryType::GNULongName => {
                name = Some(long(&mut entry, len, longest)?);
                continue;
            }
            EntryType::GNULongLink => {
                target = Some(long(&mut entry, len, longest)?);
                continue;
            }
            EntryType::XHeader | EntryType::XGlobalHeader => {
                bail!("the archive has PAX records, which bottle's helper does not write")
            }
            EntryType::GNUSparse => {
                bail!("the archive has a sparse map, which bottle's helper does not write")
            }
            EntryType::Directory => Item::Folder,
            EntryType::Regular | EntryType::Continuous => Item::File(len),
            EntryType::Symlink => {
                let short = header.link_name_bytes().map(std::borrow::Cow::into_owned);
                let target = target.take().or(short).context("a link has no target")?;
                Item::Link(OsString::from_vec(target).into())
            }
            EntryType::Link => Item::Other("a hard link"),
            EntryType::Char | EntryType::Block => Item::Other("a device"),
            EntryType::Fifo => Item::Other("a pipe"),
            _ => Item::Other("neither file, folder nor link"),
        };
        if is_bounded && len > 0 && !matches!(item, Item::File(_)) {
            bail!("an entry that cannot have content announces {len} bytes");
        }
        let path = name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        target = None;
        visit(OsString::from_vec(path).into(), attributes, &item, &mut entry)?;
    }
    Ok(())
}

fn long(entry: &mut impl Read, len: u64, longest: u64) -> Result<Vec<u8>> {
    if len > longest {
        bail!("a name has {len} bytes");
    }
    let mut bytes = Vec::new();
    let mut content: Take<_> = entry.take(len);
    content.read_to_end(&mut bytes).context("cannot read a name")?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.contains(&0) {
        bail!("a name contains a zero byte");
    }
    Ok(bytes)
}
