//! Finds what must be present before anything starts: smolvm, a network stack, bubblewrap, KVM, the helper.

mod doctor;
mod find;
mod fix;
mod remedy;
mod toolset;
mod versions;

pub use doctor::{Diagnosis, Finding, Level, Walls};
pub use find::{CAN_JAIL, in_path, virtualization_flag};
pub use remedy::{Need, System};
pub use toolset::{
    Gvproxy, Network, StackBackend, Tools, helper, smolvm, stack, why_no_gvproxy, why_no_jail, why_sockets,
};
