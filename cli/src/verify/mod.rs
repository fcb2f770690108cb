//! What a guest is asked to try, and what its answers mean.
//!
//! `bottle verify` asks a user's own running bottle; the conformance harness asks every network
//! that it judges, and adds what would disturb an agent. Both mean the same by "reached".

pub mod canaries;
pub mod judge;
pub mod questions;
pub mod scope;
pub mod talk;
