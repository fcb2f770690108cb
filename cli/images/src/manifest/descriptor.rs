//! What every document has in common: a platform, and parts with their digests.

use bottle_core::text::ImageDigest;
use serde::Deserialize;

/// A machine that an image can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The processor, as images name it.
    pub architecture: &'static str,
}

impl Platform {
    /// Returns what guests of this machine run: Linux, on its own processor.
    pub fn here() -> Self {
        Self {
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
        }
    }

    pub(super) fn is(self, os: &str, architecture: &str) -> bool {
        os == "linux" && architecture == self.architecture
    }
}

/// A part of an image, as its manifest announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its digest.
    pub digest: ImageDigest,
    /// Its length in bytes.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) platform: Option<RawPlatform>,
    #[serde(default)]
    pub(super) artifact_type: String,
}

#[derive(Deserialize)]
pub(super) struct RawPlatform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
}

pub(super) fn is_config(kind: &str) -> bool {
    kind == "application/vnd.oci.image.config.v1+json"
        || kind == "application/vnd.docker.container.image.v1+json"
}

pub(super) fn part(descriptor: &Descriptor, most: u64) -> Result<Part, String> {
    let digest = descriptor.digest.parse().map_err(|error| format!("a digest in it {error}"))?;
    if descriptor.size > most {
        return Err(format!("{digest} in it has {} bytes, and {most} is the most", descriptor.size));
    }
    Ok(Part { digest, size: descriptor.size })
}
