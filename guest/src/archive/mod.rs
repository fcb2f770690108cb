//! Sends files over a stream as a tar archive, for both ends of `bottle cp`.
//!
//! [`pack`] is the same on both ends: it lists a tree by descriptors, and packs only folders, files and
//! links. [`unpack`] follows its [`Rules`]. In the guest they are lenient, because the files are a person's
//! own. On the host the files are a guest's, and bottle trusts nothing about them: not their names, kinds or
//! sizes.

mod entries;
mod name;
mod pack;
mod sparse;
mod unpack;

pub use entries::{Attributes, Item, each};
pub use name::{Refused, destination, stays_inside};
pub use pack::{NEITHER, pack, pack_from, split};
pub use sparse::Content;
pub use unpack::{Leave, LeftOut, Limits, NOTHING, Names, Rules, TooLarge, Unpacked, unpack};

/// Marks the following path as hexadecimal: a virtual machine monitor may only pass on text.
pub const HEX: &str = "--hex";
