//! Who is at the other end of a Unix socket: which process, and whether it belongs to the machine.
//!
//! A user id proves nothing: when root starts smolvm, its machines get ids from 2000000 up, and others hand
//! out such subordinate ids, too. A process number proves nothing either, because numbers are reused. A
//! process is identified by its number together with its start time.

mod machine;
mod process;
mod socket;
#[cfg(test)]
mod tests;

pub use machine::{Extent, Machine, Named};
pub use process::Process;
pub use socket::Peer;
