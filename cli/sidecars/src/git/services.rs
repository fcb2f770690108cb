//! What git-gate serves: git's smart protocol.

/// Fetches: what a smart client asks for.
pub const UPLOAD_PACK: &str = "git-upload-pack";
/// Pushes.
pub const RECEIVE_PACK: &str = "git-receive-pack";
/// The refs, before either.
pub const REFS: &str = "info/refs";
