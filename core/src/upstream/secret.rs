//! The sources of secrets. The secrets themselves are never here.

use super::names::InvalidUpstream;
use crate::text::{EnvName, Word};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The value of a header that only the host knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Secret {
    /// Its source.
    pub source: SecretSource,
    /// The text before it in the header: `Bearer `.
    pub prefix: String,
}

/// Where the host finds a secret when a bottle starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the environment in which `bottle` runs.
    Env(EnvName),
    /// In a file.
    File(String),
    /// In the output of a command.
    Command(Vec<Word>),
}

/// A secret as `bottle.toml` writes it: `{ from_env = "KEY", prefix = "Bearer " }`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Table {
    /// The variable that has it, in the environment in which `bottle` is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_env: Option<EnvName>,
    /// The file that has it, relative to the folder of `bottle.toml`, or below `~/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_file: Option<String>,
    /// The command that prints it, with its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_command: Option<Vec<Word>>,
    /// What the header has before it, like `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
}

impl TryFrom<Table> for Secret {
    type Error = InvalidUpstream;

    fn try_from(table: Table) -> Result<Self, InvalidUpstream> {
        let source = match table {
            Table { from_env: Some(name), from_file: None, from_command: None, .. } => {
                SecretSource::Env(name)
            }
            Table { from_env: None, from_file: Some(path), from_command: None, .. } => {
                SecretSource::File(path)
            }
            Table { from_env: None, from_file: None, from_command: Some(words), .. } if !words.is_empty() => {
                SecretSource::Command(words)
            }
            _ => return Err(InvalidUpstream::Source),
        };
        Ok(Self { source, prefix: table.prefix })
    }
}

impl From<Secret> for Table {
    fn from(secret: Secret) -> Self {
        let mut table = Self { prefix: secret.prefix, ..Self::default() };
        match secret.source {
            SecretSource::Env(name) => table.from_env = Some(name),
            SecretSource::File(path) => table.from_file = Some(path),
            SecretSource::Command(words) => table.from_command = Some(words),
        }
        table
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "${name}"),
            Self::File(path) => write!(f, "the file {path}"),
            Self::Command(words) => write!(f, "the command {}", words.first().map_or("", Word::as_str)),
        }
    }
}
