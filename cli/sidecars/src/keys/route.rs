//! Finding the upstream of a request.

use bottle_core::upstream::{NoRoute, Route, Upstream};
use bottle_host::defence::Defence;

/// Finds the upstream of a request's path and query. In a debug build the path below it may go
/// unchecked.
///
/// # Errors
/// [`NoRoute`] where there is none, or a server could read the path as another.
pub fn route<'a>(upstreams: &[Upstream], target: &'a str) -> Result<Route<'a>, NoRoute> {
    if Defence::UpstreamPath.stands() {
        bottle_core::upstream::route(upstreams, target)
    } else {
        bottle_core::upstream::find(upstreams, target)
    }
}
