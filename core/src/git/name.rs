//! Names that come from a push or from a repository: object ids and refs.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// The id of an object: SHA-1's 40 digits or SHA-256's 64, in lower case. It is never git's null id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ObjectId(String);

/// Text that is not an object id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a complete object id (40 or 64 digits 0-9a-f)")]
pub struct InvalidObjectId;

/// Returns whether this is git's null id, of either length. It stands for no object.
pub fn is_null_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte == b'0')
}

impl ObjectId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the null id of the same length.
    pub fn null(&self) -> &'static str {
        const NULL: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        &NULL[..self.0.len()]
    }

    /// Returns the id of the empty tree in a repository with the same hash. Git knows that object
    /// without storing it.
    pub fn empty_tree(&self) -> &'static str {
        if self.0.len() == 40 {
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        } else {
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        }
    }

    /// Returns the name of the hash in git's configuration.
    pub fn format(&self) -> &'static str {
        if self.0.len() == 40 { "sha1" } else { "sha256" }
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    fn from_str(text: &str) -> Result<Self, InvalidObjectId> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if matches!(text.len(), 40 | 64) && digits && !is_null_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidObjectId)
        }
    }
}

impl TryFrom<String> for ObjectId {
    type Error = InvalidObjectId;

    fn try_from(text: String) -> Result<Self, InvalidObjectId> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest ref name that git-gate follows, in bytes.
const LONGEST: usize = 1024;
/// The longest ref name that a guest may push, in bytes, and the longest part of one. A file system has
/// room for 255 bytes in a part, and git adds `.lock`.
const LONGEST_PUSHED: usize = 200;

/// Returns whether git itself would accept this as the full name of a ref (`git check-ref-format`).
pub fn is_ref(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.len() <= 240 && !part.starts_with('.') && !part.ends_with(".lock")
    };
    name.len() <= LONGEST
        && name.starts_with("refs/")
        && name.split('/').all(part)
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains([' ', '~', '^', ':', '?', '*', '[', '\\'])
        && !name.chars().any(char::is_control)
}

/// Returns whether a guest may choose this name for a ref. This is stricter than git, because a person
/// reads the name and copies it into command lines, and it may become a file on a system that folds case.
/// A name may have ASCII letters, digits and `-_.+/#@=,%`. No part may start with `-`, `#`, `@` or `%`, or
/// end with a dot or, in upper or lower case, with `.lock`.
pub fn is_pushable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+/#@=,%".contains(c);
    let part = |part: &str| {
        !part.starts_with(['-', '#', '@', '%'])
            && !part.ends_with('.')
            && !part.to_ascii_lowercase().ends_with(".lock")
    };
    is_ref(name) && name.len() <= LONGEST_PUSHED && name.chars().all(plain) && name.split('/').all(part)
}
