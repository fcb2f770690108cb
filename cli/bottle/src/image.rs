//! The image of a bottle, if it comes from a registry: what its name means here, and what smolvm is given.

use bottle_core::text::{ImageDigest, ImageRef};
use bottle_host::failure::Outcome;
use bottle_host::state::Home;
use bottle_images::{Name, Pin, Pins, Store, archive};
use std::path::{Path, PathBuf};

/// An image that comes from a registry.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its name.
    pub name: Name,
    /// What the name means, and where smolvm finds it. `None` before it is first used.
    pinned: Option<(Pin, PathBuf)>,
}

impl Chosen {
    /// Returns what is known about an image, or `None` if it is a path.
    ///
    /// # Errors
    /// Returns an error if the text is no name, or if the record of names cannot be read.
    pub fn find(home: &Home, image: Option<&ImageRef>) -> Outcome<Option<Self>> {
        let Some(image) = image.filter(|image| !is_path(image)) else { return Ok(None) };
        let name: Name = image.as_str().parse()?;
        let pin = Pins::read(&home.image_pins())?.get(&name).cloned();
        let archive = |pin: Pin| {
            let archive = Store::of(home).archive(&pin.digest);
            (pin, archive)
        };
        Ok(Some(Self { name, pinned: pin.map(archive) }))
    }

    /// Returns the same name for the image that a machine was made from.
    pub fn as_made(self, home: &Home, digest: &ImageDigest) -> Self {
        if self.digest() == Some(digest) {
            return self;
        }
        let archive = Store::of(home).archive(digest);
        let size = archive.metadata().map_or(0, |meta| meta.len());
        Self { pinned: Some((Pin { digest: digest.clone(), size }, archive)), ..self }
    }

    /// Returns what the name means.
    pub fn digest(&self) -> Option<&ImageDigest> {
        self.pinned.as_ref().map(|(pin, _)| &pin.digest)
    }

    /// Returns the file that smolvm is given, whether it is there or not.
    pub fn archive(&self) -> Option<&Path> {
        self.pinned.as_ref().map(|(_, archive)| archive.as_path())
    }

    /// Returns whether everything is here that a start needs.
    pub fn is_here(&self) -> bool {
        self.archive().is_some_and(archive::is_whole)
    }

    /// Says how much of the image is here, as one line.
    pub fn describe(&self) -> String {
        match &self.pinned {
            Some((pin, _)) if self.is_here() => {
                format!("{}, as {} meant when it was fetched", size(pin.size), self.name)
            }
            Some((pin, _)) => format!("no longer: {} are fetched again at the next start", size(pin.size)),
            None => {
                format!("not yet: `bottle images pull {}` fetches it, and so does the first start", self.name)
            }
        }
    }
}

/// Returns whether an image is a path. Any other text is a name.
pub fn is_path(image: &ImageRef) -> bool {
    image.as_str().starts_with(['/', '.'])
}

/// Writes a number of bytes for a person.
pub fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_has_one_digit_after_the_point() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (1_999_999, "1.9 MB"),
            (52_120_000, "52.1 MB"),
            (8_500_000_000, "8.5 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
