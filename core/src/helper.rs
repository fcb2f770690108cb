//! The paths in the guest of the helper and of the socket that leads to the keeper.

/// The folder that contains the helper.
pub const HELPER_DIR: &str = "/opt/bottle";

/// The helper itself.
pub const HELPER: &str = "/opt/bottle/bottle-guest";

/// The socket that leads to the keeper.
pub const GUEST_SOCKET: &str = "/run/bottle.sock";
