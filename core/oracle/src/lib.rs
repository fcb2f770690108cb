//! The guard's policy, written a second time, with another parser and as plainly as possible.
//!
//! [`policy`] shares nothing with the guard's code: it knows a bottle as five addresses and a list of
//! ports, and reads frames with `etherparse`. [`compare`] asks both about a frame and panics if they
//! disagree or if a reply is wrong. Property tests and the fuzzer call it.

pub mod compare;
pub mod frames;
pub mod policy;
