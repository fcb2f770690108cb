//! `bottle`: the shell around `bottle-core`.
//!
//! Everything here touches the host. The way of a byte is in [`keeper`]; the way of a request in
//! [`proxy`]; the way of a command in [`commands`].
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod args;
pub mod beneath;
pub mod commands;
pub mod config;
pub mod confine;
pub mod defence;
pub mod failure;
pub mod git;
pub mod http;
pub mod keeper;
pub mod keys;
pub mod out;
pub mod preflight;
pub mod process;
pub mod proxy;
pub mod resolve;
pub mod rules;
pub mod smolvm;
pub mod starter;
pub mod state;
pub mod step;
pub mod supervise;
pub mod trust;
pub mod verify;
pub mod workspace;
