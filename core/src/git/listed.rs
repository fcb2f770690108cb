//! Reads what git prints about a push, strictly: a line or a record that is not as it should be is
//! refused, never skipped.

use super::name::{ObjectId, is_null_id};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Output of git that is not in the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected output from git: {0}")]
pub struct Unexpected(String);

fn unexpected(what: &[u8]) -> Unexpected {
    Unexpected(crate::visible::Bytes(what.get(..200).unwrap_or(what)).to_string())
}

/// One ref of a push, as git reports it to a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The object that the ref pointed to, unless it is new.
    pub old: Option<ObjectId>,
    /// The object that it will point to, unless it is deleted.
    pub new: Option<ObjectId>,
    /// Its full name. Bytes that are not UTF-8 are replaced, so that no rule fits such a name.
    pub name: String,
}

impl Command {
    /// Reads a line of a hook's standard input: `OLD NEW NAME`.
    ///
    /// # Errors
    /// Returns an error if the line has another form.
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

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its mode, as git writes it: `100644`, `120000` for a symbolic link, `160000` for a submodule.
    pub mode: u32,
    /// The id of its object.
    pub id: ObjectId,
}

impl Entry {
    /// Returns whether it is a symbolic link or a submodule, which lead elsewhere.
    pub fn leads(&self) -> bool {
        matches!(self.mode, 0o120_000 | 0o160_000)
    }
}

/// One entry in which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The entry in the old tree.
    pub old: Option<Entry>,
    /// The entry in the new tree.
    pub new: Option<Entry>,
    /// Its path.
    pub path: Vec<u8>,
}

/// One piece of what `git diff-tree --stdin --raw -z` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The two trees that the entries after this piece are from.
    Trees(ObjectId, ObjectId),
    /// An entry in which they differ. Its path is the next piece.
    Entry(Option<Entry>, Option<Entry>),
}

/// Reads a piece: the line `TREE TREE`, or `:MODE MODE ID ID STATUS`.
///
/// # Errors
/// Returns an error if the text is neither.
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

/// An object, as `git cat-file --batch-check` describes it.
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
/// Returns an error if the line has another form, as it does if the object is missing.
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
