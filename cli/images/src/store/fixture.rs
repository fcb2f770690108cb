//! What tests of stores begin with.

use super::{Store, digest_of};
use bottle_core::text::ImageDigest;
use bottle_host::state::Home;
use tempfile::TempDir;

/// Returns an empty store in a folder.
pub fn store(dir: &TempDir) -> Store {
    let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
    drop(store.lease().unwrap());
    store
}

/// Puts a part into a store.
pub fn put(store: &Store, bytes: &[u8]) -> ImageDigest {
    let digest = digest_of(bytes);
    store.put(&digest, bytes).unwrap();
    digest
}
