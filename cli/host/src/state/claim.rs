//! Ties a runtime folder to one state folder.

use super::files::write_private;
use crate::digest::hex;
use crate::failure::{Failure, Kind, Outcome};
use anyhow::Context;
use std::fs;
use std::path::Path;

/// The file in a runtime folder that names its owner. It contains the path of the state folder.
const CLAIM: &str = ".state";

/// Returns a word that tells this state folder apart from others.
pub fn id(state: &Path) -> String {
    hex(state.as_os_str().as_encoded_bytes())[..12].to_owned()
}

/// Returns whether a runtime folder belongs to another state folder.
pub fn is_anothers(runtime: &Path, state: &Path) -> bool {
    fs::read(runtime.join(CLAIM)).is_ok_and(|claimed| claimed != state.as_os_str().as_encoded_bytes())
}

/// Claims a runtime folder for this state folder. A second state folder with the same runtime folder would
/// mistake the first one's sockets and copies for the remains of a crash.
///
/// # Errors
/// Returns [`Kind::Unavailable`] if it belongs to another state folder, or another error if it cannot be
/// written.
pub fn claim(runtime: &Path, state: &Path) -> Outcome {
    if is_anothers(runtime, state) {
        return Err(Failure::new(
            Kind::Unavailable,
            format!("{} holds the bottles of another state folder", runtime.display()),
        )
        .help("set BOTTLE_RUNTIME_DIR to a folder of its own for each BOTTLE_STATE_DIR"));
    }
    if !runtime.join(CLAIM).exists() {
        // Several bottles may start for the first time at once, so each has its own draft.
        let draft = runtime.join(format!(".{}.state", std::process::id()));
        write_private(&draft, state.as_os_str().as_encoded_bytes())?;
        let claimed = fs::rename(&draft, runtime.join(CLAIM));
        claimed.with_context(|| runtime.join(CLAIM).display().to_string())?;
    }
    Ok(())
}
