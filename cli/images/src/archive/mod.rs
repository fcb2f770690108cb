//! An image as one file, in the form of `docker save`: what smolvm imports, inside a guest.
//!
//! The same image gives the same bytes. smolvm knows an archive by its hash.

mod check;
mod write;

pub use check::{is_right, is_whole};
pub use write::{Inside, check_length, measure, restore, stays_packed, write};
