//! What was fetched, by its digest.
//!
//! `blobs/` holds whole parts whose digest was checked, `partial/` parts that are being fetched or whose fetching
//! broke off, and `archives/` what smolvm reads. Whoever uses the store holds its lock with others, and whoever
//! removes from it what is right holds the lock alone. The kernel releases a lock when its process ends, however it
//! ends.

mod draft;
#[cfg(test)]
pub(crate) mod fixture;
mod folder;
mod partial;

pub use draft::Draft;
pub(crate) use folder::hashed;
pub use folder::{Item, Store, digest_from, digest_of};
pub use partial::Partial;
