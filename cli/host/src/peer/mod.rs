//! Who is at the other end of a Unix socket: which process, and whether it is the machine's.
//!
//! A user says nothing: started by root, smolvm gives machines users from 2000000 up, and so does
//! whoever hands out subordinate users. A number of a process says nothing either, for it is given
//! again. A process is its number and the time of its start.

mod machine;
mod process;
mod socket;
#[cfg(test)]
mod tests;

pub use machine::{Extent, Machine, Named};
pub use process::Process;
pub use socket::Peer;
