//! The guard's policy, stated a second time: with another parser, as plainly as it can be said.
//!
//! [`policy`] shares nothing with the guard's code: it knows a bottle as five addresses and a list
//! of ports, and reads frames with `etherparse`. [`compare`] asks both about a frame and panics
//! where they disagree, or where a reply is not what a reply must be. Property tests and the
//! fuzzer call it.

pub mod compare;
pub mod frames;
pub mod policy;
