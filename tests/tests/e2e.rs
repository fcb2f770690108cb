//! The command as a user runs it, with stand-in guests. One program for all tests links once, and no test waits for those of
//! another file.
//!
//! Each test has an environment of its own. A test that needs namespaces of its own, or their processes,
//! runs itself again there (`bottle_tests::alone`). No test changes this process.

mod agents;
mod audit;
mod cases;
mod clients;
mod confine;
mod conformance;
mod copy;
mod crash;
mod day;
mod docs;
mod git_gate;
mod images;
mod input;
mod job;
mod lifecycle;
mod load;
mod login;
mod notify;
mod outputs;
mod ownership;
mod parent;
mod pool;
mod provenance;
mod repositories;
mod run;
mod running;
mod setup;
mod shown;
mod smolfile;
mod soak;
mod sockets;
mod ssh;
mod supervise;
mod terminal;
mod ui;
mod upstream;
mod verify;
mod watch;
mod workspace;
