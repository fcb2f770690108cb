//! Reads an archive entry by entry, in bounded memory.
//!
//! It accepts only what [`super::pack`] writes: GNU headers with long names and sparse maps. Anything else
//! that a tar can contain, such as PAX records, is refused, because it is one more way to specify a name or a
//! size.

use super::sparse::{self, Content, Part};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tar::{EntryType, Header};

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A folder.
    Folder,
    /// A file of this many bytes.
    File(u64),
    /// A symbolic link with its target.
    Link(PathBuf),
    /// One more name of a file, with its first name.
    Name(PathBuf),
    /// Anything else, described in words.
    Other(&'static str),
}

/// What an entry says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its permission bits.
    pub mode: u32,
    /// When it was last modified, in seconds since 1970.
    pub changed: Option<u64>,
    /// Its owner and its group.
    pub owner: (u64, u64),
}

/// The longest name or link target, in bytes: longer than any system accepts.
const LONGEST: u64 = 8192;

/// Calls `visit` for each entry of an archive, with its path, its attributes, its kind and its content. With
/// `is_bounded`, names longer than any system accepts are refused, and so is anything else that could be
/// endless without being noticed by a count of entries and their bytes.
///
/// # Errors
/// Returns an error if this is not such an archive, if it ends in the middle, or if `visit` returns one.
pub fn each(
    mut from: impl Read,
    is_bounded: bool,
    mut visit: impl FnMut(PathBuf, Attributes, &Item, &mut Content) -> Result<()>,
) -> Result<()> {
    let longest = if is_bounded { LONGEST } else { u64::MAX };
    let (mut name, mut target) = (None, None);
    while let Some(header) = next(&mut from)? {
        let len = header.entry_size().context(NO_ARCHIVE)?;
        let attributes = Attributes {
            mode: header.mode().unwrap_or(0o644),
            changed: header.mtime().ok().filter(|time| *time > 0),
            owner: (header.uid().unwrap_or(0), header.gid().unwrap_or(0)),
        };
        let mut parts = vec![Part { at: 0, len }];
        let item = match header.entry_type() {
            // Only one may precede each entry, so that the number of entries bounds how much is read.
            EntryType::GNULongName if is_bounded && name.is_some() => bail!("an entry has two names"),
            EntryType::GNULongLink if is_bounded && target.is_some() => {
                bail!("a link has two targets")
            }
            EntryType::GNULongName => {
                name = Some(long(&mut from, len, longest)?);
                continue;
            }
            EntryType::GNULongLink => {
                target = Some(long(&mut from, len, longest)?);
                continue;
            }
            EntryType::XHeader | EntryType::XGlobalHeader => {
                bail!("the archive has PAX records, which bottle's helper does not write")
            }
            EntryType::GNUSparse => {
                let whole;
                (whole, parts) = sparse::read_map(&header, len, &mut from)?;
                Item::File(whole)
            }
            EntryType::Directory => Item::Folder,
            EntryType::Regular | EntryType::Continuous => Item::File(len),
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let short = header.link_name_bytes().map(std::borrow::Cow::into_owned);
                let to = target.take().or(short).context("a link has no target")?;
                let to = OsString::from_vec(to).into();
                if kind == EntryType::Link { Item::Name(to) } else { Item::Link(to) }
            }
            EntryType::Char | EntryType::Block => Item::Other("a device"),
            EntryType::Fifo => Item::Other("a pipe"),
            _ => Item::Other("neither file, folder nor link"),
        };
        if is_bounded && len > 0 && !matches!(item, Item::File(_)) {
            bail!("an entry that cannot have content announces {len} bytes");
        }
        let path = name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        target = None;
        let padded = len.checked_next_multiple_of(BLOCK as u64).context("an entry's size overflows")?;
        let mut content = from.by_ref().take(padded);
        visit(OsString::from_vec(path).into(), attributes, &item, &mut Content::new(&mut content, parts))?;
        skip(&mut content)?;
    }
    Ok(())
}

/// The length of a block, in bytes. An archive consists of blocks.
const BLOCK: usize = 512;
/// The error for a stream that does not start like an archive.
const NO_ARCHIVE: &str = "the stream is not an archive";

/// Reads the next header. Returns `None` at the end.
fn next(from: &mut impl Read) -> Result<Option<Header>> {
    let mut header = Header::new_old();
    let bytes = header.as_mut_bytes();
    let mut have = 0;
    while have < BLOCK {
        match from.read(&mut bytes[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => bail!(NO_ARCHIVE),
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // The sum counts its own field as spaces.
    let others = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte));
    let sum = others.sum::<u32>() + 8 * u32::from(b' ');
    ensure!(header.cksum().is_ok_and(|cksum| cksum == sum), NO_ARCHIVE);
    Ok(Some(header))
}

/// Reads the rest of an entry.
fn skip(content: &mut io::Take<impl Read>) -> Result<()> {
    io::copy(content, &mut io::sink())?;
    ensure!(content.limit() == 0, "the archive ends in the middle of an entry");
    Ok(())
}

fn long(from: &mut impl Read, len: u64, longest: u64) -> Result<Vec<u8>> {
    if len > longest {
        bail!("a name has {len} bytes");
    }
    let padded = len.checked_next_multiple_of(BLOCK as u64).context("an entry's size overflows")?;
    let mut content = from.by_ref().take(padded);
    let mut bytes = Vec::new();
    content.by_ref().take(len).read_to_end(&mut bytes).context("cannot read a name")?;
    skip(&mut content)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.contains(&0) {
        bail!("a name contains a zero byte");
    }
    Ok(bytes)
}
