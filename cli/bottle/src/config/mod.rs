//! `bottle.toml`: a person's description of a bottle. Every key has a default, and so has the file. Some have a
//! person's own default, for all their bottles ([`defaults`]).

mod bound;
pub mod defaults;
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
mod written;

pub use file::{parse, schema};
pub use found::{FILE, Found};
pub use model::{Agent, Config};
pub use parent::ParentChoice;
pub use source::Source;
pub use written::Written;

use bottle_host::failure::Outcome;
use defaults::Defaults;
use paths::{OnDisk, Site};
use std::path::Path;

/// Reads the named file, or the nearest one from `start` upwards, as git finds its folder. What it leaves open, or
/// everything if there is no file, comes from the defaults. With `insisted`, sensitive folders may be shared.
///
/// # Errors
/// Returns [`Kind::Usage`] with file, line and key.
pub fn find(named: Option<&Path>, start: &Path, insisted: bool) -> Outcome<Config> {
    let search = Found::search(named, start)?;
    let mut config = match &search.found {
        Some(found) => parse_found(found, named, insisted)?,
        None => Config::default(),
    };
    config.file = search.found;
    config.passed = search.passed;
    Defaults::find()?.apply(&mut config)?;
    Ok(config)
}

/// Returns the configuration of a file in this folder that says nothing.
///
/// # Errors
/// Returns [`Kind::Usage`](bottle_host::failure::Kind::Usage) if no guest may have the folder.
pub fn empty(project: &Path, insisted: bool) -> Outcome<Config> {
    let source = Source::new(&project.join(FILE), "");
    let mut config = parse(&source, &Site { project: Some(project.to_owned()), disk: &OnDisk, insisted })?;
    Defaults::find()?.apply(&mut config)?;
    Ok(config)
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
