//! The policy that decides about each ref of a push.

use super::path::{Guarded, Touched};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

const TAGS: &str = "refs/tags/";

/// What happens to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// It goes to the upstream at once.
    Allow,
    /// It waits for a person.
    Ask,
    /// It is refused.
    Deny,
}

/// A ref, or every ref below a prefix: `refs/heads/main`, `refs/heads/agent/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefPattern(String);

/// Text that is not a pattern for refs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a ref such as \"refs/heads/main\" or \"refs/heads/agent/*\"")]
pub struct InvalidRefPattern(String);

/// A rule about pushes to some refs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefRule {
    /// The refs.
    #[serde(rename = "ref")]
    pub pattern: RefPattern,
    /// What happens to a push.
    pub verdict: Verdict,
}

/// The policy of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Policy {
    /// The rules, of which the first that fits decides. If none fits, a branch waits for a person and
    /// anything else is refused.
    pub rules: Vec<RefRule>,
    /// Whether a branch may be rewritten or deleted.
    pub force: bool,
    /// Whether tags may be pushed where a rule allows them.
    pub tags: bool,
    /// Paths that no pushed commit may touch. A final slash makes one a folder.
    pub deny_paths: Vec<String>,
    /// The largest push, in MiB.
    pub max_mib: u32,
}

impl Default for Policy {
    fn default() -> Self {
        // GitHub and others run what is there by themselves, with the operator's rights.
        let deny_paths = [".github/", ".gitlab-ci.yml", ".circleci/"].map(str::to_owned).to_vec();
        Self { rules: Vec::new(), force: false, tags: false, deny_paths, max_mib: 50 }
    }
}

/// One ref of a push, as git reports it to a `pre-receive` hook, with the facts about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The ref's full name.
    pub name: String,
    /// The commit that it pointed to, unless it is new.
    pub old: Option<String>,
    /// The commit that it will point to, unless it is deleted.
    pub new: Option<String>,
    /// Whether the old commit is an ancestor of the new one. A new ref counts as such.
    pub fast_forward: bool,
    /// The paths that the new commits touch.
    pub paths: Vec<Touched>,
    /// The places where secrets were found, in words.
    pub secrets: Vec<String>,
}

/// Why a push is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A rule says so, or no rule fits and it is not a branch.
    #[error("no rule lets this ref be pushed")]
    Ref,
    /// The ref has a name that nobody should have to read or type.
    #[error(
        "the name of a pushed ref may have only ASCII letters, digits and -_.+/#@=,% (and at most 200 of them)"
    )]
    Name,
    /// The ref is a tag.
    #[error("tags are not pushed")]
    Tag,
    /// The branch would be deleted.
    #[error("branches are not deleted")]
    Delete,
    /// The branch would be rewritten.
    #[error("branches are not rewritten (no force push)")]
    Force,
    /// The push touches a guarded path.
    #[error("{0} must not be changed")]
    Path(String),
    /// The push contains what looks like a secret.
    #[error("it contains what looks like a secret: {0}")]
    Secret(String),
}

impl RefPattern {
    fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => name == self.0,
        }
    }
}

impl FromStr for RefPattern {
    type Err = InvalidRefPattern;

    fn from_str(text: &str) -> Result<Self, InvalidRefPattern> {
        let invalid = || InvalidRefPattern(text.to_owned());
        let fixed = text.strip_suffix("/*").unwrap_or(text);
        let named = fixed.strip_prefix("refs/").ok_or_else(invalid)?;
        let plain =
            |part: &str| !part.is_empty() && !part.contains(['*', '?', '[', ' ', '~', '^', ':', '\\']);
        if named.split('/').all(plain) && !named.contains("..") && !named.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

impl TryFrom<String> for RefPattern {
    type Error = InvalidRefPattern;

    fn try_from(text: String) -> Result<Self, InvalidRefPattern> {
        text.parse()
    }
}

impl From<RefPattern> for String {
    fn from(pattern: RefPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for RefPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Policy {
    /// Decides about one ref of a push. The verdict is never [`Verdict::Deny`]: that is a [`Refused`].
    ///
    /// # Errors
    /// Returns why the push is refused.
    pub fn decide(&self, update: &Update) -> Result<Verdict, Refused> {
        let verdict =
            self.rules.iter().find(|rule| rule.pattern.matches(&update.name)).map(|rule| rule.verdict);
        if update.name.starts_with(TAGS) && !self.tags {
            return Err(Refused::Tag);
        }
        let verdict = match verdict {
            Some(Verdict::Deny) => return Err(Refused::Ref),
            Some(verdict) => verdict,
            None if update.name.starts_with("refs/heads/") => Verdict::Ask,
            None => return Err(Refused::Ref),
        };
        if update.new.is_none() && !self.force {
            return Err(Refused::Delete);
        }
        if !update.fast_forward && !self.force {
            return Err(Refused::Force);
        }
        let guarded = self.guarded();
        if let Some(touched) = update.paths.iter().find(|touched| guarded.covers(touched)) {
            return Err(Refused::Path(touched.path.clone()));
        }
        match update.secrets.first() {
            Some(secret) => Err(Refused::Secret(secret.clone())),
            None => Ok(verdict),
        }
    }

    /// Returns the guarded paths, ready to be compared.
    pub fn guarded(&self) -> Guarded {
        Guarded::new(&self.deny_paths)
    }
}
