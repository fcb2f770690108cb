//! Paths in JSON, whatever bytes they have. One that is UTF-8 is its text. Any other is a zero character, which
//! no path contains, and its bytes in hexadecimal.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Writes a path.
pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    Text::of(path).serialize(to)
}

/// Reads a path.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Text::deserialize(from)?.path().ok_or_else(|| D::Error::custom("it is not a path"))
}

/// A path as JSON text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// Returns the text of a path.
    pub fn of(path: &'a Path) -> Self {
        Self(path.to_str().map_or_else(
            || {
                let bytes = path.as_os_str().as_bytes().iter();
                Cow::Owned(
                    std::iter::once("\0".to_owned()).chain(bytes.map(|b| format!("{b:02x}"))).collect(),
                )
            },
            Cow::Borrowed,
        ))
    }

    /// Returns the path, if this is one's text.
    pub fn path(&self) -> Option<PathBuf> {
        let Some(hex) = self.0.strip_prefix('\0') else { return Some((*self.0).into()) };
        let pairs = hex.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        Some(OsString::from_vec(bytes.collect::<Option<Vec<u8>>>()?).into())
    }
}
