//! Which image of an index is the one for this machine.

use super::descriptor::{Descriptor, Part, Platform, is_config, part};
use crate::limits::MANIFEST;

/// Chooses the image for a platform from an index: of several, the one that most of its processors run.
pub(super) fn choose(mut manifests: Vec<Descriptor>, platform: Platform) -> Result<Part, String> {
    // What is signed or attested is beside the images.
    manifests.retain(|manifest| manifest.artifact_type.is_empty() || is_config(&manifest.artifact_type));
    // The configuration says what a lone image is for, too, and is asked later.
    let is_lone = manifests.len() == 1;
    let (fitting, others): (Vec<_>, Vec<_>) =
        manifests.into_iter().partition(|manifest| match &manifest.platform {
            Some(of) => platform.is(&of.os, &of.architecture),
            None => is_lone,
        });
    // Only an image: an index of indexes could lead anywhere.
    let is_image = |kind: &str| kind.is_empty() || kind.contains(".manifest.v");
    let variant = |manifest: &Descriptor| manifest.platform.as_ref().and_then(|of| of.variant.clone());
    let rank = |one: &Descriptor| (!is_image(&one.media_type), platform.demand(variant(one).as_deref()));
    if let Some(best) = fitting.iter().min_by_key(|manifest| rank(manifest)) {
        if !is_image(&best.media_type) {
            return Err(format!("its index names a {:.100} for this machine", best.media_type));
        }
        return part(best, MANIFEST);
    }
    // An attestation has an unknown platform.
    let known = others.iter().filter_map(|other| other.platform.as_ref()).filter(|of| of.os != "unknown");
    let mut others: Vec<String> =
        known.map(|of| format!("{:.20}/{:.20}", of.os, of.architecture)).take(10).collect();
    others.dedup();
    let here = platform.architecture;
    Err(match others.as_slice() {
        [] => format!("it has nothing for linux/{here}"),
        others => format!("it has nothing for linux/{here}, only for {}", others.join(", ")),
    })
}

impl Platform {
    /// Returns how much of a processor a variant demands: 0 for what every processor of this architecture runs.
    fn demand(self, variant: Option<&str>) -> u32 {
        let Some(variant) = variant.filter(|variant| !variant.is_empty()) else { return 0 };
        let least = if self.architecture == "arm64" { 8 } else { 1 };
        let number = variant.strip_prefix('v').unwrap_or(variant);
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        match (major.parse::<u16>(), minor.parse::<u8>()) {
            (Ok(major), Ok(minor)) => (u32::from(major) * 256 + u32::from(minor)).saturating_sub(least * 256),
            _ => u32::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{ACCEPTED, Document, parse};
    use serde_json::{Value, json};

    const AMD64: Platform = Platform { architecture: "amd64" };

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn parsed(value: &Value) -> Result<Document, String> {
        parse(value.to_string().as_bytes(), AMD64)
    }

    #[test]
    fn the_image_for_this_machine_is_chosen_and_no_index_inside_an_index() {
        let entry = |n: u8, os: &str, architecture: &str, kind: &str| {
            json!({ "mediaType": kind, "digest": digest(n), "size": 4,
                "platform": { "os": os, "architecture": architecture } })
        };
        let index = |entries: &[Value]| json!({ "schemaVersion": 2, "manifests": entries });
        let image = ACCEPTED[1];
        let whole = index(&[
            entry(1, "unknown", "unknown", image),
            entry(2, "linux", "arm64", image),
            entry(3, "linux", "amd64", image),
        ]);
        let Ok(Document::Chosen(part)) = parsed(&whole) else { panic!("nothing chosen") };
        assert_eq!(part.digest.as_str(), digest(3));
        let without =
            parsed(&index(&[entry(2, "linux", "arm64", image), entry(1, "unknown", "unknown", image)]));
        assert_eq!(without.unwrap_err(), "it has nothing for linux/amd64, only for linux/arm64");
        let itself = parsed(&index(&[entry(1, "linux", "amd64", ACCEPTED[0])]));
        assert!(itself.unwrap_err().contains("its index names a application/vnd.oci.image.index"));
    }

    #[test]
    fn of_several_variants_the_one_for_every_processor_is_chosen() {
        let entry = |n: u8, architecture: &str, variant: &str| {
            let mut platform = json!({ "os": "linux", "architecture": architecture });
            if !variant.is_empty() {
                platform["variant"] = json!(variant);
            }
            json!({ "mediaType": ACCEPTED[1], "digest": digest(n), "size": 4, "platform": platform })
        };
        let arm64 = Platform { architecture: "arm64" };
        for (platform, variants, chosen) in [
            (AMD64, &["v3", ""][..], 1),
            (AMD64, &["v3", "v1", ""], 1),
            (AMD64, &["v4", "v2", "v3"], 1),
            (AMD64, &["other", "v3"], 1),
            (AMD64, &["", ""], 0),
            (arm64, &["v9", "v8.2", "v8"], 2),
            (arm64, &["v9", ""], 1),
            (arm64, &["v9", "v8.2"], 1),
        ] {
            let entries: Vec<Value> =
                (0..).zip(variants).map(|(n, variant)| entry(n, platform.architecture, variant)).collect();
            let index = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
            let Ok(Document::Chosen(part)) = parse(index.as_bytes(), platform) else {
                panic!("nothing chosen")
            };
            assert_eq!(part.digest.as_str(), digest(chosen), "{variants:?}");
        }
    }

    #[test]
    fn an_artifact_is_no_image_and_a_lone_entry_needs_no_platform() {
        let linux = json!({ "os": "linux", "architecture": "amd64" });
        let entry = |n: u8| json!({ "mediaType": ACCEPTED[1], "digest": digest(n), "size": 4 });
        let with = |n: u8, key: &str, value: Value| {
            let mut entry = entry(n);
            entry[key] = value;
            entry
        };
        let index = |entries: &[Value]| parsed(&json!({ "schemaVersion": 2, "manifests": entries }));
        let mut signature = with(1, "artifactType", json!("application/vnd.dev.cosign.artifact.sig.v1+json"));
        signature["platform"] = linux.clone();
        let image = with(2, "platform", linux);
        let chosen = |n: u8| Ok(Document::Chosen(Part { digest: digest(n).parse().unwrap(), size: 4 }));
        assert_eq!(index(&[signature.clone(), image.clone()]), chosen(2));
        assert_eq!(index(&[signature.clone(), entry(3)]), chosen(3));
        assert_eq!(index(&[entry(3), image]), chosen(2));
        assert_eq!(index(&[signature]).unwrap_err(), "it has nothing for linux/amd64");
        assert!(index(&[entry(3), entry(4)]).is_err());
        let typed = with(5, "artifactType", json!("application/vnd.oci.image.config.v1+json"));
        assert_eq!(index(&[typed]), chosen(5));
    }
}
