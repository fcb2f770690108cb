//! Proof that a bottle isolates.
//!
//! [`environment`] defines the vocabulary in which everything else is written. Guests are real ones, which
//! [`outer`] boots where there is no KVM, or [`stand_in`], which replaces the virtual machine with a network
//! namespace for fast tests of everything else.
//!
//! [`demo`] and [`life`] show a real guest. [`conformance`] judges what a guest reaches, and [`ways_back`]
//! attacks the host with what comes back from one. [`compare`] measures, and [`soak`] looks for faults that
//! take an hour to show. [`assembly`] builds networks with walls removed, for the check and the comparison.

pub mod agents;
pub mod assembly;
pub mod builds;
pub mod checkout;
pub mod compare;
pub mod conformance;
pub mod demo;
pub mod environment;
pub mod examples;
pub mod https_server;
pub mod life;
pub mod outer;
pub mod package_registry;
pub mod page;
pub mod parent_proxy;
pub mod processes;
pub mod real_proxy;
pub mod registry;
pub mod scale;
pub mod schema;
pub mod soak;
pub mod stand_in;
pub mod terminal;
pub mod ways_back;
