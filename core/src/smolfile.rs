//! `smolfile.toml`: the description of the machine that smolvm reads.
//!
//! The keys are those of smolvm 1.32.2, which refuses every other key. `net` is always false: the
//! guest's only network is the tap that the helper makes.

use crate::helper::HELPER_DIR;
use crate::plan::Plan;
use crate::text::MountPath;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The parts of a Smolfile that a bottle needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smolfile {
    /// The image that the machine boots from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The number of processors.
    pub cpus: u8,
    /// The memory, in MiB.
    pub memory: u32,
    /// Whether smolvm gives the machine a network of its own.
    pub net: bool,
    /// The folder in which commands start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// The host folders that the guest sees, each as `HOST:GUEST[:ro]`.
    pub volumes: Vec<String>,
    /// The environment, each variable as `NAME=VALUE`.
    pub env: Vec<String>,
}

/// A Smolfile that cannot be written, or text that cannot be read as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("smolfile.toml: {0}")]
pub struct SmolfileError(String);

impl Smolfile {
    /// Describes the machine of `plan`, with the helper from the host folder `helper_dir`.
    pub fn for_plan(plan: &Plan, helper_dir: &MountPath) -> Self {
        let volumes = plan.guest.volumes.iter().map(|volume| {
            let mode = if volume.writable { "" } else { ":ro" };
            format!("{}:{}{mode}", volume.host, volume.guest)
        });
        let helper = format!("{helper_dir}:{HELPER_DIR}:ro");
        Self {
            image: plan.guest.image.as_ref().map(ToString::to_string),
            cpus: plan.guest.cpus,
            memory: plan.guest.memory_mib,
            net: false,
            workdir: plan.guest.workdir.as_ref().map(ToString::to_string),
            volumes: core::iter::once(helper).chain(volumes).collect(),
            env: plan.environment().iter().map(|(name, value)| format!("{name}={value}")).collect(),
        }
    }

    /// Returns the file's text. Equal Smolfiles give the same text, byte for byte.
    ///
    /// # Errors
    /// Returns an error if the format cannot hold a value. It can hold all that [`Smolfile::for_plan`]
    /// makes.
    pub fn render(&self) -> Result<String, SmolfileError> {
        let body = toml::to_string_pretty(self).map_err(|e| SmolfileError(e.to_string()))?;
        Ok(format!("# Written by bottle. Changes are lost at the next start.\n{body}"))
    }

    /// Reads a Smolfile that bottle wrote.
    ///
    /// # Errors
    /// Returns [`SmolfileError`] if the text is not TOML or has an unknown key.
    pub fn parse(text: &str) -> Result<Self, SmolfileError> {
        toml::from_str(text).map_err(|e| SmolfileError(e.to_string()))
    }
}
