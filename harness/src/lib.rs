//! Proof that a bottle holds.
//!
//! [`outer`] boots real guests where there is no KVM, [`stand_in`] replaces the virtual machine by
//! a network namespace for fast tests of everything else, [`demo`] shows the main job,
//! [`conformance`] judges what a guest reaches, [`compare`] measures, [`soak`] looks for what an hour
//! shows and a minute does not, [`ways_back`] attacks the host with what comes back from a guest.

pub mod compare;
pub mod conformance;
pub mod demo;
pub mod ground;
pub mod life;
pub mod outer;
pub mod page;
pub mod parts;
pub mod place;
pub mod processes;
pub mod secure;
pub mod soak;
pub mod stand_in;
pub mod ways_back;
