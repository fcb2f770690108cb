//! `bottle`: the command.
//!
//! [`args`] is the command line, [`config`] reads `bottle.toml`, [`trust`] asks whether a guest could have
//! written it, [`resolve`] turns it into a plan, and [`commands`] has one file for each subcommand.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod args;
pub mod commands;
pub mod config;
pub mod resolve;
pub mod trust;
