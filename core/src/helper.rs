//! The paths in the guest of the helper, of what lies beside it, and of the socket that leads to the keeper.

/// The folder that contains the helper.
pub const HELPER_DIR: &str = "/opt/bottle";

/// The helper itself.
pub const HELPER: &str = "/opt/bottle/bottle-guest";

/// The socket that leads to the keeper.
pub const GUEST_SOCKET: &str = "/run/bottle.sock";

/// Where the guest sees the files that an agent finds in its home folder.
pub const SEED_DIR: &str = "/opt/bottle/seed";

/// Where the guest sees the guide to its sandbox, for the agent to read.
pub const GUIDE: &str = "/opt/bottle/GUIDE.md";

/// Where the guest sees the variables of its command, each as `NAME=VALUE` with a NUL after it, if they were not known
/// when its machine was made.
pub const VARIABLES: &str = "/opt/bottle/variables";

/// Where the project is in the guest.
pub const WORKSPACE: &str = "/workspace";
