//! Logins of people: subscriptions, whose tokens are renewed where their vendor says.

use super::names::InvalidUpstream;
use alloc::borrow::ToOwned;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A person's login to a vendor, that `bottle login` took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Login {
    /// Claude Code's, to Anthropic.
    Claude,
    /// Codex's, to ChatGPT.
    Codex,
}

/// Where and how a login's tokens are renewed, and what a request with one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginTerms {
    /// The host of the token endpoint.
    pub host: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The vendor's own name for its command-line program.
    pub client: &'static str,
    /// The scope to ask for, if the endpoint wants one.
    pub scope: Option<&'static str>,
    /// A header that a request with such a token has, and its value, which is added to the guest's own.
    pub marker: Option<(&'static str, &'static str)>,
    /// The header with the account's name, if a request has one.
    pub account: Option<&'static str>,
}

impl Login {
    /// Every login.
    pub const ALL: [Self; 2] = [Self::Claude, Self::Codex];

    /// Returns the name that configuration and commands use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }

    /// Returns its terms, as the vendor's own program has them.
    pub const fn terms(self) -> LoginTerms {
        match self {
            Self::Claude => LoginTerms {
                host: "console.anthropic.com",
                path: "/v1/oauth/token",
                client: "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
                scope: None,
                marker: Some(("anthropic-beta", "oauth-2025-04-20")),
                account: None,
            },
            Self::Codex => LoginTerms {
                host: "auth.openai.com",
                path: "/oauth/token",
                client: "app_EMoamEEZ73f0CkXaXp7hrann",
                scope: Some("openid profile email"),
                marker: None,
                account: Some("chatgpt-account-id"),
            },
        }
    }
}

impl FromStr for Login {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let found = Self::ALL.into_iter().find(|login| login.name() == text);
        found.ok_or_else(|| InvalidUpstream::Login(text.to_owned()))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
