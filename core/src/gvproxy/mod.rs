//! How gvproxy is told what to do: `gvproxy.yaml`, and flags for versions that read no file.

mod config;
mod dialect;

pub use config::{Config, ConfigError, Interfaces, Record, Stack, Zone};
pub use dialect::{Dialect, InvalidVersion, Version};
