//! `bottle`: the command.
//!
//! [`args`] is the command line. [`config`] reads `bottle.toml`, [`trust`] asks whether a guest could have
//! written it, and [`resolve`] turns it into a plan. [`agent`] knows what agents need, and [`image`] finds a
//! bottle's image. [`lifecycle`] has the states of a bottle and the steps between them, [`pool`] has machines ready for a
//! run, [`job`] keeps a run's results, [`ended`] says how a command ended, and [`commands`] one file for each subcommand.
//! [`printed`] says which of them print for programs. [`desk`] is what a
//! person sees and decides, for commands and for the page alike, [`verification`] finds out what a bottle can
//! reach, and [`explain`] has a paragraph for each reason and status. [`suggest`] guesses which name a misspelt one
//! was meant to be, and
//! [`command_line`] does the same for a whole line. [`devcontainer`] reads what `bottle init` takes over.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;
pub mod args;
pub mod authorities;
pub mod command_line;
pub mod commands;
pub mod complete;
pub mod config;
pub mod describe;
pub mod desk;
pub mod devcontainer;
pub mod ended;
pub mod explain;
pub mod image;
pub mod job;
pub mod layer;
pub mod lifecycle;
pub mod made_from;
pub mod operator;
pub mod output;
pub mod owner;
pub mod pool;
pub mod printed;
pub mod progress;
pub mod publish;
pub mod resolve;
pub mod schema;
pub mod suggest;
pub mod time;
pub mod trust;
pub mod verification;
