//! Which image each name means. A tag moves in its registry, and here only when a person asks for it.

use crate::name::Name;
use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, Lock, parse_json, private_dir, write_private};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// How long another command may hold the record. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which image each name means, since it was first used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    images: BTreeMap<String, Pin>,
}

/// The image that a name means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The digest of its manifest, for this machine's platform.
    pub digest: ImageDigest,
    /// The bytes of all its parts, as they are sent.
    pub size: u64,
}

impl Pins {
    /// Reads the record. There is none before the first image.
    ///
    /// # Errors
    /// Returns an error if it is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => parse_json(path, &text),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Returns the image that a name means.
    pub fn get(&self, name: &Name) -> Option<&Pin> {
        self.images.get(&name.to_string())
    }

    /// Returns every name with its image.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Pin)> {
        self.images.iter().map(|(name, pin)| (name.as_str(), pin))
    }

    /// Remembers the image that a name means from now on.
    ///
    /// # Errors
    /// Returns an error if the record cannot be written.
    pub fn record(home: &Home, name: &Name, pin: Pin) -> Outcome {
        Self::change(home, |pins| _ = pins.images.insert(name.to_string(), pin))
    }

    /// Forgets names.
    ///
    /// # Errors
    /// Returns an error if the record cannot be written.
    pub fn forget(home: &Home, mut stays: impl FnMut(&str, &Pin) -> bool) -> Outcome {
        Self::change(home, |pins| pins.images.retain(|name, pin| stays(name, pin)))
    }

    fn change(home: &Home, change: impl FnOnce(&mut Self)) -> Outcome {
        let path = home.image_pins();
        path.parent().map(private_dir).transpose()?;
        let lock = Lock::alone(&path.with_extension("lock"), PATIENCE)?;
        let _lock = lock.ok_or_else(|| Failure::new(Kind::Busy, "another command is recording an image"))?;
        let mut pins = Self::read(&path)?;
        change(&mut pins);
        let text = serde_json::to_vec_pretty(&pins).map_err(anyhow::Error::from)?;
        Ok(write_private(&path, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pin(n: u64) -> Pin {
        Pin { digest: format!("sha256:{n:064x}").parse().unwrap(), size: n }
    }

    #[test]
    fn what_was_recorded_is_read_and_two_spellings_are_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("state"), dir.path().join("run"));
        let path = home.image_pins();
        assert_eq!(Pins::read(&path).unwrap(), Pins::default());
        Pins::record(&home, &"a".parse().unwrap(), pin(1)).unwrap();
        Pins::record(&home, &"b:2".parse().unwrap(), pin(2)).unwrap();
        Pins::record(&home, &"a:latest".parse().unwrap(), pin(3)).unwrap();
        let pins = Pins::read(&path).unwrap();
        assert_eq!(pins.get(&"a".parse().unwrap()), Some(&pin(3)));
        assert_eq!(pins.iter().count(), 2);
        Pins::forget(&home, |_, pin| pin.size != 2).unwrap();
        assert_eq!(Pins::read(&path).unwrap().iter().count(), 1);
        fs::write(&path, "{").unwrap();
        assert!(Pins::read(&path).is_err());
        assert!(Pins::record(&home, &"a".parse().unwrap(), pin(1)).is_err(), "a damaged record stays");
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(sizes in prop::collection::btree_map("[a-z]{1,9}", any::<u64>(), 0..9)) {
            let images = sizes.into_iter().map(|(name, n)| (name, pin(n))).collect();
            let pins = Pins { images };
            let text = serde_json::to_string(&pins).unwrap();
            prop_assert_eq!(serde_json::from_str::<Pins>(&text).unwrap(), pins);
        }
    }
}
