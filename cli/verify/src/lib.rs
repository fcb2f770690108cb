//! Tests, from the host and from inside, what a bottle's guest can reach.
//!
//! `bottle verify` tests a user's own running bottle. The conformance harness tests every network that it
//! judges, and adds tests that would disturb an agent. "Reached" means the same in both. What the guest says
//! is only its word ([`talk`], [`judge`]); what the host sees is in [`host`].
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod canaries;
mod fits;
pub mod host;
pub mod judge;
pub mod questions;
pub mod report;
pub mod scope;
pub mod talk;
