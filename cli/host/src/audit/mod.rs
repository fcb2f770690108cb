//! The audit log: one JSON line per decision, chained to the line before it by a hash.
//!
//! There are two logs. The operator's decisions are in a log of their own ([`decisions`]), and are written
//! before they take effect. The decisions of bottle's parts are in the other log, which is rotated; what a
//! guest causes there again and again is counted ([`counted`]). That log has its own writer thread behind a
//! bounded queue, so that no decision about a request waits for a disk. Lines that do not fit are counted,
//! and the next line says how many were lost.

mod bucket;
mod check;
mod continued;
mod counted;
mod decisions;
mod entry;
mod handle;
mod log;
mod read;
mod repeated;
mod segments;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use bucket::Bucket;
pub use check::{Chain, Checked, check};
pub use continued::Gone;
pub use decisions::decided;
pub use entry::{Entry, millis, now_ms, time};
pub use handle::{Audit, UNRECORDED};
pub use read::{Line, Merged};
