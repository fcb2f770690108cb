//! Writes an image's archive from its parts.

use crate::fault::Fault;
use crate::layer;
use crate::limits::ARCHIVE;
use crate::manifest::{self, Document, Image, Packing, Part, Platform};
use crate::store::{Store, digest_from};
use anyhow::Context;
use bottle_core::text::ImageDigest;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

/// What a layer unpacks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Its digest.
    pub digest: ImageDigest,
    /// Its length in bytes.
    pub length: u64,
}

/// A layer's file in an archive: the layer as it was sent, or what it unpacks to.
struct Member {
    part: ImageDigest,
    how: Packing,
    digest: ImageDigest,
    length: u64,
}

impl Member {
    fn as_sent(part: &Part) -> Self {
        let digest = part.digest.clone();
        Self { part: digest.clone(), how: Packing::Plain, digest, length: part.size }
    }
}

/// Writes an image's archive. `inside` has what each layer unpacks to; it may be empty if the layers
/// [stay packed](stays_packed).
///
/// # Errors
/// Returns an error if a part is missing or damaged, if the archive would be longer than smolvm takes, or if it cannot
/// be written. Nothing is written then.
pub fn write(store: &Store, digest: &ImageDigest, image: &Image, inside: &[Inside]) -> Result<(), Fault> {
    check_length(image, inside)?;
    store.put_archive(digest, |file| {
        fill(store, file, image, inside).map_err(|fault| match fault {
            Fault::Store(error) => {
                error.context(format!("cannot write {}", store.archive(digest).display())).into()
            }
            fault => fault,
        })
    })
}

fn fill(store: &Store, file: &File, image: &Image, inside: &[Inside]) -> Result<(), Fault> {
    let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    let manifest = manifest(image).to_string();
    append(&mut archive, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
    add(store, &mut archive, &config_name(image), &Member::as_sent(&image.config))?;
    for member in members(image, inside) {
        add(store, &mut archive, &layer_name(&member.part), &member)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

/// Writes an image's archive again from its parts, and returns whether all of them are here. Whoever calls this holds
/// a lease of the store.
///
/// # Errors
/// Returns an error if the archive cannot be written.
pub fn restore(store: &Store, digest: &ImageDigest) -> anyhow::Result<bool> {
    let platform = Platform::here();
    let text = store.document(digest);
    let Some(Ok(Document::Image(image))) = text.map(|text| manifest::parse(&text, platform)) else {
        return Ok(false);
    };
    let config = store.document(&image.config.digest);
    let Some(Ok(unpacked)) = config.map(|config| manifest::unpacked(&config, &image, platform)) else {
        return Ok(false);
    };
    match measure(store, &image, &unpacked).and_then(|inside| write(store, digest, &image, &inside)) {
        Ok(()) => Ok(true),
        Err(Fault::Store(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Returns what each layer unpacks to, or nothing if the layers [stay packed](stays_packed). The image is one that was
/// checked before, when it was fetched.
///
/// # Errors
/// Returns an error if a layer is missing or damaged.
pub fn measure(store: &Store, image: &Image, unpacked: &[ImageDigest]) -> Result<Vec<Inside>, Fault> {
    if stays_packed(image) {
        return Ok(Vec::new());
    }
    let inside = |(layer, digest): (&manifest::Layer, &ImageDigest)| {
        let length = layer::check(store, layer, digest, u64::MAX - 1)?;
        Ok(Inside { digest: digest.clone(), length })
    };
    image.layers.iter().zip(unpacked).map(inside).collect()
}

/// Refuses an image whose archive would be longer than smolvm takes.
///
/// # Errors
/// Returns [`Fault::Image`].
pub fn check_length(image: &Image, inside: &[Inside]) -> Result<(), Fault> {
    // A member is its header and its content, in whole blocks, and two empty blocks are the end.
    let whole = |length: u64| length.saturating_add(511) / 512 * 512;
    let layers = members(image, inside).into_iter().map(|member| member.length);
    let lengths = [manifest(image).to_string().len() as u64, image.config.size].into_iter().chain(layers);
    let length = lengths.fold(1024_u64, |sum, length| sum.saturating_add(512).saturating_add(whole(length)));
    if length > ARCHIVE { Err(Fault::too_long(length)) } else { Ok(()) }
}

/// Returns whether the layers are put into the archive as they were sent. Whoever reads the archive looks at the
/// first layer to see how all of them are compressed, and knows gzip.
pub fn stays_packed(image: &Image) -> bool {
    image.layers.iter().all(|layer| layer.packing == Packing::Gzip)
}

/// Returns the layers' files, each once.
fn members(image: &Image, inside: &[Inside]) -> Vec<Member> {
    let packed = stays_packed(image);
    let mut seen = BTreeSet::new();
    let layers = image.layers.iter().enumerate().filter(|(_, layer)| seen.insert(&layer.part.digest));
    let member = |(n, layer): (usize, &manifest::Layer)| match inside.get(n).filter(|_| !packed) {
        None => Member::as_sent(&layer.part),
        Some(Inside { digest, length }) => Member {
            part: layer.part.digest.clone(),
            how: layer.packing,
            digest: digest.clone(),
            length: *length,
        },
    };
    layers.map(member).collect()
}

/// Returns the archive's own list of its content.
pub(super) fn manifest(image: &Image) -> serde_json::Value {
    let layers: Vec<String> = image.layers.iter().map(|layer| layer_name(&layer.part.digest)).collect();
    json!([{ "Config": config_name(image), "RepoTags": null, "Layers": layers }])
}

pub(super) fn config_name(image: &Image) -> String {
    format!("{}.json", image.config.digest.hex())
}

pub(super) fn layer_name(digest: &ImageDigest) -> String {
    format!("{}.tar", digest.hex())
}

/// Adds a part of the image, and only if it is what it was announced as.
fn add(
    store: &Store,
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    member: &Member,
) -> Result<(), Fault> {
    let (part, length) = (&member.part, member.length);
    let content = match layer::open(&store.blob(part), member.how) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Fault::Part(part.clone())),
        content => content.context("a part of the image")?,
    };
    let mut source = Source { content, hash: Sha256::new(), length: 0, failed: false };
    let appended = append(archive, name, length, (&mut source).take(length));
    if let (Err(error), false) = (appended, source.failed) {
        return Err(error.into());
    }
    let is_fit =
        !source.failed && source.length == length && source.read(&mut [0; 1]).is_ok_and(|more| more == 0);
    if !is_fit || digest_from(source.hash) != member.digest {
        return Err(Fault::of(store, part, format!("its part {part} is not what it is announced as")));
    }
    Ok(())
}

/// Adds a file with this length.
fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    length: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    archive.append_data(&mut header, name, content)
}

/// What is read of a part, and whether reading it failed.
struct Source<R> {
    content: R,
    hash: Sha256,
    length: u64,
    failed: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer).inspect_err(|_| self.failed = true)?;
        self.hash.update(&buffer[..read]);
        self.length += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Layer;
    use crate::store::digest_of;
    use crate::store::fixture::{self, store};
    use proptest::prelude::*;
    use std::fs;

    fn put(store: &Store, bytes: &[u8]) -> Part {
        Part { digest: fixture::put(store, bytes), size: bytes.len() as u64 }
    }

    fn inside(bytes: &[u8]) -> Inside {
        Inside { digest: digest_of(bytes), length: bytes.len() as u64 }
    }

    fn members(path: &std::path::Path) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(File::open(path).unwrap());
        let member = |entry: io::Result<tar::Entry<File>>| {
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
        let inside = [inside(b"one"), inside(b"two"), inside(b"one")];
        write(&store, &config.digest, &image, &inside).unwrap();
        let first = fs::read(&path).unwrap();
        write(&store, &config.digest, &image, &inside).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        let members = members(&path);
        assert_eq!(members.len(), 4);
        assert_eq!(members[0].0, "manifest.json");
        let listed: serde_json::Value = serde_json::from_slice(&members[0].1).unwrap();
        assert_eq!(listed[0]["Layers"].as_array().unwrap().len(), 3);
        assert_eq!(listed[0]["Config"], members[1].0.as_str());
        for (name, bytes) in &members[2..] {
            assert_eq!(*name, layer_name(&digest_of(bytes)));
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
        for wrong in [&b"o"[..], b"onE", b"one more"] {
            store.put(&one.digest, wrong).unwrap();
            let refused = write(&store, &config.digest, &image, &[inside(b"one")]);
            assert!(matches!(refused, Err(Fault::Part(part)) if part == one.digest));
            assert!(!store.has(&one.digest), "it is to be fetched again");
        }
        // The part is what its digest says, and the image announces another length.
        store.put(&one.digest, b"one").unwrap();
        let lies = Inside { length: 2, ..inside(b"one") };
        assert!(matches!(write(&store, &config.digest, &image, &[lies]), Err(Fault::Image(_))));
        assert!(store.has(&one.digest));
        assert_eq!(store.items().unwrap().iter().filter(|item| item.is_archive).count(), 0);
    }

    #[test]
    fn an_archive_that_smolvm_would_refuse_is_not_begun() {
        let digest = |n: u8| -> ImageDigest { format!("sha256:{n:064x}").parse().unwrap() };
        let layer = |n: u8, size: u64, packing| Layer { part: Part { digest: digest(n), size }, packing };
        let image = |layers: Vec<Layer>| Image { config: Part { digest: digest(0), size: 1 }, layers };
        let rest = 3 * 512 + 2 * 512 + 1024;
        let most = image(vec![layer(1, ARCHIVE - rest, Packing::Gzip)]);
        assert!(check_length(&most, &[]).is_ok());
        let more = image(vec![layer(1, ARCHIVE - rest + 1, Packing::Gzip)]);
        let refused = check_length(&more, &[]).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "smolvm takes archives of up to 8 GiB, and this image makes one of {} bytes",
                ARCHIVE + 512
            )
        );
        // One layer that is not packed with gzip, and all of them are unpacked.
        let mixed = image(vec![layer(1, 9, Packing::Gzip), layer(2, 9, Packing::Zstd)]);
        let inside =
            |length| vec![Inside { digest: digest(3), length }, Inside { digest: digest(4), length }];
        assert!(check_length(&mixed, &inside(3 << 30)).is_ok());
        assert!(check_length(&mixed, &inside(5 << 30)).is_err());
        assert!(check_length(&mixed, &inside(u64::MAX)).is_err());
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
