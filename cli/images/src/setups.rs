//! Which image each setup made. What a setup makes is not the same twice, so it is remembered, and not computed.

use crate::pins::Pin;
use anyhow::{Context, Result};
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, Lock, parse_json, private_dir, write_private};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

/// How long another command may hold the record. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each setup made, by the digest of everything that it depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setups {
    made: BTreeMap<ImageDigest, Made>,
}

/// The image that a setup made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The image.
    pub pin: Pin,
    /// The image that it was made from.
    pub base: ImageDigest,
    /// That image's name then.
    pub name: String,
    /// The commands.
    pub run: Vec<String>,
}

impl Made {
    /// Returns its name, for a list.
    pub fn described(&self) -> String {
        format!("{} + setup", self.name)
    }
}

impl Setups {
    /// Reads the record. There is none before the first setup.
    ///
    /// # Errors
    /// Returns an error if it is damaged.
    pub fn read(home: &Home) -> Result<Self> {
        let path = home.image_setups();
        match fs::read_to_string(&path) {
            Ok(text) => parse_json(&path, &text),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Returns what a setup made.
    pub fn get(&self, key: &ImageDigest) -> Option<&Made> {
        self.made.get(key)
    }

    /// Returns what every setup made.
    pub fn iter(&self) -> impl Iterator<Item = &Made> {
        self.made.values()
    }

    /// Remembers what a setup made.
    ///
    /// # Errors
    /// Returns an error if the record cannot be written.
    pub fn record(home: &Home, key: &ImageDigest, made: Made) -> Outcome {
        Self::change(home, |setups| _ = setups.made.insert(key.clone(), made))
    }

    /// Forgets what does not stay.
    ///
    /// # Errors
    /// Returns an error if the record cannot be written.
    pub fn forget(home: &Home, mut stays: impl FnMut(&Made) -> bool) -> Outcome {
        Self::change(home, |setups| setups.made.retain(|_, made| stays(made)))
    }

    fn change(home: &Home, change: impl FnOnce(&mut Self)) -> Outcome {
        let path = home.image_setups();
        path.parent().map(private_dir).transpose()?;
        let lock = Lock::alone(&path.with_extension("lock"), PATIENCE)?;
        let _lock = lock.ok_or_else(|| Failure::new(Kind::Busy, "another command is recording a setup"))?;
        let mut setups = Self::read(home)?;
        let before = setups.clone();
        change(&mut setups);
        if setups == before {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&setups).map_err(anyhow::Error::from)?;
        Ok(write_private(&path, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read_and_what_does_not_stay_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("state"), dir.path().join("run"));
        let digest = |n: u8| -> ImageDigest { format!("sha256:{n:064x}").parse().unwrap() };
        let made = |n: u8| Made {
            pin: Pin { digest: digest(n), size: n.into() },
            base: digest(0),
            name: "tiny:1".to_owned(),
            run: vec!["true".to_owned()],
        };
        assert_eq!(Setups::read(&home).unwrap(), Setups::default());
        Setups::forget(&home, |_| false).unwrap();
        assert!(!home.image_setups().exists());
        Setups::record(&home, &digest(1), made(2)).unwrap();
        Setups::record(&home, &digest(1), made(3)).unwrap();
        Setups::record(&home, &digest(4), made(5)).unwrap();
        assert_eq!(Setups::read(&home).unwrap().get(&digest(1)), Some(&made(3)));
        Setups::forget(&home, |made| made.pin.size != 3).unwrap();
        assert_eq!(Setups::read(&home).unwrap().iter().collect::<Vec<_>>(), [&made(5)]);
        fs::write(home.image_setups(), "{").unwrap();
        assert!(Setups::record(&home, &digest(1), made(2)).is_err(), "a damaged record stays");
    }
}
