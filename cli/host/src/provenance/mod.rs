//! Where host files come from: which folders a guest could write, and what a path leads through.

pub mod walk;
pub mod writable;
