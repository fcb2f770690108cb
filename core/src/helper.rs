//! Where the guest finds the helper and the socket that leads to the keeper.

/// The folder that holds the helper.
pub const HELPER_DIR: &str = "/opt/bottle";

/// The helper itself.
pub const HELPER: &str = "/opt/bottle/bottle-guest";

/// The socket that leads to the keeper.
pub const GUEST_SOCKET: &str = "/run/bottle.sock";
