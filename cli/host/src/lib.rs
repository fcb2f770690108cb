//! The host side of a bottle: what commands and daemons need from the machine that they run on.
//!
//! [`state`] knows where a bottle's files are, and locks them. [`tools`] finds the programs that a bottle
//! needs, [`smolvm`] drives the virtual machine monitor, [`proxies`] knows the ways to the internet, and [`confine`]
//! removes rights from a process.
//! [`audit`] is the log. [`control`] defines the requests of commands to a keeper, and [`starter`] what a
//! keeper may have started. [`workspace`] is a guest's copy of the project, and [`provenance`] records which
//! folders guests could write to. [`terminal`] gives the operator's terminal back as it was. [`pool`] has machines that
//! wait for a bottle. [`usage`] is what a machine takes of this one, and [`process_tree`] finds its
//! processes. All output goes through [`out`], and has one format for programs, [`envelope`].
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod audit;
pub mod beneath;
pub mod confine;
pub mod control;
pub mod defence;
pub mod difference;
pub mod digest;
pub mod envelope;
pub mod fail_point;
pub mod failure;
pub mod notify;
pub mod out;
pub mod peer;
pub mod pool;
pub mod process;
pub mod process_tree;
pub mod provenance;
pub mod proxies;
pub mod pty;
pub mod random;
pub mod rules;
pub mod services;
pub mod smolvm;
pub mod starter;
pub mod state;
pub mod terminal;
pub mod tools;
pub mod trial;
pub mod usage;
pub mod workspace;
