//! Completes names of bottles, and paths, while a person types.

use bottle_core::slug::Slug;
use bottle_host::state::Home;
use bottle_images::Pins;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use std::ffi::OsStr;

/// Returns the names of this user's bottles, in order.
pub fn bottles() -> Vec<Slug> {
    let folders = Home::find().ok().and_then(|home| home.bottles().ok());
    folders.unwrap_or_default().iter().map(|folder| folder.slug().clone()).collect()
}

/// Offers the names of bottles.
pub fn slugs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| bottles().iter().map(|slug| CompletionCandidate::new(slug.as_str())).collect())
}

/// Offers the names of images that were fetched.
pub fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let pins = Home::find().ok().and_then(|home| Pins::read(&home.image_pins()).ok());
        pins.unwrap_or_default().iter().map(|(name, _)| CompletionCandidate::new(name)).collect()
    })
}

/// Offers `PATH` and `SLUG:`. Only the guest knows which files it has.
pub fn places() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let named = current.to_str().and_then(|text| text.split_once(':'));
        if named.is_some_and(|(slug, _)| !slug.contains('/')) {
            return Vec::new();
        }
        let mut offered = PathCompleter::any().complete(current);
        let slugs = bottles().into_iter().map(|slug| format!("{slug}:"));
        let fitting = slugs.filter(|slug| current.to_str().is_some_and(|text| slug.starts_with(text)));
        offered.extend(fitting.map(CompletionCandidate::new));
        offered
    })
}
