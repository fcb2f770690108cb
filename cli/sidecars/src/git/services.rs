//! The services of git's smart protocol that git-gate serves. It serves nothing else.

/// The service for fetches.
pub const UPLOAD_PACK: &str = "git-upload-pack";
/// The service for pushes.
pub const RECEIVE_PACK: &str = "git-receive-pack";
/// The list of refs, which a client requests before either service.
pub const REFS: &str = "info/refs";
