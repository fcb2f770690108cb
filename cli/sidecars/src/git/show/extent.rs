//! How much of a push is shown.

/// The limits on what is shown.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The largest file that is compared line by line, in bytes.
    pub(super) file: u64,
    /// The total length of the text, in bytes.
    pub(super) text: usize,
    /// The number of entries that are examined.
    pub(super) entries: usize,
}

impl Extent {
    /// What a person usually reads.
    pub const USUAL: Self = Self { file: 1 << 20, text: 1 << 20, entries: 5000 };
    /// As much as possible.
    pub const ALL: Self = Self { file: 32 << 20, text: 256 << 20, entries: 1_000_000 };
}
