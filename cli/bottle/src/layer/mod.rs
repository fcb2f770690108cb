//! A setup whose results are kept in an image: it runs once, in a machine that has no project and is used for nothing
//! else, and later machines start from what it made.
//!
//! [`key`] says what the result depends on, [`machine`] runs the commands, and [`take`] reads what comes back. A guest
//! wrote that, so it is copied entry by entry into a layer of our own making, within limits, and nothing of it is
//! unpacked on this machine.

mod key;
pub mod machine;
mod take;

pub use key::{Kept, is_for_image, keep, key};
