//! An image with one more layer.

use crate::archive::{self, Inside};
use crate::fault::Fault;
use crate::limits::{ARCHIVE, LAYERS, SENT};
use crate::manifest::{self, Document, Image, Packing, Platform};
use crate::pins::Pin;
use crate::refusal::Refusal;
use crate::store::{Draft, Store, digest_of};
use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
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

/// An image that gets a layer.
struct Base {
    manifest: Vec<u8>,
    config: Vec<u8>,
    image: Image,
}

impl Base {
    /// Reads an image, or returns `None` if its documents are not here.
    fn read(store: &Store, digest: &ImageDigest) -> Outcome<Option<Self>> {
        let Some(manifest) = store.document(digest) else { return Ok(None) };
        let Ok(Document::Image(image)) = manifest::parse(&manifest, Platform::here()) else {
            return Err(unusable(format!("{digest} is no image")));
        };
        if image.layers.len() >= LAYERS {
            let why = format!("{digest} has {LAYERS} layers, which is the most, and a setup adds one");
            return Err(unusable(why));
        }
        let config = store.document(&image.config.digest);
        Ok(config.map(|config| Self { manifest, config, image }))
    }
}

/// Returns whether an image has everything here that it takes to [add a layer](add_layer) to it. Its parts are
/// read, and those that were damaged are removed: [`pull`](crate::pull()) fetches them again. Whoever calls this
/// holds a lease of the store.
///
/// # Errors
/// Returns an error if the image can get no further layer, or if a part cannot be read.
pub fn is_whole(store: &Store, base: &ImageDigest) -> Outcome<bool> {
    let Some(base) = Base::read(store, base)? else { return Ok(false) };
    let mut is_whole = true;
    for part in base.image.parts() {
        is_whole &= !store.remove_damaged(&part.digest)?;
    }
    Ok(is_whole)
}

/// Puts a layer on top of an image, and returns the image that this makes. Whoever calls this holds a lease of the
/// store, which [has](is_whole) the image's parts.
///
/// # Errors
/// Returns an error if a part of the image is missing or damaged, if the image has too many layers or gets too
/// large, or if the new one cannot be written.
pub fn add_layer(store: &Store, base: &ImageDigest, on_top: &mut Unpacked) -> Outcome<Pin> {
    let platform = Platform::here();
    let Some(Base { manifest, config, image }) = Base::read(store, base)? else {
        return Err(failed(base, Fault::Part(base.clone())));
    };
    let unpacked = manifest::unpacked(&config, &image, platform)
        .map_err(|why| unusable(format!("{base} cannot be used: {why}")))?;
    let mut inside = archive::measure(store, &image, &unpacked).map_err(|fault| failed(base, fault))?;
    // Whoever reads an archive looks at the first layer to see how all of them are packed.
    let packing = if archive::stays_packed(&image) { Packing::Gzip } else { Packing::Plain };
    if packing == Packing::Plain {
        inside.push(Inside { digest: on_top.digest.clone(), length: on_top.len });
        let length = inside.iter().fold(0_u64, |sum, inside| sum.saturating_add(inside.length));
        if length > ARCHIVE {
            return Err(failed(base, Fault::too_long(length)));
        }
    }
    let layer = pack(store, on_top, packing).map_err(Refusal::from)?;
    let layer = layer.keep(store).map_err(Refusal::from)?;
    let (manifest, config) = documents(&manifest, &config, on_top, packing, &layer).map_err(Refusal::from)?;
    let Ok(Document::Image(image)) = manifest::parse(&manifest, platform) else {
        return Err(unusable(format!("{base} and its setup are more than {} GiB", SENT >> 30)));
    };
    let made = digest_of(&manifest);
    store.put(&digest_of(&config), &config).map_err(Refusal::from)?;
    store.put(&made, &manifest).map_err(Refusal::from)?;
    archive::write(store, &made, &image, &inside).map_err(|fault| failed(base, fault))?;
    Ok(Pin { digest: made, size: image.size() })
}

/// Packs a layer into a file without a name.
fn pack(store: &Store, on_top: &mut Unpacked, packing: Packing) -> Result<Draft> {
    on_top.file.rewind()?;
    let mut draft = store.draft()?;
    if packing == Packing::Gzip {
        let mut gzip = GzEncoder::new(&mut draft, Compression::fast());
        io::copy(&mut on_top.file, &mut gzip)?;
        gzip.finish()?;
    } else {
        io::copy(&mut on_top.file, &mut draft)?;
    }
    Ok(draft)
}

/// Returns the manifest and the configuration of an image with a further layer.
fn documents(
    manifest: &[u8],
    config: &[u8],
    on_top: &Unpacked,
    packing: Packing,
    (digest, size): &(ImageDigest, u64),
) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut config: Value = serde_json::from_slice(config)?;
    push(&mut config["rootfs"]["diff_ids"], json!(on_top.digest))?;
    if config["history"].is_array() {
        push(&mut config["history"], json!({ "created_by": "bottle: guest.setup" }))?;
    }
    let config = config.to_string().into_bytes();
    let mut manifest: Value = serde_json::from_slice(manifest)?;
    let suffix = if packing == Packing::Gzip { "+gzip" } else { "" };
    let kind = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    push(&mut manifest["layers"], json!({ "mediaType": kind, "digest": digest, "size": size }))?;
    manifest["config"]["digest"] = json!(digest_of(&config));
    manifest["config"]["size"] = json!(config.len());
    Ok((manifest.to_string().into_bytes(), config))
}

fn unusable(why: String) -> Failure {
    Failure::new(Kind::Unavailable, why).help("choose another image, or keep its setup's results on the disk")
}

/// Makes a failure of a fault of an image that gets a layer.
fn failed(base: &ImageDigest, fault: Fault) -> Failure {
    match fault {
        Fault::Store(error) => Refusal::Store(error).into(),
        Fault::Image(why) => unusable(format!("a setup cannot be added to {base}: {why}")),
        fault @ Fault::Part(_) => {
            Failure::new(Kind::Unavailable, format!("a setup cannot be added to {base}: {fault}"))
                .help("try again: what is missing is fetched again")
        }
    }
}

fn push(list: &mut Value, value: Value) -> Result<()> {
    list.as_array_mut().context("the image's documents lack a list")?.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{put, store};
    use std::fs;
    use std::io::{Read, Write};

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
        for (suffix, layer) in [("", b"lower".to_vec()), ("+gzip", gzip(b"lower"))] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(&dir);
            let base = image(&store, suffix, &layer, b"lower");
            assert!(is_whole(&store, &base).unwrap());
            // A byte of gzip's header says nothing about the content.
            let part = digest_of(&layer);
            let mut flipped = layer.clone();
            flipped[4] ^= 1;
            for damaged in [&flipped[..], b"other", b""] {
                fs::write(store.blob(&part), damaged).unwrap();
                let refused = add_layer(&store, &base, &mut on_top(b"upper")).unwrap_err();
                assert!(refused.what().ends_with(&format!("{part} is missing, or was damaged")), "{refused}");
                assert!(!store.has(&part), "it is to be fetched again");
                fs::write(store.blob(&part), damaged).unwrap();
                assert!(!is_whole(&store, &base).unwrap() && !store.has(&part));
            }
            store.put(&part, &layer).unwrap();
            assert!(is_whole(&store, &base).unwrap());
            fs::remove_file(store.blob(&base)).unwrap();
            assert!(!is_whole(&store, &base).unwrap());
            assert!(add_layer(&store, &base, &mut on_top(b"upper")).is_err());
            assert!(!store.items().unwrap().iter().any(|item| item.is_archive));
        }
    }

    #[test]
    fn an_image_with_the_most_layers_gets_no_other_and_neither_does_a_large_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let base = image(&store, "", b"lower", b"lower");
        let mut large = on_top(b"upper");
        large.len = 9 << 30;
        let refused = add_layer(&store, &base, &mut large).unwrap_err();
        assert!(refused.what().contains("smolvm takes archives of up to 8 GiB"), "{refused}");
        let mut manifest: Value = serde_json::from_slice(&store.document(&base).unwrap()).unwrap();
        manifest["layers"] = json!(vec![manifest["layers"][0].clone(); LAYERS]);
        let base = put(&store, manifest.to_string().as_bytes());
        let refused = is_whole(&store, &base).unwrap_err();
        assert!(refused.what().contains("has 500 layers, which is the most"), "{refused}");
    }

    #[test]
    fn an_archive_is_written_again_from_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        for (suffix, layer) in [("", b"lower".to_vec()), ("+gzip", gzip(b"lower"))] {
            let base = image(&store, suffix, &layer, b"lower");
            let made = add_layer(&store, &base, &mut on_top(b"upper")).unwrap().digest;
            let right = fs::read(store.archive(&made)).unwrap();
            fs::remove_file(store.archive(&made)).unwrap();
            fs::write(store.archive(&made), &right[..2000]).unwrap();
            assert!(!store.has_archive(&made));
            assert!(archive::restore(&store, &made).unwrap());
            assert_eq!(fs::read(store.archive(&made)).unwrap(), right);
            fs::write(store.blob(&digest_of(&layer)), "damaged").unwrap();
            assert!(!archive::restore(&store, &made).unwrap());
        }
    }
}
