//! Upstreams, and the routes of requests to them.

use super::names::{HeaderName, Origin, UpstreamPath};
use super::path::{self, BadPath};
use super::rule::{NotAllowed, RequestRule, is_allowed};
use super::secret::Secret;
use crate::environment;
use crate::text::EnvName;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Headers for a client's own credentials. A guest has none, so what it puts there is a placeholder or
/// somebody else's, and is not passed on.
pub const CREDENTIALS: [&str; 5] = ["authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"];

/// A path on the egress proxy's door that leads to one https origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Upstream {
    /// The path on the door. Requests for it and for what is below it go to this upstream.
    pub path: UpstreamPath,
    /// The origin that they go to.
    pub origin: Origin,
    /// The requests that may be made. Without rules, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<RequestRule>,
    /// Headers that replace the guest's own.
    #[serde(default)]
    pub headers: BTreeMap<HeaderName, Secret>,
    /// Variables of the guest that contain this upstream's URL, each with a suffix.
    #[serde(default)]
    pub variables: BTreeMap<EnvName, String>,
}

/// The route of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The index of its upstream.
    pub index: usize,
    /// The text after the upstream's path: nothing, or a path with its query.
    pub rest: &'a str,
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No upstream has this path.
    #[error("no upstream has this path")]
    Unknown,
    /// A server could read the path as another one.
    #[error(transparent)]
    Path(#[from] BadPath),
}

/// Finds the upstream of a request's path and query, and checks that the request stays below it.
///
/// # Errors
/// Returns [`NoRoute`] if there is none, or if a server could read the path as another one.
pub fn route<'a>(upstreams: &[Upstream], target: &'a str) -> Result<Route<'a>, NoRoute> {
    let route = find(upstreams, target)?;
    route.check()?;
    Ok(route)
}

/// Finds the upstream of a request's path and query: the one with the longest path that ends at the
/// boundary of a segment. It does not look at what follows.
///
/// # Errors
/// Returns [`NoRoute::Unknown`] if there is none.
pub fn find<'a>(upstreams: &[Upstream], target: &'a str) -> Result<Route<'a>, NoRoute> {
    upstreams
        .iter()
        .enumerate()
        .filter_map(|(index, upstream)| {
            let rest = target.strip_prefix(upstream.path.as_str())?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(Route { index, rest })
        })
        .min_by_key(|route| route.rest.len())
        .ok_or(NoRoute::Unknown)
}

impl Route<'_> {
    /// Checks that every server reads the path as one below the upstream's own.
    ///
    /// # Errors
    /// Returns [`BadPath`] if one could read it otherwise.
    pub fn check(&self) -> Result<(), BadPath> {
        path::check(self.rest.split('?').next().unwrap_or_default())
    }
}

impl Upstream {
    /// Checks a request by the upstream's rules. `rest` is what follows the upstream's path.
    ///
    /// # Errors
    /// Returns [`NotAllowed`] if no rule allows it.
    pub fn check(&self, method: &str, rest: &str) -> Result<(), NotAllowed> {
        if is_allowed(&self.allow, method, rest) {
            return Ok(());
        }
        let path = rest.split('?').next().unwrap_or_default();
        Err(NotAllowed {
            upstream: self.path.to_string(),
            allowed: self.allow.iter().map(RequestRule::to_string).collect::<Vec<_>>().join(", "),
            method: method.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            by_query: is_allowed(&self.allow, method, path),
        })
    }

    /// Returns whether one of its secrets is looked up again while a bottle runs.
    pub fn is_renewed(&self) -> bool {
        self.headers.values().any(Secret::is_renewed)
    }

    /// Returns the variables that a guest gets, with their values, if the door is at `url`.
    pub fn environment(&self, url: &str) -> impl Iterator<Item = (&EnvName, String)> {
        let base = format!("{url}{}", self.path);
        self.variables.iter().map(move |(name, suffix)| (name, format!("{base}{suffix}")))
    }
}

/// Why upstreams conflict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Two of them have the same path.
    #[error("two upstreams have the path {0}")]
    Path(UpstreamPath),
    /// Two of them set the same variable, or bottle or the guest's own environment sets it, too.
    #[error("{0} is set twice: by an upstream, and by another upstream, [guest.env] or bottle itself")]
    Variable(EnvName),
}

/// Checks that upstreams conflict neither with each other nor with these variables of the guest.
///
/// # Errors
/// Returns the first [`Conflict`].
pub fn check<'a>(upstreams: &'a [Upstream], guest: impl Fn(&EnvName) -> bool) -> Result<(), Conflict> {
    let mut paths: Vec<&'a UpstreamPath> = Vec::new();
    let mut names: Vec<&'a EnvName> = Vec::new();
    for upstream in upstreams {
        if paths.contains(&&upstream.path) {
            return Err(Conflict::Path(upstream.path.clone()));
        }
        paths.push(&upstream.path);
        for name in upstream.variables.keys() {
            if names.contains(&name) || guest(name) || environment::is_reserved(name.as_str()) {
                return Err(Conflict::Variable(name.clone()));
            }
            names.push(name);
        }
    }
    Ok(())
}
