//! A value with its place in the file.

use serde::{Deserialize, Deserializer};
use std::ops::Range;

/// A value of `bottle.toml` that knows where it was written.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    span: Range<usize>,
    value: T,
}

impl<T> Spanned<T> {
    /// Puts a value at a place.
    pub fn new(span: Range<usize>, value: T) -> Self {
        Self { span, value }
    }

    /// Returns the bytes of the file that it was read from.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns the value.
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::deserialize(deserializer)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}
