//! What a person sees and decides, at a glance: a local page, and the same smaller in a terminal.
//!
//! [`desk`] is the interface to the command, which implements it with the functions below its subcommands.
//! [`page`] serves it to one browser, and [`watch`] draws it in a terminal. [`book`] keeps what both show of a
//! log, bounded whatever a guest writes there.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod book;
pub mod desk;
pub mod page;
pub mod watch;
