//! What a manifest may contain. Nothing here reads or writes anything.

mod choose;
mod descriptor;

pub use descriptor::{Part, Platform};

use crate::limits::{CONFIG, LAYERS, SENT};
use bottle_core::text::ImageDigest;
use descriptor::{Descriptor, is_config, part};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kinds of document that are asked for: images and indexes, as OCI and as Docker name them.
pub const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// With gzip.
    Gzip,
    /// With Zstandard.
    Zstd,
}

/// A layer, as a manifest announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its compressed bytes.
    pub part: Part,
    /// How it is compressed.
    pub packing: Packing,
}

/// An image, as its manifest announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its configuration.
    pub config: Part,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// A document that a registry sends for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Image(Image),
    /// The digest and length of one image in an index: the one for this platform.
    Chosen(Part),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Vec<ImageDigest>,
}

/// Parses what a registry sent for an image's name.
///
/// # Errors
/// Returns why it is not an image that bottle can use, as the end of a sentence.
pub fn parse(bytes: &[u8], platform: Platform) -> Result<Document, String> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|_| "it is no manifest".to_owned())?;
    if raw.schema_version == Some(1) {
        return Err("its manifest has the form that Docker gave up in 2017".to_owned());
    }
    if let Some(other) = raw.media_type.filter(|kind| !ACCEPTED.contains(&kind.as_str())) {
        return Err(format!("it is of the kind {other:.100}"));
    }
    match (raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) => Ok(Document::Chosen(choose::choose(manifests, platform)?)),
        (None, Some(config), Some(layers)) => Ok(Document::Image(image(&config, &layers)?)),
        _ => Err("it is neither an image nor an index of images".to_owned()),
    }
}

/// Returns whether a kind of document is a container image's configuration.
fn image(config: &Descriptor, layers: &[Descriptor]) -> Result<Image, String> {
    if !(config.media_type.is_empty() || is_config(&config.media_type)) {
        return Err(format!("it is no container image: its configuration is {:.100}", config.media_type));
    }
    if layers.is_empty() {
        return Err("it has no layers".to_owned());
    }
    if layers.len() > LAYERS {
        return Err(format!("it has {} layers, and {LAYERS} is the most", layers.len()));
    }
    let layers: Vec<Layer> = layers.iter().map(layer).collect::<Result<_, _>>()?;
    let mut sizes = BTreeMap::new();
    for layer in &layers {
        let Part { digest, size } = &layer.part;
        if *sizes.entry(digest).or_insert(size) != size {
            return Err(format!("it announces {digest} with two sizes"));
        }
    }
    let sent = sizes.values().try_fold(0_u64, |sum, size| sum.checked_add(**size));
    if sent.is_none_or(|sent| sent > SENT) {
        return Err(format!("its layers have more than {} GiB", SENT >> 30));
    }
    Ok(Image { config: part(config, CONFIG)?, layers })
}

fn layer(descriptor: &Descriptor) -> Result<Layer, String> {
    let kind = descriptor.media_type.as_str();
    let packing = match kind {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Packing::Plain
        }
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Packing::Gzip,
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Packing::Zstd,
        _ => return Err(format!("a layer of it is of the kind {kind:.100}")),
    };
    Ok(Layer { part: part(descriptor, SENT)?, packing })
}

/// Parses an image's configuration, and returns the digest of each layer, unpacked.
///
/// # Errors
/// Returns why the image cannot be used, as the end of a sentence.
pub fn unpacked(config: &[u8], image: &Image, platform: Platform) -> Result<Vec<ImageDigest>, String> {
    let config: RawConfig =
        serde_json::from_slice(config).map_err(|_| "its configuration cannot be read".to_owned())?;
    if !platform.is(&config.os, &config.architecture) {
        let here = platform.architecture;
        let (os, architecture) = (config.os, config.architecture);
        return Err(format!("it is for {os:.20}/{architecture:.20}, and this machine needs linux/{here}"));
    }
    let digests = config.rootfs.diff_ids;
    if digests.len() != image.layers.len() {
        return Err(format!(
            "it has {} layers, and {} in its configuration",
            image.layers.len(),
            digests.len()
        ));
    }
    Ok(digests)
}

impl Image {
    /// Returns every part of the image, each once.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let mut seen = std::collections::BTreeSet::new();
        let parts = std::iter::once(&self.config).chain(self.layers.iter().map(|layer| &layer.part));
        parts.filter(move |part| seen.insert(part.digest.as_str()))
    }

    /// Returns the number of bytes of all parts.
    pub fn size(&self) -> u64 {
        self.parts().map(|part| part.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const AMD64: Platform = Platform { architecture: "amd64" };

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn layer(n: u8, size: u64) -> Value {
        json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(n), "size": size })
    }

    fn manifest(layers: &[Value]) -> Value {
        let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(0), "size": 9 });
        json!({ "schemaVersion": 2, "mediaType": ACCEPTED[1], "config": config, "layers": layers })
    }

    fn parsed(value: &Value) -> Result<Document, String> {
        parse(value.to_string().as_bytes(), AMD64)
    }

    #[test]
    fn an_image_is_its_parts_each_once() {
        let Ok(Document::Image(image)) = parsed(&manifest(&[layer(1, 5), layer(2, 7), layer(1, 5)])) else {
            panic!("no image")
        };
        assert_eq!(image.layers.len(), 3);
        assert_eq!(image.size(), 9 + 5 + 7);
    }

    #[test]
    fn what_bottle_cannot_use_is_refused_with_its_reason() {
        let many: Vec<Value> = (0..=LAYERS).map(|_| layer(1, 1)).collect();
        let mut foreign = layer(1, 1);
        foreign["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let mut sha512 = layer(1, 1);
        sha512["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
        let mut chart = manifest(&[layer(1, 1)]);
        chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        let mut config = manifest(&[layer(1, 1)]);
        config["config"]["size"] = json!(CONFIG + 1);
        let mut both = manifest(&[layer(1, 1)]);
        both["manifests"] = json!([]);
        for (value, why) in [
            (manifest(&[]), "it has no layers"),
            (manifest(&many), "501 layers"),
            (manifest(&[layer(1, SENT), layer(2, SENT)]), "more than 8 GiB"),
            (manifest(&[layer(1, u64::MAX)]), "is the most"),
            (manifest(&[layer(1, 1), layer(1, 2)]), "with two sizes"),
            (manifest(&[foreign]), "of the kind application/vnd.docker.image.rootfs.foreign"),
            (manifest(&[sha512]), "a digest in it must be `sha256:`"),
            (chart, "it is no container image"),
            (config, "is the most"),
            (both, "neither an image nor an index"),
            (json!({ "schemaVersion": 1, "fsLayers": [] }), "gave up"),
            (json!({ "schemaVersion": 2 }), "neither"),
            (json!([]), "it is no manifest"),
        ] {
            let said = parsed(&value).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_layer_is_packed_as_oci_or_docker_say() {
        for (kind, packing) in [
            ("application/vnd.oci.image.layer.v1.tar+zstd", Packing::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Packing::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Packing::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar", Packing::Plain),
        ] {
            let mut one = layer(1, 1);
            one["mediaType"] = json!(kind);
            let Ok(Document::Image(image)) = parsed(&manifest(&[one])) else { panic!("{kind}") };
            assert_eq!(image.layers[0].packing, packing);
        }
    }

    #[test]
    fn a_configuration_fits_its_image_and_this_machine() {
        let Ok(Document::Image(image)) = parsed(&manifest(&[layer(1, 5)])) else { panic!("no image") };
        let config = |os: &str, ids: &[String]| {
            json!({ "os": os, "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": ids } })
                .to_string()
        };
        let ask = |text: String| unpacked(text.as_bytes(), &image, AMD64);
        assert_eq!(ask(config("linux", &[digest(7)])).unwrap()[0].as_str(), digest(7));
        assert!(ask(config("windows", &[digest(7)])).unwrap_err().contains("it is for windows/amd64"));
        assert!(ask(config("linux", &[])).unwrap_err().contains("0 in its configuration"));
        assert!(ask(config("linux", &["sha256:1".to_owned()])).is_err());
        assert!(ask("{}".to_owned()).is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_image_is_within_the_limits(
            layers in prop::collection::vec((any::<u8>(), any::<u64>()), 0..12),
        ) {
            let layers: Vec<Value> = layers.into_iter().map(|(n, size)| layer(n, size)).collect();
            if let Ok(Document::Image(image)) = parsed(&manifest(&layers)) {
                prop_assert!(image.size() <= SENT + CONFIG && image.layers.len() <= LAYERS);
                prop_assert_eq!(image.layers.len(), layers.len());
            }
        }

        #[test]
        fn nothing_that_a_registry_sends_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, AMD64);
        }
    }
}
