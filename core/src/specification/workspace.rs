//! The project's folder, as a guest has it.

pub use crate::helper::WORKSPACE;

use crate::text::MountPath;
use alloc::string::String;
use alloc::vec::Vec;

/// What the guest has of the project's folder, at [`WORKSPACE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workspace {
    /// Nothing.
    None,
    /// The folder itself.
    Shared {
        /// The folder on the host.
        host: MountPath,
        /// Whether the guest may change it.
        writable: bool,
    },
    /// A copy of its own. `bottle diff` shows what the guest changed in it, `bottle apply` takes it back.
    Copy {
        /// The folder that is copied when the bottle is made.
        of: MountPath,
        /// Patterns of what is not copied, as in a `.gitignore`.
        exclude: Vec<String>,
    },
}

/// The user that a machine's process runs as. smolvm decides, unless it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineUser {
    /// smolvm's choice: a user of the machine's own if root starts it, otherwise whoever starts it.
    Smolvms,
    /// Root, which starts it: no other user could write the folders that the guest shares with it.
    Root,
}
