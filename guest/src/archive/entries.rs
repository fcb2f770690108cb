//! An archive, read entry by entry, with a bounded share of memory.
//!
//! The grammar is the one that [`super::pack`] writes and no more: GNU headers with long names. What
//! a tar could say besides (PAX records, sparse maps) is refused, because each is one more way to
//! give a name or a size.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::{Read, Take};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tar::{Archive, EntryType};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A folder.
    Folder,
    /// A file of this many bytes.
    File(u64),
    /// A symbolic link, and where it points.
    Link(PathBuf),
    /// Something else, in a word.
    Other(&'static str),
}

/// The longest name, or target of a link, in bytes: more than any system takes.
const LONGEST: u64 = 8192;

/// Shows each entry of an archive in its turn: its path, its permission bits, what it is, and its
/// content. `is_bounded` refuses names that are longer than any system takes, and whatever else has no
/// end that a count of entries and of their bytes would see.
///
/// # Errors
/// Where it is no such archive, or ends in the middle, or `visit` says so.
pub fn each(
    from: impl Read,
    is_bounded: bool,
    mut visit: impl FnMut(PathBuf, u32, &Item, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let longest = if is_bounded { LONGEST } else { u64::MAX };
    let mut archive = Archive::new(from);
    let (mut name, mut target) = (None, None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.context("what comes is no archive")?;
        let header = entry.header();
        let len = header.entry_size().context("what comes is no archive")?;
        let mode = header.mode().unwrap_or(0o644);
        let item = match header.entry_type() {
            // One before each entry, so that what is read is bounded by what is counted.
            EntryType::GNULongName if is_bounded && name.is_some() => bail!("two names for one entry come"),
            EntryType::GNULongLink if is_bounded && target.is_some() => {
                bail!("two targets for one link come")
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
                bail!("what comes has PAX records, which bottle's helper does not write")
            }
            EntryType::GNUSparse => {
                bail!("what comes has a sparse map, which bottle's helper does not write")
            }
            EntryType::Directory => Item::Folder,
            EntryType::Regular | EntryType::Continuous => Item::File(len),
            EntryType::Symlink => {
                let short = header.link_name_bytes().map(std::borrow::Cow::into_owned);
                let target = target.take().or(short).context("a link that points nowhere")?;
                Item::Link(OsString::from_vec(target).into())
            }
            EntryType::Link => Item::Other("a hard link"),
            EntryType::Char | EntryType::Block => Item::Other("a device"),
            EntryType::Fifo => Item::Other("a pipe"),
            _ => Item::Other("neither file, folder nor link"),
        };
        if is_bounded && len > 0 && !matches!(item, Item::File(_)) {
            bail!("{len} bytes come where there is no content");
        }
        let path = name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        target = None;
        visit(OsString::from_vec(path).into(), mode, &item, &mut entry)?;
    }
    Ok(())
}

fn long(entry: &mut impl Read, len: u64, longest: u64) -> Result<Vec<u8>> {
    if len > longest {
        bail!("a name of {len} bytes comes");
    }
    let mut bytes = Vec::new();
    let mut content: Take<_> = entry.take(len);
    content.read_to_end(&mut bytes).context("a name")?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.contains(&0) {
        bail!("a name with a zero byte comes");
    }
    Ok(bytes)
}
