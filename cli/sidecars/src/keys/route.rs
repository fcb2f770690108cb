//! Finds the upstream of a request.

use bottle_core::upstream::{NoRoute, Route, Upstream};
use bottle_host::defence::Defence;

/// Finds the upstream for a request's path and query. A debug build can leave the rest of the path unchecked.
///
/// # Errors
/// Returns [`NoRoute`] if there is none, or if a server could read the path as a different one.
pub fn route<'a>(upstreams: &[Upstream], target: &'a str) -> Result<Route<'a>, NoRoute> {
    if Defence::UpstreamPath.stands() {
        bottle_core::upstream::route(upstreams, target)
    } else {
        bottle_core::upstream::find(upstreams, target)
    }
}
