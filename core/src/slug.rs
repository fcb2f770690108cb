//! The name of a bottle.

use crate::subnet::Subnet;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Separates this hash from every other use of SHA-256 over a slug, and pins its version.
const SUBNET_DOMAIN: &[u8] = b"bottle/subnet/v1";

/// Separates this hash from every other use of SHA-256 over an ID, and pins its version.
const RUN_DOMAIN: &[u8] = b"bottle/run/v1";

/// A bottle's name: `[a-z0-9]`, then `[a-z0-9-]`, not ending in `-`, at most [`Slug::MAX_LEN`] bytes.
///
/// It becomes part of paths, of a machine's name and of a subnet, so a value that breaks this rule
/// cannot exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"))
)]
pub struct Slug(String);

/// Why a string is not a [`Slug`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSlug {
    /// The string is empty.
    #[error("a slug cannot be empty")]
    Empty,
    /// The string is longer than [`Slug::MAX_LEN`].
    #[error("a slug has at most {max} characters, this one has {0}", max = Slug::MAX_LEN)]
    TooLong(usize),
    /// The string has a character outside `[a-z0-9-]`.
    #[error("a slug may contain only a-z, 0-9 and '-', not {0:?}")]
    Character(char),
    /// The string starts or ends with `-`.
    #[error("a slug must not start or end with '-'")]
    Hyphen,
}

impl Slug {
    /// The length of the longest slug, in bytes. A Unix socket's path has room for 108, and the longest
    /// path that bottle puts a slug into has to fit.
    pub const MAX_LEN: usize = 40;

    /// Returns the slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of this bottle's smolvm machine: `bottle-<slug>`.
    pub fn machine_name(&self) -> String {
        format!("bottle-{}", self.0)
    }

    /// Returns the subnet of this bottle, always the same one.
    ///
    /// It is the SHA-256 digest of the domain, an attempt byte and the slug: the digest's first eight
    /// bytes, big-endian, modulo 254, plus one. If that gives 17, the next attempt counts.
    pub fn subnet(&self) -> Subnet {
        for attempt in 0..=u8::MAX {
            let digest = Sha256::new()
                .chain_update(SUBNET_DOMAIN)
                .chain_update([attempt])
                .chain_update(self.as_str())
                .finalize();
            let mut head = [0; 8];
            head.copy_from_slice(&digest[..8]);
            let octet = (u64::from_be_bytes(head) % 254 + 1).to_le_bytes()[0];
            if let Ok(subnet) = Subnet::try_from(octet) {
                return subnet;
            }
        }
        // 256 digests in a row that all fall on 17: (1/254)^256. The value is still a valid one.
        Subnet::FIXED
    }

    /// Returns the name of one run of this bottle: `SLUG-ID`. An ID that is no slug itself, or that is too long,
    /// is replaced by what is left of it and eight digits of a SHA-256 digest, so that different IDs stay
    /// different names: `eval`, run as `41_7`, is `eval-41-7-` and the digits.
    pub fn for_run(&self, id: &str) -> Self {
        let plain = format!("{}-{id}", self.0);
        // `A--b` and the like are slugs, but an ID that starts with a hyphen is an option's misspelling.
        if let Some(slug) = id.parse::<Self>().ok().and_then(|_| plain.parse().ok()) {
            return slug;
        }
        let digest = Sha256::new()
            .chain_update(RUN_DOMAIN)
            .chain_update(self.as_str())
            .chain_update([0])
            .chain_update(id)
            .finalize();
        let digits: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let rest = Self::from_name(id).map_or_else(String::new, |rest| format!("-{}", cut(&rest.0, 15)));
        let stem = format!("{}{rest}", cut(self.0.trim_end_matches('-'), 15));
        match format!("{}-{digits}", stem.trim_end_matches('-')).parse() {
            Ok(slug) => slug,
            // Its parts are slugs, and its length is at most 15 + 1 + 15 + 1 + 8.
            Err(_) => self.clone(),
        }
    }

    /// Returns the slug that comes closest to a free-form name such as a folder's, if there is one.
    ///
    /// Letters become lower case, every run of other characters becomes one `-`, and the result is cut
    /// to [`Slug::MAX_LEN`].
    pub fn from_name(name: &str) -> Option<Self> {
        let mut text = String::new();
        for c in name.chars().map(|c| c.to_ascii_lowercase()) {
            match c {
                'a'..='z' | '0'..='9' => text.push(c),
                _ if text.is_empty() || text.ends_with('-') => {}
                _ => text.push('-'),
            }
        }
        text.truncate(Self::MAX_LEN);
        text.trim_end_matches('-').parse().ok()
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        if text.is_empty() {
            return Err(InvalidSlug::Empty);
        }
        if let Some(c) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(InvalidSlug::Character(c));
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidSlug::TooLong(text.len()));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidSlug::Hyphen);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidSlug;

    fn try_from(text: String) -> Result<Self, InvalidSlug> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
