//! Paths in JSON, whatever bytes they contain. A UTF-8 path is its own text. Any other path is a NUL
//! character, which no path contains, followed by its bytes in hexadecimal.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Serializes a path.
pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    Text::of(path).serialize(to)
}

/// Deserializes a path.
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

    /// Returns the path, or `None` if this is not the text of a path.
    pub fn path(&self) -> Option<PathBuf> {
        let Some(hex) = self.0.strip_prefix('\0') else { return Some((*self.0).into()) };
        let pairs = hex.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        Some(OsString::from_vec(bytes.collect::<Option<Vec<u8>>>()?).into())
    }
}
