//! Folders from which nothing leads out, even while somebody else changes their contents.
//!
//! A [`Folder`] is a descriptor. Everything below it is reached one name at a time, from a descriptor of the
//! folder that contains it, and no link on the way is followed. Where the system can resolve several names in
//! one call and refuse links itself (`openat2` on Linux), that call is used. What was examined is what is
//! acted upon, because both use the same descriptor. Only [`Folder::open`] takes a path as a person wrote it.

mod folder;
mod holes;
mod meta;
mod remove;
mod walk;

pub use folder::{Folder, Links, set_mode};
pub use holes::data;
pub use meta::{Kind, MODE, Meta, moment};
pub use remove::remove_all;
pub use walk::{Limits, Seen, Visitor, walk, walk_on, walk_together};
