//! What whoever waits for an image is told.

/// Whoever wants to know how far a pull is.
pub trait Progress {
    /// Something has begun: "fetching layer 2 of 5".
    fn step(&self, what: &str);
    /// So many of so many bytes of the whole image are here.
    fn bytes(&self, done: u64, of: u64);
    /// Something went wrong and is tried again.
    fn again(&self, why: &str);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _: &str) {}
    fn bytes(&self, _: u64, _: u64) {}
    fn again(&self, _: &str) {}
}
