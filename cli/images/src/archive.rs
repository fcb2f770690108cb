//! An image as one file, in the form of `docker save`: what smolvm imports, inside a guest.
//!
//! The same image gives the same bytes. smolvm knows an archive by its hash.

use crate::layer;
use crate::manifest::{Image, Packing};
use crate::store::Store;
use anyhow::{Context, Result, ensure};
use bottle_core::text::ImageDigest;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};

/// Writes an image's archive. `unpacked` has the length of each layer, unpacked.
///
/// # Errors
/// Returns an error if a part is missing, or the archive cannot be written.
pub fn write(store: &Store, digest: &ImageDigest, image: &Image, unpacked: &[u64]) -> Result<()> {
    let packed = stays_packed(image);
    store.put_archive(digest, |file| {
        let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
        let manifest = manifest(image).to_string();
        append(&mut archive, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
        let config = File::open(store.blob(&image.config.digest)).context("the configuration")?;
        append(&mut archive, &config_name(image), image.config.size, config)?;
        let mut written = BTreeSet::new();
        for (layer, unpacked) in image.layers.iter().zip(unpacked) {
            if !written.insert(&layer.part.digest) {
                continue;
            }
            let (path, name) = (store.blob(&layer.part.digest), layer_name(&layer.part.digest));
            let how = if packed { Packing::Plain } else { layer.packing };
            let length = if packed { layer.part.size } else { *unpacked };
            append(&mut archive, &name, length, layer::open(&path, how)?)?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    })
}

/// Returns whether the layers are put into the archive as they were sent. Whoever reads the archive looks at the
/// first layer to see how all of them are compressed, and knows gzip.
fn stays_packed(image: &Image) -> bool {
    image.layers.iter().all(|layer| layer.packing == Packing::Gzip)
}

/// Returns the archive's own list of its content.
fn manifest(image: &Image) -> serde_json::Value {
    let layers: Vec<String> = image.layers.iter().map(|layer| layer_name(&layer.part.digest)).collect();
    json!([{ "Config": config_name(image), "RepoTags": null, "Layers": layers }])
}

fn config_name(image: &Image) -> String {
    format!("{}.json", image.config.digest.hex())
}

fn layer_name(digest: &ImageDigest) -> String {
    format!("{}.tar", digest.hex())
}

/// Adds a file whose length is known, and only if it has that length.
fn append(archive: &mut tar::Builder<impl Write>, name: &str, length: u64, content: impl Read) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    let mut counted = Counted { content: content.take(length), read: 0 };
    archive.append_data(&mut header, name, &mut counted)?;
    ensure!(counted.read == length, "{name} has changed: {} bytes instead of {length}", counted.read);
    Ok(())
}

struct Counted<R> {
    content: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Layer, Part};
    use bottle_host::state::Home;
    use proptest::prelude::*;
    use std::fs;

    fn store(dir: &tempfile::TempDir) -> Store {
        let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
        drop(store.lease().unwrap());
        store
    }

    fn put(store: &Store, bytes: &[u8]) -> Part {
        let digest = crate::store::digest_of(bytes);
        store.put(&digest, bytes).unwrap();
        Part { digest, size: bytes.len() as u64 }
    }

    fn members(path: &std::path::Path) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(File::open(path).unwrap());
        let member = |entry: std::io::Result<tar::Entry<File>>| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
        };
        archive.entries().unwrap().map(member).collect()
    }

    #[test]
    fn an_archive_has_each_part_once_and_is_the_same_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (config, one, two) = (put(&store, b"{}"), put(&store, b"one"), put(&store, b"two"));
        let layer = |part: &Part| Layer { part: part.clone(), packing: Packing::Plain };
        let image = Image { config: config.clone(), layers: vec![layer(&one), layer(&two), layer(&one)] };
        let path = store.archive(&config.digest);
        write(&store, &config.digest, &image, &[3, 3, 3]).unwrap();
        let first = fs::read(&path).unwrap();
        write(&store, &config.digest, &image, &[3, 3, 3]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        let members = members(&path);
        assert_eq!(members.len(), 4);
        assert_eq!(members[0].0, "manifest.json");
        let listed: serde_json::Value = serde_json::from_slice(&members[0].1).unwrap();
        assert_eq!(listed[0]["Layers"].as_array().unwrap().len(), 3);
        assert_eq!(listed[0]["Config"], members[1].0.as_str());
        for (name, bytes) in &members[2..] {
            assert_eq!(*name, layer_name(&crate::store::digest_of(bytes)));
        }
    }

    #[test]
    fn a_part_that_has_changed_leaves_no_archive() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (config, one) = (put(&store, b"{}"), put(&store, b"one"));
        let image = Image {
            config: config.clone(),
            layers: vec![Layer { part: one.clone(), packing: Packing::Plain }],
        };
        fs::write(store.blob(&one.digest), b"o").unwrap();
        assert!(write(&store, &config.digest, &image, &[3]).is_err());
        assert_eq!(store.items().unwrap().iter().filter(|item| item.is_archive).count(), 0);
    }

    proptest! {
        #[test]
        fn an_archives_list_names_one_file_for_each_layer_in_order(numbers in prop::collection::vec(0_u8..9, 1..20)) {
            let digest = |n: &u8| -> ImageDigest { format!("sha256:{n:064x}").parse().unwrap() };
            let layers: Vec<Layer> = numbers.iter()
                .map(|n| Layer { part: Part { digest: digest(n), size: 1 }, packing: Packing::Gzip })
                .collect();
            let listed = manifest(&Image { config: Part { digest: digest(&9), size: 1 }, layers });
            let names: Vec<&str> =
                listed[0]["Layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            prop_assert_eq!(names.len(), numbers.len());
            for (name, n) in names.iter().zip(&numbers) {
                prop_assert_eq!(*name, layer_name(&digest(n)));
            }
        }
    }
}
