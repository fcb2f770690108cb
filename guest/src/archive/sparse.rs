//! Files with holes, in GNU tar's format: a map lists the parts of a file that the archive contains, and the
//! gaps between them are holes. A hole costs no time and no space, however large it is.

use crate::beneath::data;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

/// How many blocks of a map are read. Each block describes 21 parts.
const MOST_BLOCKS: usize = 1 << 16;
/// How many parts are written. If a file has more, its last holes are written out.
const MOST_PARTS: usize = 1 << 16;
/// How many bytes are written at once.
const BLOCK: usize = 1 << 16;

/// A part of a file that is not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the file.
    pub at: u64,
    /// Its length, in bytes.
    pub len: u64,
}

/// The content of a file in an archive: its parts, one after the other.
pub struct Content<'a> {
    from: &'a mut dyn Read,
    parts: Vec<Part>,
}

impl<'a> Content<'a> {
    /// Creates the content with these parts.
    pub fn new(from: &'a mut dyn Read, parts: Vec<Part>) -> Self {
        Self { from, parts }
    }

    /// Returns the content as a stream, if the archive has all of its `len` bytes.
    pub fn whole(&mut self, len: u64) -> Option<impl Read + '_> {
        let is_whole = matches!(self.parts.as_slice(), [part] if (part.at, part.len) == (0, len));
        is_whole.then(|| (&mut *self.from).take(len))
    }

    /// Writes the content into an empty file, which then has `len` bytes. Blocks of zeros become holes.
    ///
    /// # Errors
    /// Returns an error if the archive ends too early, or if the file cannot be written.
    pub fn write_to(&mut self, file: &File, len: u64) -> Result<()> {
        let mut block = vec![0; BLOCK];
        for Part { mut at, len } in self.parts.drain(..) {
            let end = at + len;
            while at < end {
                let want = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
                // A pipe returns fewer bytes at a time than a hole has.
                match self.from.read_exact(&mut block[..want]) {
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        bail!("the archive ends in the middle of it")
                    }
                    read => read?,
                }
                if block[..want].iter().any(|byte| *byte != 0) {
                    file.write_all_at(&block[..want], at)?;
                }
                at += want as u64;
            }
        }
        Ok(file.set_len(len)?)
    }
}

/// Reads the map of a file that has `stored` bytes in the archive. Returns the file's length and its parts.
///
/// # Errors
/// Returns an error if the map is too long, if its parts overlap, are out of order or extend beyond the
/// file's end, or if the archive has more or fewer bytes than they say.
pub fn read_map(header: &Header, stored: u64, from: &mut dyn Read) -> Result<(u64, Vec<Part>)> {
    let gnu = header.as_gnu().context("a sparse file has no map")?;
    let mut map = Map { parts: Vec::new(), end: 0, sum: 0, whole: gnu.real_size()? };
    gnu.sparse.iter().try_for_each(|field| map.add(field))?;
    let mut goes_on = gnu.is_extended();
    let mut blocks = 0;
    while goes_on {
        blocks += 1;
        ensure!(blocks <= MOST_BLOCKS, "a sparse file has a map of more than {MOST_BLOCKS} blocks");
        let mut block = GnuExtSparseHeader::new();
        from.read_exact(block.as_mut_bytes()).context("the archive ends in the middle of a sparse map")?;
        block.sparse().iter().try_for_each(|field| map.add(field))?;
        goes_on = block.is_extended();
    }
    ensure!(map.sum == stored, "a sparse map has {} bytes, and the archive {stored}", map.sum);
    Ok((map.whole, map.parts))
}

struct Map {
    parts: Vec<Part>,
    end: u64,
    sum: u64,
    whole: u64,
}

impl Map {
    fn add(&mut self, field: &GnuSparseHeader) -> Result<()> {
        if field.is_empty() {
            return Ok(());
        }
        let (at, len) = (field.offset()?, field.length()?);
        ensure!(at >= self.end, "the parts of a sparse file overlap, or are out of order");
        let end = at.checked_add(len).filter(|end| *end <= self.whole);
        self.end = end.context("a part of a sparse file is beyond its end")?;
        // The parts do not overlap, so their sum is at most the whole.
        self.sum += len;
        if len > 0 {
            self.parts.push(Part { at, len });
        }
        Ok(())
    }
}

/// Returns the parts of a file of `len` bytes that take up space on disk.
///
/// # Errors
/// Returns an error if the file cannot be examined.
pub fn parts(file: &File, len: u64) -> io::Result<Vec<Part>> {
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some((start, end)) = data(file, at, len)? {
        let end = if parts.len() + 1 == MOST_PARTS { len } else { end };
        parts.push(Part { at: start, len: end - start });
        at = end;
    }
    Ok(parts)
}

/// Turns a header into that of a sparse file with these parts. Returns the rest of its map, which comes
/// before the parts.
pub fn write_map(header: &mut Header, len: u64, parts: &[Part]) -> Vec<u8> {
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(parts.iter().map(|part| part.len).sum());
    let mut fields: Vec<GnuSparseHeader> = parts.iter().map(field).collect();
    if parts.last().is_none_or(|last| last.at + last.len < len) {
        // GNU tar marks a file that ends in a hole like this.
        fields.push(field(&Part { at: len, len: 0 }));
    }
    let Some(gnu) = header.as_gnu_mut() else { return Vec::new() };
    gnu.set_real_size(len);
    let mut fields = fields.into_iter();
    gnu.sparse.iter_mut().zip(&mut fields).for_each(|(to, field)| *to = field);
    gnu.set_is_extended(fields.len() > 0);
    let mut rest = Vec::new();
    while fields.len() > 0 {
        let mut block = GnuExtSparseHeader::new();
        block.sparse_mut().iter_mut().zip(&mut fields).for_each(|(to, field)| *to = field);
        block.set_is_extended(fields.len() > 0);
        rest.extend_from_slice(block.as_bytes());
    }
    rest
}

fn field(part: &Part) -> GnuSparseHeader {
    GnuSparseHeader { offset: number(part.at), numbytes: number(part.len) }
}

/// Encodes a number as tar does: eleven octal digits, or the bytes of a number that is too large for them.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        for (digit, to) in field[..11].iter_mut().rev().enumerate() {
            *to = b'0' + ((value >> (3 * digit)) & 7) as u8;
        }
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

/// Reads the parts of a file at exactly their length, even if the file changes meanwhile.
pub struct Data<'a> {
    file: &'a File,
    parts: std::slice::Iter<'a, Part>,
    now: Part,
}

impl<'a> Data<'a> {
    /// Creates a reader of these parts.
    pub fn new(file: &'a File, parts: &'a [Part]) -> Self {
        Self { file, parts: parts.iter(), now: Part { at: 0, len: 0 } }
    }
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.now.len == 0 {
            let Some(next) = self.parts.next() else { return Ok(0) };
            self.now = *next;
        }
        let want = usize::try_from(self.now.len).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = match self.file.read_at(&mut buffer[..want], self.now.at)? {
            // The file has become shorter.
            0 => {
                buffer[..want].fill(0);
                want
            }
            read => read,
        };
        self.now.at += read as u64;
        self.now.len -= read as u64;
        Ok(read)
    }
}
