//! Upstreams, and where a request goes.

use super::names::{HeaderName, Origin, UpstreamPath};
use super::path::{self, BadPath};
use super::secret::Secret;
use crate::environment;
use crate::text::EnvName;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Headers that carry a client's own credentials. A guest has none, so what it puts there is a
/// placeholder or somebody else's, and does not travel.
pub const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "cookie"];

/// A path on the egress proxy's door that leads to one https origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Requests at this path and below it are meant.
    pub path: UpstreamPath,
    /// Where they go.
    pub origin: Origin,
    /// Headers that they are given there, in place of the guest's own.
    #[serde(default)]
    pub headers: BTreeMap<HeaderName, Secret>,
    /// Variables of the guest that name this upstream's URL, each with what follows it.
    #[serde(default)]
    pub variables: BTreeMap<EnvName, String>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Its place among the upstreams.
    pub index: usize,
    /// What follows the upstream's path: nothing, or a path with its query.
    pub rest: &'a str,
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No upstream has this path.
    #[error("no upstream has this path")]
    Unknown,
    /// A path that a server could read as another one.
    #[error(transparent)]
    Path(#[from] BadPath),
}

/// Finds the upstream of a request's path and query, and checks that the request stays below it.
///
/// # Errors
/// [`NoRoute`] where there is none, or the path could be read as another one.
pub fn route<'a>(upstreams: &[Upstream], target: &'a str) -> Result<Route<'a>, NoRoute> {
    let route = find(upstreams, target)?;
    route.check()?;
    Ok(route)
}

/// Finds the upstream of a request's path and query: the one with the longest path, at the
/// boundary of a segment. What follows is not looked at.
///
/// # Errors
/// [`NoRoute::Unknown`] where there is none.
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
    /// Checks that every server reads the path as one below the upstream's.
    ///
    /// # Errors
    /// [`BadPath`] where one could not.
    pub fn check(&self) -> Result<(), BadPath> {
        path::check(self.rest.split('?').next().unwrap_or_default())
    }
}

impl Upstream {
    /// The variables that a guest gets, with their values, where the door is at `url`.
    pub fn environment(&self, url: &str) -> impl Iterator<Item = (&EnvName, String)> {
        let base = format!("{url}{}", self.path);
        self.variables.iter().map(move |(name, suffix)| (name, format!("{base}{suffix}")))
    }
}

/// Why upstreams do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Two of them have one path.
    #[error("two upstreams have the path {0}")]
    Path(UpstreamPath),
    /// Two of them, or one and bottle or the guest's own environment, set one variable.
    #[error("{0} is set twice: by an upstream, and by another, by [guest.env] or by bottle itself")]
    Variable(EnvName),
}

/// Checks that upstreams go together, and with these variables of the guest.
///
/// # Errors
/// The first [`Conflict`].
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
