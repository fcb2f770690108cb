//! The sources of secrets. The secrets themselves are never here.

use super::login::Login;
use super::names::InvalidUpstream;
use crate::text::{EnvName, Word};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
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
    /// After how many seconds the command is run again, if its output does not last for ever.
    pub lifetime: Option<NonZeroU32>,
}

impl Secret {
    /// Makes a secret that has no end.
    pub fn new(source: SecretSource, prefix: &str) -> Self {
        Self { source, prefix: prefix.to_owned(), lifetime: None }
    }

    /// Returns whether it is looked up again while a bottle runs.
    pub fn is_renewed(&self) -> bool {
        self.lifetime.is_some() || matches!(self.source, SecretSource::Login(_))
    }
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
    /// In a login that `bottle login` took over.
    Login(Login),
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
    /// The login that has it, which `bottle login` took over: `claude` or `codex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_login: Option<Login>,
    /// After how many seconds the command is run again. It is run again once an origin answers with 401, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime: Option<NonZeroU32>,
    /// What the header has before it, like `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
}

impl TryFrom<Table> for Secret {
    type Error = InvalidUpstream;

    fn try_from(table: Table) -> Result<Self, InvalidUpstream> {
        let Table { from_env, from_file, from_command, from_login, lifetime, prefix } = table;
        let source = match (from_env, from_file, from_command, from_login) {
            (Some(name), None, None, None) => SecretSource::Env(name),
            (None, Some(path), None, None) => SecretSource::File(path),
            (None, None, Some(words), None) if !words.is_empty() => SecretSource::Command(words),
            (None, None, None, Some(login)) => SecretSource::Login(login),
            _ => return Err(InvalidUpstream::Source),
        };
        if lifetime.is_some() && !matches!(source, SecretSource::Command(_)) {
            return Err(InvalidUpstream::Lifetime);
        }
        Ok(Self { source, prefix, lifetime })
    }
}

impl From<Secret> for Table {
    fn from(secret: Secret) -> Self {
        let mut table = Self { prefix: secret.prefix, lifetime: secret.lifetime, ..Self::default() };
        match secret.source {
            SecretSource::Env(name) => table.from_env = Some(name),
            SecretSource::File(path) => table.from_file = Some(path),
            SecretSource::Command(words) => table.from_command = Some(words),
            SecretSource::Login(login) => table.from_login = Some(login),
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
            Self::Login(login) => write!(f, "the login {login}"),
        }
    }
}
