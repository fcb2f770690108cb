//! The services of git's smart protocol, which are all that git-gate serves.

/// The service for fetches.
pub const UPLOAD_PACK: &str = "git-upload-pack";
/// The service for pushes.
pub const RECEIVE_PACK: &str = "git-receive-pack";
/// The list of refs, which a client requests before either.
pub const REFS: &str = "info/refs";
