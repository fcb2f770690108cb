//! An image with one more layer.

use crate::archive;
use crate::layer;
use crate::limits::{LAYERS, SENT};
use crate::manifest::{self, Document, Image, Packing, Platform};
use crate::pins::Pin;
use crate::store::{Store, digest_of};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bottle_core::text::ImageDigest;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Seek};

/// A layer that is not part of an image yet.
#[derive(Debug)]
pub struct Unpacked {
    /// Its bytes, from the start of the file: a tar.
    pub file: File,
    /// Their digest.
    pub digest: ImageDigest,
    /// Their number.
    pub len: u64,
}

/// Puts a layer on top of an image, and returns the image that this makes. Whoever calls this holds a lease of the
/// store, which has the image's parts.
///
/// # Errors
/// Returns an error if the image cannot be read, has too many layers, or the new one cannot be written.
pub fn add_layer(store: &Store, base: &ImageDigest, on_top: &mut Unpacked) -> Result<Pin> {
    let platform = Platform::here();
    let text = store.document(base).with_context(|| format!("the manifest of {base}"))?;
    let Ok(Document::Image(image)) = manifest::parse(&text, platform) else { bail!("{base} is no image") };
    ensure!(image.layers.len() < LAYERS, "{base} has {LAYERS} layers, which is the most");
    let config = store.document(&image.config.digest).context("the image's configuration")?;
    let unpacked = manifest::unpacked(&config, &image, platform).map_err(|why| anyhow!("{base}: {why}"))?;
    let lengths = lengths(store, &image, &unpacked)?;

    // Whoever reads an archive looks at the first layer to see how all of them are packed.
    let packing = if lengths.is_some() { Packing::Plain } else { Packing::Gzip };
    let (digest, size) = pack(store, on_top, packing)?;
    let mut config: Value = serde_json::from_slice(&config)?;
    push(&mut config["rootfs"]["diff_ids"], json!(on_top.digest))?;
    if config["history"].is_array() {
        push(&mut config["history"], json!({ "created_by": "bottle: guest.setup" }))?;
    }
    let config = config.to_string().into_bytes();
    let mut manifest: Value = serde_json::from_slice(&text)?;
    let suffix = if packing == Packing::Gzip { "+gzip" } else { "" };
    let kind = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    push(&mut manifest["layers"], json!({ "mediaType": kind, "digest": digest, "size": size }))?;
    manifest["config"]["digest"] = json!(digest_of(&config));
    manifest["config"]["size"] = json!(config.len());
    let manifest = manifest.to_string().into_bytes();

    let Ok(Document::Image(image)) = manifest::parse(&manifest, platform) else {
        bail!("{base} and the layer are more than {} GiB", SENT >> 30)
    };
    store.put(&digest_of(&config), &config)?;
    let made = digest_of(&manifest);
    store.put(&made, &manifest)?;
    let lengths = lengths.map(|mut lengths| {
        lengths.push(on_top.len);
        lengths
    });
    archive::write(store, &made, &image, &lengths.unwrap_or_else(|| vec![0; image.layers.len()]))?;
    Ok(Pin { digest: made, size: image.size() })
}

/// Returns what each layer unpacks to, unless all of them are put into an archive as they are.
fn lengths(store: &Store, image: &Image, unpacked: &[ImageDigest]) -> Result<Option<Vec<u64>>> {
    if image.layers.iter().all(|layer| layer.packing == Packing::Gzip) {
        return Ok(None);
    }
    let check = |(one, unpacked)| {
        let one: &manifest::Layer = one;
        layer::check(&store.blob(&one.part.digest), one, unpacked, u64::MAX - 1).map_err(|why| anyhow!(why))
    };
    Ok(Some(image.layers.iter().zip(unpacked).map(check).collect::<Result<_>>()?))
}

/// Stores a layer, and returns its digest and length there.
fn pack(store: &Store, on_top: &mut Unpacked, packing: Packing) -> Result<(ImageDigest, u64)> {
    on_top.file.rewind()?;
    let mut draft = store.draft()?;
    if packing == Packing::Gzip {
        let mut gzip = GzEncoder::new(&mut draft, Compression::fast());
        io::copy(&mut on_top.file, &mut gzip)?;
        gzip.finish()?;
    } else {
        io::copy(&mut on_top.file, &mut draft)?;
    }
    draft.keep(store)
}

fn push(list: &mut Value, value: Value) -> Result<()> {
    list.as_array_mut().context("the image's documents lack a list")?.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_host::state::Home;
    use std::fs;
    use std::io::{Read, Write};

    fn store(dir: &tempfile::TempDir) -> Store {
        let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
        drop(store.lease().unwrap());
        store
    }

    fn put(store: &Store, bytes: &[u8]) -> ImageDigest {
        let digest = digest_of(bytes);
        store.put(&digest, bytes).unwrap();
        digest
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    fn image(store: &Store, suffix: &str, layer: &[u8], unpacked: &[u8]) -> ImageDigest {
        let part = |kind: &str, bytes: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": put(store, bytes), "size": bytes.len() });
        let architecture = Platform::here().architecture;
        let config = json!({ "os": "linux", "architecture": architecture, "config": { "Env": ["A=b"] }, "history": [],
            "rootfs": { "type": "layers", "diff_ids": [digest_of(unpacked)] } });
        let manifest = json!({ "schemaVersion": 2,
            "config": part("config.v1+json", config.to_string().as_bytes()),
            "layers": [part(&format!("layer.v1.tar{suffix}"), layer)] });
        put(store, manifest.to_string().as_bytes())
    }

    fn on_top(bytes: &[u8]) -> Unpacked {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Unpacked { file, digest: digest_of(bytes), len: bytes.len() as u64 }
    }

    /// The members of an archive, in order, unpacked.
    fn members(store: &Store, digest: &ImageDigest) -> Vec<Vec<u8>> {
        let mut archive = tar::Archive::new(File::open(store.archive(digest)).unwrap());
        let entries = archive.entries().unwrap();
        let read = |entry: io::Result<tar::Entry<File>>| {
            let mut bytes = Vec::new();
            entry.unwrap().read_to_end(&mut bytes).unwrap();
            let mut unpacked = Vec::new();
            match flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked) {
                Ok(_) => unpacked,
                Err(_) => bytes,
            }
        };
        entries.map(read).collect()
    }

    #[test]
    fn an_image_gets_one_more_layer_packed_as_the_others_are() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        for (suffix, layer) in [("", b"lower".to_vec()), ("+gzip", gzip(b"lower"))] {
            let base = image(&store, suffix, &layer, b"lower");
            let made = add_layer(&store, &base, &mut on_top(b"upper")).unwrap();
            let members = members(&store, &made.digest);
            assert_eq!(members[2..], [b"lower".to_vec(), b"upper".to_vec()], "{suffix}");
            let config: Value = serde_json::from_slice(&members[1]).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"], json!([digest_of(b"lower"), digest_of(b"upper")]));
            assert_eq!(config["config"]["Env"], json!(["A=b"]), "the image's own words stay");
            // The image is one that a registry could have sent.
            let manifest = store.document(&made.digest).unwrap();
            let Ok(Document::Image(image)) = manifest::parse(&manifest, Platform::here()) else { panic!() };
            assert_eq!((image.layers.len(), image.size()), (2, made.size));
            assert!(image.parts().all(|part| store.document(&part.digest).is_some()));
            let again = add_layer(&store, &base, &mut on_top(b"upper")).unwrap();
            assert_eq!(again, made);
        }
    }

    #[test]
    fn an_image_whose_parts_are_gone_or_changed_gets_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let base = image(&store, "", b"lower", b"lower");
        fs::write(store.blob(&digest_of(b"lower")), "other").unwrap();
        assert!(add_layer(&store, &base, &mut on_top(b"upper")).is_err());
        fs::remove_file(store.blob(&base)).unwrap();
        assert!(add_layer(&store, &base, &mut on_top(b"upper")).is_err());
        assert!(!store.items().unwrap().iter().any(|item| item.is_archive));
    }
}
