//! One runtime folder, one state folder.

use super::files::write_private;
use crate::failure::{Failure, Kind, Outcome};
use crate::provenance::hex;
use std::fs;
use std::path::Path;

/// The file in a runtime folder that says whose it is: it holds the path of the state folder.
const CLAIM: &str = ".state";

/// Returns a word that tells this state folder apart from others.
pub fn id(state: &Path) -> String {
    hex(state.as_os_str().as_encoded_bytes())[..12].to_owned()
}

/// Returns whether a runtime folder holds what belongs to another state folder.
pub fn is_anothers(runtime: &Path, state: &Path) -> bool {
    fs::read(runtime.join(CLAIM)).is_ok_and(|claimed| claimed != state.as_os_str().as_encoded_bytes())
}

/// Makes a runtime folder this state's own: a second state with the same one would take the first one's
/// sockets and copies for what a crash left.
///
/// # Errors
/// [`Kind::Unavailable`] where it is another state's, or cannot be written.
pub fn claim(runtime: &Path, state: &Path) -> Outcome {
    if is_anothers(runtime, state) {
        return Err(Failure::new(
            Kind::Unavailable,
            format!("{} holds the bottles of another state folder", runtime.display()),
        )
        .help("set BOTTLE_RUNTIME_DIR to a folder of its own for each BOTTLE_STATE_DIR"));
    }
    if !runtime.join(CLAIM).exists() {
        write_private(&runtime.join(CLAIM), state.as_os_str().as_encoded_bytes())?;
    }
    Ok(())
}
