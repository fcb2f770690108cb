//! Examines a bottle's walls from the host: makes frames as its guest could send them, and reads what the
//! frames that come back mean.
//!
//! The guest has no part in this: the host makes the frames and judges what became of them. They carry
//! source ports of a [`Block`] of their own, which tells an answer to one of them from an answer to the
//! guest.

mod arrived;
mod block;
mod client;
mod odd;

pub use crate::guard::{Segment, flag};
pub use arrived::{Arrived, What, gives_records};
pub use block::{Block, ranges};
pub use client::Client;
pub use odd::odd;
