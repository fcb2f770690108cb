//! What in the store is needed, and what can go.

use crate::manifest::{self, Document, Platform};
use crate::store::{Item, Store};
use anyhow::Result;
use bottle_core::text::ImageDigest;
use std::collections::BTreeSet;
use std::fs;

/// Removes everything from the store that none of these images needs, and returns how many bytes that freed.
/// Whoever calls this holds the store's lock alone.
///
/// # Errors
/// Returns an error if a file cannot be removed.
pub fn only(store: &Store, images: &BTreeSet<ImageDigest>) -> Result<u64> {
    let needed = needed(store, images);
    let mut freed = 0;
    for item in store.items()?.into_iter().filter(|item| !is_needed(item, images, &needed)) {
        fs::remove_file(&item.path)?;
        freed += item.size;
    }
    Ok(freed)
}

/// Returns the parts of these images, their manifests among them.
fn needed(store: &Store, images: &BTreeSet<ImageDigest>) -> BTreeSet<ImageDigest> {
    let mut needed = images.clone();
    for bytes in images.iter().filter_map(|digest| store.document(digest)) {
        if let Ok(Document::Image(image)) = manifest::parse(&bytes, Platform::here()) {
            needed.extend(image.parts().map(|part| part.digest.clone()));
        }
    }
    needed
}

/// Returns whether an item stays. What is not whole never does: nobody is fetching it now.
fn is_needed(item: &Item, images: &BTreeSet<ImageDigest>, parts: &BTreeSet<ImageDigest>) -> bool {
    let among = if item.is_archive { images } else { parts };
    item.digest.as_ref().is_some_and(|digest| among.contains(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::digest_of;
    use bottle_host::state::Home;
    use serde_json::json;

    fn put(store: &Store, bytes: &[u8]) -> ImageDigest {
        let digest = digest_of(bytes);
        store.put(&digest, bytes).unwrap();
        digest
    }

    fn image(store: &Store, config: &[u8], layer: &[u8]) -> ImageDigest {
        let part = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": put(store, bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "config": part("application/vnd.oci.image.config.v1+json", config),
            "layers": [part("application/vnd.oci.image.layer.v1.tar", layer)],
        });
        let digest = put(store, manifest.to_string().as_bytes());
        store.put_archive(&digest, |_| anyhow::Ok(())).unwrap();
        digest
    }

    #[test]
    fn what_a_kept_image_needs_stays_and_everything_else_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
        drop(store.lease().unwrap());
        let kept = image(&store, b"{1}", b"shared layer");
        let gone = image(&store, b"{2}", b"shared layer");
        fs::write(store.root().join("partial").join("a".repeat(64)), b"half").unwrap();
        fs::write(store.root().join("archives").join(format!(".{}.1", kept.hex())), b"draft").unwrap();
        assert_eq!(store.items().unwrap().len(), 3 + 2 + 2 + 2);
        let freed = only(&store, &BTreeSet::from([kept.clone()])).unwrap();
        assert!(freed > 0);
        assert_eq!(store.items().unwrap().len(), 4);
        assert!(store.archive(&kept).exists() && store.has(&digest_of(b"shared layer")));
        assert!(!store.archive(&gone).exists() && !store.has(&gone));
        only(&store, &BTreeSet::new()).unwrap();
        assert!(store.items().unwrap().is_empty());
    }
}
