//! The audit log: one JSON line for each decision, each chained to the one before it by a hash.
//!
//! There are two. What an operator decided is in a log of its own ([`decisions`]), and is there
//! before the decision acts. What bottle's parts decide is in the other, which grows and is rotated;
//! what a guest causes there again and again is counted ([`counted`]). It is written on a thread of
//! its own behind a bounded queue, so that a decision about a request never waits for a disk. What
//! does not fit is counted, and the count is the next line.

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
#[cfg(test)]
mod tests;
mod writer;

pub use check::{Chain, check};
pub use continued::Gone;
pub use decisions::decided;
pub use entry::{Entry, millis, time};
pub use handle::{Audit, UNRECORDED};
pub use read::{Line, Merged};
