//! `smolfile.toml`: what smolvm is told about the machine.
//!
//! The keys are those of smolvm 1.32.2, which refuses every other. `net` is always false: the
//! guest's only network is the tap that the helper makes.

pub use crate::helper::{GUEST_SOCKET, HELPER, HELPER_DIR};
use crate::plan::Plan;
use crate::text::MountPath;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A Smolfile, as far as a bottle needs one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smolfile {
    /// What the machine boots from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Processors.
    pub cpus: u8,
    /// Memory, in MiB.
    pub memory: u32,
    /// smolvm's own network: off.
    pub net: bool,
    /// The folder in which commands start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// `HOST:GUEST[:ro]`.
    pub volumes: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
}

/// A plan that cannot be written down, or text that is no Smolfile of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("smolfile.toml: {0}")]
pub struct SmolfileError(String);

impl Smolfile {
    /// The machine of `plan`, with the helper from the host folder `helper_dir`.
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

    /// The file's text, the same for the same Smolfile, byte for byte.
    ///
    /// # Errors
    /// Never for a Smolfile that [`Smolfile::for_plan`] made; the format's own refusal otherwise.
    pub fn render(&self) -> Result<String, SmolfileError> {
        let body = toml::to_string_pretty(self).map_err(|e| SmolfileError(e.to_string()))?;
        Ok(format!("# Written by bottle. Changes are lost at the next start.\n{body}"))
    }

    /// Reads a Smolfile that bottle wrote.
    ///
    /// # Errors
    /// [`SmolfileError`] where the text is no TOML or has a key that is none of ours.
    pub fn parse(text: &str) -> Result<Self, SmolfileError> {
        toml::from_str(text).map_err(|e| SmolfileError(e.to_string()))
    }
}
