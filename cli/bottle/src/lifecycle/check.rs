//! Everything about a start that can be checked before anything changes.
//!
//! `plan`, `up`, `run` and `restart` ask the same: where `plan` finds nothing, `up` can only fail for what
//! changes in between, and for what this machine lacks, which `bottle doctor` shows.

use super::files;
use crate::config::Config;
use crate::resolve::Resolved;
use crate::trust::pins::Pins;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home};
use bottle_sidecars::keys;

/// A Unix socket's path holds 107 bytes and a NUL.
const SOCKET_PATH: usize = 107;

/// Checks a start, and renders what it would write.
///
/// # Errors
/// Where a host path is in a guest's reach, a path is too long, something cannot be rendered, or a key of
/// an upstream is missing.
pub fn check(home: &Home, folder: &Folder, config: &Config, resolved: &Resolved) -> Outcome {
    Pins::check(home, folder.slug(), config, &[])?;
    let longest = folder.control().as_os_str().len();
    if longest > SOCKET_PATH {
        return Err(Failure::new(
            Kind::Unavailable,
            format!("{} is too long for a socket's path", folder.control().display()),
        )
        .help("set BOTTLE_RUNTIME_DIR to a folder with a shorter name"));
    }
    files::render(folder, &resolved.plan)?;
    keys::check(&resolved.plan.upstreams).map_err(|error| {
        Failure::new(Kind::Unavailable, format!("{error:#}"))
            .help("a key is looked for on this machine when a bottle starts; nothing was changed")
    })
}
