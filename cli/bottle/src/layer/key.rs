//! Where the results of a setup are kept, and what they depend on.

use crate::config::Config;
use crate::image::{Chosen, is_path};
use bottle_core::specification::SetupKeep;
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Home;
use bottle_images::manifest::Platform;
use bottle_images::store::digest_of;
use bottle_images::{Setups, Store};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The image that a setup made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its digest.
    pub digest: ImageDigest,
    archive: PathBuf,
}

/// Returns where a configuration keeps the results of its setup: in an image, if its own image is one that it can be
/// put on top of, unless the file says otherwise.
///
/// # Errors
/// Returns [`Kind::Usage`] if the file wants it in an image that is not from a registry.
pub fn keep(config: &Config) -> Outcome<SetupKeep> {
    let can = config.guest.image.as_ref().is_some_and(|image| !is_path(image));
    match config.setup_keep {
        Some(SetupKeep::Image) if !can => {
            let what = "setup-keep = \"image\" needs an image from a registry";
            Err(Failure::new(Kind::Usage, what).help(
                "name one in `guest.image`; with `setup-keep = \"disk\"` the setup runs in the bottle's own machine",
            ))
        }
        Some(keep) => Ok(keep),
        None if can => Ok(SetupKeep::Image),
        None => Ok(SetupKeep::Disk),
    }
}

/// Returns whether a configuration has a setup whose results are kept in an image.
///
/// # Errors
/// Returns an error as for [`keep`].
pub fn is_for_image(config: &Config) -> Outcome<bool> {
    Ok(!config.setup.is_empty() && keep(config)? == SetupKeep::Image)
}

/// Returns the digest of everything that the result of a setup depends on, with the image that it runs in.
pub fn key(config: &Config, base: &ImageDigest) -> ImageDigest {
    let text = |list: Vec<String>| json!(list);
    let Config { setup, guest, egress, .. } = config;
    let all = json!({
        "image": base,
        "architecture": Platform::here().architecture,
        "helper": env!("CARGO_PKG_VERSION"),
        "run": setup.run,
        "allow": text(setup.allow.iter().map(ToString::to_string).collect()),
        "deny": text(egress.deny.iter().map(ToString::to_string).collect()),
        "no_sni": text(egress.allow_no_sni.iter().map(ToString::to_string).collect()),
        // A project may name a proxy that answers in a registry's place. The environment's is the person's own.
        "parent": config.parent.in_file().map(|parent| json!({ "is": parent })),
        "private": text(egress.allow_private.iter().map(ToString::to_string).collect()),
        "hosts": egress.hosts.iter().map(|(name, address)| format!("{name} {address}")).collect::<Vec<_>>(),
        "env": guest.env,
        "authorities": config.authorities,
    });
    digest_of(all.to_string().as_bytes())
}

impl Kept {
    /// Finds the image that a configuration's setup made, if it was made.
    ///
    /// # Errors
    /// Returns an error if the record cannot be read, or if the configuration contradicts itself.
    pub fn find(home: &Home, config: &Config, image: Option<&Chosen>) -> Outcome<Option<Self>> {
        if !is_for_image(config)? {
            return Ok(None);
        }
        let Some(base) = image.and_then(Chosen::digest) else { return Ok(None) };
        let setups = Setups::read(home)?;
        Ok(setups.get(&key(config, base)).map(|made| Self::of(home, &made.pin.digest)))
    }

    /// Returns the image with this digest.
    pub fn of(home: &Home, digest: &ImageDigest) -> Self {
        Self { digest: digest.clone(), archive: Store::of(home).archive(digest) }
    }

    /// Returns the file that smolvm is given, whether it is there or not.
    pub fn archive(&self) -> &Path {
        &self.archive
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ParentChoice;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        config.guest.image = Some("tiny:1".parse().unwrap());
        config.setup.run.push("install".parse().unwrap());
        change(&mut config);
        config
    }

    #[test]
    fn what_a_setup_makes_depends_on_what_it_sees_and_on_nothing_else() {
        let base = digest_of(b"base");
        let same = key(&config(|_| {}), &base);
        let slug = "other".parse().unwrap();
        let unseen = config(|config| {
            config.slug = Some(slug);
            config.guest.memory_mib = 1;
            config.egress.allow.push("example.com".parse().unwrap());
            config.setup_lent.push("example.com".parse().unwrap());
        });
        assert_eq!(key(&unseen, &base), same);
        assert_ne!(key(&config(|_| {}), &digest_of(b"other")), same);
        let others: [fn(&mut Config); 6] = [
            |config| config.parent = ParentChoice::File(None),
            |config| config.egress.allow_no_sni.push("example.com".parse().unwrap()),
            |config| config.setup.run.push("more".parse().unwrap()),
            |config| config.setup.allow.push("example.com".parse().unwrap()),
            |config| config.egress.deny.push("example.com".parse().unwrap()),
            |config| _ = config.guest.env.insert("A".parse().unwrap(), "b".parse().unwrap()),
        ];
        for change in others {
            assert_ne!(key(&config(change), &base), same);
        }
    }

    #[test]
    fn an_image_from_a_registry_gets_what_a_setup_makes_unless_the_file_says_otherwise() {
        assert_eq!(keep(&config(|_| {})).unwrap(), SetupKeep::Image);
        let on_disk = config(|config| config.setup_keep = Some(SetupKeep::Disk));
        assert_eq!(keep(&on_disk).unwrap(), SetupKeep::Disk);
        for image in [None, Some("./mine.tar".parse().unwrap())] {
            let mut config = config(|config| config.guest.image = image);
            assert_eq!(keep(&config).unwrap(), SetupKeep::Disk);
            config.setup_keep = Some(SetupKeep::Image);
            assert!(keep(&config).is_err());
        }
    }
}
