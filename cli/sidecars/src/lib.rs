//! The built-in sidecars: the programs behind a bottle's doors.
//!
//! [`http`] serves a door within limits. [`egress`] is the egress proxy, the sidecar called `pipelock`, and
//! [`keys`] is the process that holds the keys of its upstreams. [`git`] is git-gate. [`supervise`] passes
//! the agent's requests to its operator. [`tls`] is what connections trust.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod egress;
pub mod git;
pub mod http;
pub mod keys;
mod splice;
pub mod supervise;
pub mod tls;
