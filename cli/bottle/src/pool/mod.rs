//! Runs that start from a machine which is up already: `[pool] warm` in a person's own defaults.
//!
//! [`fit`] says which bottles can, [`taken`] makes a machine of the pool one of them, and [`furnish`] gives it what a
//! fresh machine would have had from the start. [`ask`] says what to keep ready; [`warmer`] is the process that does,
//! with [`boot`] for one machine and [`judge`] for when one has waited enough. [`shown`] is what a person sees of it,
//! and [`left`] what a crash left behind. What is on disk is in
//! [`bottle_host::pool`].

pub mod ask;
pub mod boot;
pub mod fit;
pub mod furnish;
pub mod judge;
pub mod left;
pub mod shown;
pub mod taken;
pub mod warmer;
