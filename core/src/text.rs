//! Strings that reach a file, a command line or a guest, checked where they enter.
//!
//! Each type refuses what its destination cannot hold, so that a renderer never has to change or reject
//! a value.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// Why a string is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// The value is empty.
    #[error("must not be empty")]
    Empty,
    /// The value contains a NUL byte, which no argument and no environment variable can.
    #[error("must not contain a NUL character")]
    Nul,
    /// A shell could not set an environment variable of this name.
    #[error("must be a letter or '_', then letters, digits or '_'")]
    EnvName,
    /// The path is not absolute.
    #[error("must be an absolute path")]
    NotAbsolute,
    /// The value contains a character that smolvm's `HOST:GUEST` form or a terminal would misread.
    #[error("must not contain {0:?}")]
    Character(char),
    /// The image reference would be read as an option.
    #[error("must not start with '-'")]
    LeadingHyphen,
    /// The digest has another form, or is of another kind.
    #[error("must be `sha256:` and 64 hexadecimal digits")]
    Digest,
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[$doc])*
        pub struct $name(String);

        impl $name {
            /// Returns the value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                let check: fn(&str) -> Result<(), InvalidText> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// A command's argument or an environment variable's value: anything without NUL.
    Word,
    |text| if text.contains('\0') { Err(InvalidText::Nul) } else { Ok(()) }
);

checked_text!(
    /// An environment variable's name that POSIX shells accept.
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[A-Za-z_][A-Za-z0-9_]*$")))]
    EnvName,
    |text| {
        let mut chars = text.chars();
        let first = chars.next().ok_or(InvalidText::Empty)?;
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if first.is_ascii_digit() || !name(first) || !chars.all(name) {
            return Err(InvalidText::EnvName);
        }
        Ok(())
    }
);

checked_text!(
    /// One side of a `HOST:GUEST` pair: an absolute path without `:` or control characters.
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = "^/[^:]*$")))]
    MountPath,
    |text| {
        if !text.starts_with('/') {
            return Err(InvalidText::NotAbsolute);
        }
        match text.chars().find(|&c| c == ':' || c.is_control()) {
            Some('\0') => Err(InvalidText::Nul),
            Some(c) => Err(InvalidText::Character(c)),
            None => Ok(()),
        }
    }
);

checked_text!(
    /// The image that a guest boots from: a registry reference, a `docker save` archive or a root folder.
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[^-]")))]
    ImageRef,
    |text| {
        if text.is_empty() {
            return Err(InvalidText::Empty);
        }
        if text.starts_with('-') {
            return Err(InvalidText::LeadingHyphen);
        }
        match text.chars().find(|c| c.is_control()) {
            Some('\0') => Err(InvalidText::Nul),
            Some(c) => Err(InvalidText::Character(c)),
            None => Ok(()),
        }
    }
);

checked_text!(
    /// The SHA-256 of an image's manifest or of one of its parts, as registries write it.
    #[cfg_attr(feature = "schema", schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$")))]
    ImageDigest,
    |text| match text.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) => Ok(()),
        _ => Err(InvalidText::Digest),
    }
);

impl ImageDigest {
    /// Returns the 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}
