//! Whether an archive is still what was written.

use super::write::{config_name, layer_name, manifest, stays_packed};
use crate::manifest::{self as parsed, Image, Platform};
use crate::store::{Store, digest_from, digest_of, hashed};
use bottle_core::text::ImageDigest;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The unit of a tar's lengths.
const BLOCK: u64 = 512;

/// Returns whether an archive has every file that its headers announce, and its end. Only the headers are read, so a
/// change inside a file is not seen.
pub fn is_whole(path: &Path) -> bool {
    File::open(path).and_then(|file| ends_as_announced(&file)).is_ok_and(|is| is)
}

impl Store {
    /// Returns whether an image's archive is there as a whole, as far as that is seen without reading all of it: one
    /// that was cut off or replaced is not. [`pull`](crate::pull()) and
    /// [`archive::restore`](crate::archive::restore) write it again.
    pub fn has_archive(&self, digest: &ImageDigest) -> bool {
        is_whole(&self.archive(digest))
    }
}

/// Returns whether an image's archive is what [`write`](super::write) makes of it. All of it is read.
pub fn is_right(store: &Store, digest: &ImageDigest, image: &Image) -> bool {
    let path = store.archive(digest);
    is_whole(&path) && File::open(&path).and_then(|file| has_all(file, image)).is_ok_and(|is| is)
}

fn ends_as_announced(file: &File) -> io::Result<bool> {
    let whole = file.metadata()?.len();
    let (mut at, mut block) = (0_u64, [0; 512]);
    loop {
        file.read_exact_at(&mut block, at)?;
        if block.iter().all(|byte| *byte == 0) {
            file.read_exact_at(&mut block, at + BLOCK)?;
            return Ok(at > 0 && whole == at + 2 * BLOCK && block.iter().all(|byte| *byte == 0));
        }
        let length = tar::Header::from_byte_slice(&block).entry_size()?;
        let next = length.checked_next_multiple_of(BLOCK).and_then(|length| at.checked_add(BLOCK + length));
        match next {
            Some(next) if next < whole => at = next,
            _ => return Ok(false),
        }
    }
}

/// Returns whether an archive has an image's configuration and its layers, each with its digest.
fn has_all(file: File, image: &Image) -> io::Result<bool> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut entries = archive.entries()?;
    let mut next = |name: &str, length: Option<u64>| -> io::Result<Option<_>> {
        let Some(entry) = entries.next().transpose()? else { return Ok(None) };
        let is_it =
            entry.path_bytes() == name.as_bytes() && length.is_none_or(|length| entry.size() == length);
        Ok(is_it.then_some(entry))
    };
    let list = manifest(image).to_string();
    let mut bytes = Vec::new();
    let Some(mut entry) = next("manifest.json", Some(list.len() as u64))? else { return Ok(false) };
    entry.read_to_end(&mut bytes)?;
    if bytes != list.as_bytes() {
        return Ok(false);
    }
    let Some(mut entry) = next(&config_name(image), Some(image.config.size))? else { return Ok(false) };
    bytes.clear();
    entry.read_to_end(&mut bytes)?;
    let Ok(unpacked) = parsed::unpacked(&bytes, image, Platform::here()) else { return Ok(false) };
    if digest_of(&bytes) != image.config.digest {
        return Ok(false);
    }
    let (packed, mut seen) = (stays_packed(image), BTreeSet::new());
    for (layer, unpacked) in image.layers.iter().zip(&unpacked) {
        let part = &layer.part.digest;
        if !seen.insert(part) {
            continue;
        }
        let Some(mut entry) = next(&layer_name(part), packed.then_some(layer.part.size))? else {
            return Ok(false);
        };
        if digest_from(hashed(&mut entry)?.0) != *(if packed { part } else { unpacked }) {
            return Ok(false);
        }
    }
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Inside, write};
    use crate::manifest::{Layer, Packing, Part};
    use bottle_host::state::Home;
    use serde_json::json;
    use std::fs;

    fn put(store: &Store, bytes: &[u8]) -> Part {
        let digest = digest_of(bytes);
        store.put(&digest, bytes).unwrap();
        Part { digest, size: bytes.len() as u64 }
    }

    #[test]
    fn an_archive_that_was_changed_is_not_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
        drop(store.lease().unwrap());
        let layers = [b"one".repeat(400), b"two".repeat(400)];
        let inside = layers.each_ref().map(|bytes| Inside { digest: digest_of(bytes), length: 1200 });
        let config = json!({ "os": "linux", "architecture": Platform::here().architecture,
            "rootfs": { "diff_ids": inside.each_ref().map(|inside| &inside.digest) } });
        let config = put(&store, config.to_string().as_bytes());
        for packing in [Packing::Plain, Packing::Gzip] {
            let layers = layers.iter().map(|bytes| Layer { part: put(&store, bytes), packing }).collect();
            let image = Image { config: config.clone(), layers };
            write(&store, &config.digest, &image, &inside).unwrap();
            let path = store.archive(&config.digest);
            let right = fs::read(&path).unwrap();
            let is = |bytes: &[u8]| {
                fs::remove_file(&path).unwrap();
                fs::write(&path, bytes).unwrap();
                (store.has_archive(&config.digest), is_right(&store, &config.digest, &image))
            };
            assert_eq!(is(&right), (true, true));
            for cut in (0..right.len()).step_by(100).chain([right.len() - 1, right.len() - 1024]) {
                assert_eq!(is(&right[..cut]), (false, false), "{cut} bytes of {}", right.len());
            }
            assert_eq!(is(&[&right[..], b"x"].concat()), (false, false));
            assert_eq!(is(&vec![0; right.len()]), (false, false));
            // A byte in each file of it: headers and contents take turns.
            let place = right.windows(3).position(|bytes| bytes == b"two").unwrap();
            for at in [600, 1600, place] {
                let mut flipped = right.clone();
                flipped[at] ^= 1;
                assert_eq!(is(&flipped), (true, false), "byte {at}");
            }
            assert_eq!(is(&right), (true, true));
        }
        assert!(!store.has_archive(&digest_of(b"none")));
    }
}
