//! The pool: machines that have started, belong to nobody, and wait to become one bottle each.
//!
//! ```text
//!   held by the warmer -> waits -> held by a run -> removed
//!            |             |
//!            '-------------'--> removed
//! ```
//!
//! Each machine is an [`Entry`] on disk. Whoever decides about one has its [`Claim`]: a file that only one process can
//! make, locked for as long as that process lives. A claim is never given back, so a machine becomes one bottle at
//! most, and a claim whose process has died says that the machine is to be removed. [`Shape`] is what machines are
//! alike in, and [`Wanted`] which shapes are kept ready.

mod claim;
mod entry;
mod memory;
mod shape;
mod wanted;

pub use claim::{Claim, Standing};
pub use entry::{Booted, Entry, Record};
pub use memory::Pressure;
pub use shape::{Image, Program, Shape};
pub use wanted::{MOST, Wanted, has_warmer, lock_warmer};

use std::time::Duration;

/// How long a machine may wait. Whatever its image does meanwhile ends with it.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Returns how long a machine may wait. In a debug build, a test can shorten it.
pub fn longest() -> Duration {
    #[cfg(debug_assertions)]
    if let Some(seconds) = std::env::var("BOTTLE_POOL_SECONDS").ok().and_then(|text| text.parse().ok()) {
        return Duration::from_secs(seconds);
    }
    LONGEST
}
