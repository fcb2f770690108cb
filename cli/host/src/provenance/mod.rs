//! Where host files come from: the folders that guests could write to, and everything that a path leads
//! through.

pub mod walk;
pub mod writable;
