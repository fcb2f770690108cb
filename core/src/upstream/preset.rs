//! Upstreams that many people use, with their origins and the variables that programs read.

use super::login::Login;
use super::names::InvalidUpstream;
use super::route::Upstream;
use super::secret::{Secret, SecretSource};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A well-known upstream: `preset = "anthropic"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Preset {
    /// Anthropic's API, as its SDKs and Claude Code read `ANTHROPIC_BASE_URL`.
    Anthropic,
    /// OpenAI's API, as its SDKs read `OPENAI_BASE_URL`.
    OpenAi,
    /// Google's Gemini API, as its SDKs and CLI read `GOOGLE_GEMINI_BASE_URL`.
    Gemini,
    /// GitHub's REST API. GitHub Actions call its address `GITHUB_API_URL`.
    GitHub,
    /// Anthropic's API, with a person's subscription.
    Claude,
    /// ChatGPT's API for Codex, with a person's subscription.
    Codex,
}

/// The parts of a preset.
struct Parts {
    name: &'static str,
    path: &'static str,
    origin: &'static str,
    header: &'static str,
    prefix: &'static str,
    key: Key,
    variable: &'static str,
    suffix: &'static str,
}

/// Where the key of a preset is.
enum Key {
    Variable(&'static str),
    Login(Login),
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 6] =
        [Self::Anthropic, Self::OpenAi, Self::Gemini, Self::GitHub, Self::Claude, Self::Codex];

    /// Returns the preset that asks for the same with a person's subscription in place of a key, if there is one.
    pub const fn with_login(self) -> Option<(Self, Login)> {
        match self {
            Self::Anthropic => Some((Self::Claude, Login::Claude)),
            Self::OpenAi => Some((Self::Codex, Login::Codex)),
            _ => None,
        }
    }

    const fn parts(self) -> Parts {
        match self {
            Self::Anthropic => Parts {
                name: "anthropic",
                path: "/anthropic",
                origin: "https://api.anthropic.com",
                header: "x-api-key",
                prefix: "",
                key: Key::Variable("ANTHROPIC_API_KEY"),
                variable: "ANTHROPIC_BASE_URL",
                suffix: "",
            },
            Self::OpenAi => Parts {
                name: "openai",
                path: "/openai",
                origin: "https://api.openai.com",
                header: "authorization",
                prefix: "Bearer ",
                key: Key::Variable("OPENAI_API_KEY"),
                variable: "OPENAI_BASE_URL",
                suffix: "/v1",
            },
            Self::Gemini => Parts {
                name: "gemini",
                path: "/gemini",
                origin: "https://generativelanguage.googleapis.com",
                header: "x-goog-api-key",
                prefix: "",
                key: Key::Variable("GEMINI_API_KEY"),
                variable: "GOOGLE_GEMINI_BASE_URL",
                suffix: "",
            },
            Self::GitHub => Parts {
                name: "github",
                path: "/github",
                origin: "https://api.github.com",
                header: "authorization",
                prefix: "Bearer ",
                key: Key::Variable("GITHUB_TOKEN"),
                variable: "GITHUB_API_URL",
                suffix: "",
            },
            Self::Claude => Parts {
                name: "claude",
                header: "authorization",
                prefix: "Bearer ",
                key: Key::Login(Login::Claude),
                ..Self::Anthropic.parts()
            },
            Self::Codex => Parts {
                name: "codex",
                origin: "https://chatgpt.com/backend-api/codex",
                key: Key::Login(Login::Codex),
                suffix: "",
                ..Self::OpenAi.parts()
            },
        }
    }

    /// Returns the name that configuration uses.
    pub const fn name(self) -> &'static str {
        self.parts().name
    }

    /// Returns the upstream.
    ///
    /// # Errors
    /// Never returns an error: a test makes each of them.
    pub fn upstream(self) -> Result<Upstream, InvalidUpstream> {
        let parts = self.parts();
        let name = |text: &str| text.parse().map_err(|_| InvalidUpstream::Preset(parts.name.to_owned()));
        let source = match parts.key {
            Key::Variable(key) => SecretSource::Env(name(key)?),
            Key::Login(login) => SecretSource::Login(login),
        };
        let secret = Secret::new(source, parts.prefix);
        Ok(Upstream {
            path: parts.path.parse()?,
            origin: parts.origin.parse()?,
            allow: Vec::new(),
            headers: BTreeMap::from([(parts.header.parse()?, secret)]),
            variables: BTreeMap::from([(name(parts.variable)?, parts.suffix.to_owned())]),
        })
    }
}

impl Upstream {
    /// Returns the login that could take the place of its key, if its origin is one of a preset that has such a login.
    pub fn login_instead(&self) -> Option<Login> {
        let is_its = |preset: Preset| preset.upstream().is_ok_and(|known| known.origin == self.origin);
        Preset::ALL
            .into_iter()
            .filter(|preset| is_its(*preset))
            .find_map(|preset| Some(preset.with_login()?.1))
    }
}

impl FromStr for Preset {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or_else(|| InvalidUpstream::Preset(text.to_owned()))
    }
}
