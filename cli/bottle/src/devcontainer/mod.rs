//! `devcontainer.json`: what `bottle init` takes over from it.
//!
//! It is read once, by `bottle init`, and never afterwards: what it says becomes lines of `bottle.toml` that a person
//! looks at. Whatever has no counterpart is listed there with its reason. [`translate`] decides, [`lines`] writes.

pub mod lines;
mod substitute;
pub mod translate;

use crate::config::found::shown;
use crate::trust::programs;
use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, read_short};
use std::path::{Path, PathBuf};
use translate::Translation;

/// Where a project keeps the file.
const PLACES: [&str; 2] = [".devcontainer/devcontainer.json", ".devcontainer.json"];
/// The longest file, in bytes.
const LONGEST: u64 = 1 << 20;

/// What was found in a project.
#[derive(Debug)]
pub enum Found {
    /// There is none.
    None,
    /// There is one that a guest could have written. It is not read.
    Guests(PathBuf),
    /// This is what it says.
    Read(PathBuf, Translation),
}

/// Reads the file that a person named, or the project's own, unless a guest could have written that.
///
/// # Errors
/// Returns [`Kind::Usage`] if it cannot be read.
pub fn find(home: &Home, here: &Path, named: Option<&Path>) -> Outcome<Found> {
    let path = match named {
        Some(path) => here.join(path),
        None => match PLACES.iter().map(|place| here.join(place)).find(|path| path.exists()) {
            Some(path) if programs::could_be_a_guests(home, &path)? => return Ok(Found::Guests(path)),
            Some(path) => path,
            None => return Ok(Found::None),
        },
    };
    let cannot = |why: &str| {
        let help = match named {
            Some(_) => "name a devcontainer.json",
            None => "correct it, or move it away: `bottle init` does without one",
        };
        Failure::new(Kind::Usage, format!("{}: {}", shown(&path), Line(why))).help(help)
    };
    let text = read_short(&path, LONGEST).map_err(|error| cannot(&error.to_string()))?;
    let translation = translate::translate(&text).map_err(|why| cannot(&why))?;
    Ok(Found::Read(path, translation))
}
