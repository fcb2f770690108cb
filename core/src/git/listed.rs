//! What git prints about a push, read strictly: a line or a record that is not as it should be is
//! refused, never skipped.

use super::name::{ObjectId, is_null_id};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What git printed is not what it should print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("git said something that was not expected of it: {0}")]
pub struct Unexpected(String);

fn unexpected(what: &[u8]) -> Unexpected {
    Unexpected(crate::visible::Bytes(what.get(..200).unwrap_or(what)).to_string())
}

/// One ref of a push, as a hook is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What the ref had, unless it is new.
    pub old: Option<ObjectId>,
    /// What it gets, unless it is deleted.
    pub new: Option<ObjectId>,
    /// Its whole name. What is not UTF-8 in it is replaced, so that no rule knows it.
    pub name: String,
}

impl Command {
    /// Reads a line of a hook's standard input: `OLD NEW NAME`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(line: &[u8]) -> Result<Self, Unexpected> {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(unexpected(line));
        };
        let id = |word: &[u8]| {
            let text = core::str::from_utf8(word).map_err(|_| unexpected(line))?;
            if is_null_id(text) {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|_| unexpected(line))
        };
        Ok(Self { old: id(old)?, new: id(new)?, name: String::from_utf8_lossy(name).into_owned() })
    }
}

/// What an entry of a tree is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its mode, as git writes it: `100644`, `120000` for a symbolic link, `160000` for a submodule.
    pub mode: u32,
    /// Its object.
    pub id: ObjectId,
}

impl Entry {
    /// Whether it leads elsewhere.
    pub fn leads(&self) -> bool {
        matches!(self.mode, 0o120_000 | 0o160_000)
    }
}

/// One entry in which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// What the one has there.
    pub old: Option<Entry>,
    /// What the other has there.
    pub new: Option<Entry>,
    /// Where.
    pub path: Vec<u8>,
}

/// What `git diff-tree --stdin --raw -z` prints, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The two trees that are compared from here on.
    Trees(ObjectId, ObjectId),
    /// An entry in which they differ, but for its path, which is the next piece.
    Entry(Option<Entry>, Option<Entry>),
}

/// Reads a piece: the line `TREE TREE`, or `:MODE MODE ID ID STATUS`.
///
/// # Errors
/// Where it is neither.
pub fn piece(text: &[u8]) -> Result<Piece, Unexpected> {
    let wrong = || unexpected(text);
    let line = core::str::from_utf8(text).map_err(|_| wrong())?;
    let id = |word: &str| word.parse::<ObjectId>().map_err(|_| wrong());
    let Some(entry) = line.strip_prefix(':') else {
        let (one, other) = line.split_once(' ').ok_or_else(wrong)?;
        return Ok(Piece::Trees(id(one)?, id(other)?));
    };
    let words: Vec<&str> = entry.split(' ').collect();
    let [old_mode, new_mode, old, new, _status] = words.as_slice() else { return Err(wrong()) };
    let side = |mode: &str, word: &str| {
        let mode = u32::from_str_radix(mode, 8).map_err(|_| wrong())?;
        match (mode, is_null_id(word)) {
            (0, true) => Ok(None),
            (0, false) | (_, true) => Err(wrong()),
            (mode, false) => Ok(Some(Entry { mode, id: id(word)? })),
        }
    };
    Ok(Piece::Entry(side(old_mode, old)?, side(new_mode, new)?))
}

/// What `git cat-file --batch-check` says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// `commit`, `tree`, `blob` or `tag`.
    pub kind: String,
    /// Its size, unpacked.
    pub size: u64,
}

/// Reads `ID KIND SIZE`.
///
/// # Errors
/// Where it is something else; that an object is missing is something else.
pub fn object(line: &[u8]) -> Result<Object, Unexpected> {
    let wrong = || unexpected(line);
    let text = core::str::from_utf8(line).map_err(|_| wrong())?;
    let words: Vec<&str> = text.split(' ').collect();
    let [id, kind, size] = words.as_slice() else { return Err(wrong()) };
    if !matches!(*kind, "commit" | "tree" | "blob" | "tag") {
        return Err(wrong());
    }
    let (Ok(id), Ok(size)) = (id.parse(), size.parse()) else { return Err(wrong()) };
    Ok(Object { id, kind: (*kind).into(), size })
}
