//! `bottle.toml`: a person's description of a bottle. Every key has a default, and so has the file.

pub mod edit;
mod file;
pub mod found;
mod git_gate;
mod key;
mod model;
mod mounts;
pub mod named;
mod parent;
pub mod paths;
pub mod places;
pub mod sensitive;
mod shape;
mod sidecar;
mod source;
mod spanned;
mod syntax;
mod table;
mod upstream;

pub use file::{parse, schema};
pub use found::{FILE, Found};
pub use model::{Agent, Config};
pub use source::Source;

use bottle_host::failure::Outcome;
use paths::{OnDisk, Site};
use std::path::Path;

/// Reads the named file, or the nearest one from `start` upwards, as git finds its folder. Without a file,
/// returns the defaults. With `insisted`, sensitive folders may be shared.
///
/// # Errors
/// Returns [`Kind::Usage`] with file, line and key.
pub fn find(named: Option<&Path>, start: &Path, insisted: bool) -> Outcome<Config> {
    let search = Found::search(named, start)?;
    let Some(found) = search.found else {
        return Ok(Config { passed: search.passed, ..Config::default() });
    };
    let mut config = parse_found(&found, named, insisted)?;
    config.file = Some(found);
    config.passed = search.passed;
    Ok(config)
}

/// Returns the configuration of a file in this folder that says nothing.
///
/// # Errors
/// Returns [`Kind::Usage`](bottle_host::failure::Kind::Usage) if no guest may have the folder.
pub fn empty(project: &Path, insisted: bool) -> Outcome<Config> {
    parse(
        &Source::new(&project.join(FILE), ""),
        &Site { project: Some(project.to_owned()), disk: &OnDisk, insisted },
    )
}

/// Parses a file that was found. `named` is the name that a person gave it.
///
/// # Errors
/// Returns [`Kind::Usage`](bottle_host::failure::Kind::Usage) with file, line and key.
pub fn parse_found(found: &Found, named: Option<&Path>, insisted: bool) -> Outcome<Config> {
    let project = found.path.parent().map(Path::to_owned);
    let source = Source::new(named.unwrap_or(&found.path), &found.text);
    parse(&source, &Site { project, disk: &OnDisk, insisted })
}
