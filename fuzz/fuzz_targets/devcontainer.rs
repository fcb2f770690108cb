//! Trust boundary: a project's devcontainer.json, which anybody who writes to the project may have written.
//! Property: it is refused, or what `bottle init` writes of it reads back as exactly what was taken over, and opens
//! nothing: no host, folder, key or program of this machine.
#![no_main]

use bottle::config::paths::{Disk, Site};
use bottle::config::sensitive::Sensitive;
use bottle::config::{Source, parse};
use bottle::devcontainer::translate::translate;
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};

/// A disk on which everything is there but for files with the name of an image.
struct Everything;

impl Disk for Everything {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        (path.extension() != Some("tar".as_ref())).then(|| Path::new("/").join(path))
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn is_repository(&self, _: &Path) -> bool {
        true
    }

    fn sensitive(&self) -> Vec<Sensitive> {
        Vec::new()
    }
}

fuzz_target!(|text: &str| {
    let Ok(taken) = translate(text) else { return };
    let left = taken.left(Path::new(".devcontainer.json"));
    assert!(left.lines().all(|line| line.starts_with('#')), "{left}");
    let written = format!("{left}[guest]\n{}\n{}", taken.guest("# image", false), taken.publish());
    let source = Source::new(Path::new("bottle.toml"), &written);
    let site = Site { project: Some("/project".into()), disk: &Everything, insisted: false };
    let config = parse(&source, &site).unwrap_or_else(|failure| panic!("{failure}\n{written}"));
    assert_eq!((config.guest.image, config.guest.workdir), (taken.image, taken.workdir));
    assert_eq!((config.setup.run, config.guest.env), (taken.setup, taken.env));
    assert_eq!(config.publish.iter().map(|port| port.guest).collect::<Vec<_>>(), taken.publish);
    assert!(config.guest.volumes.is_empty() && config.upstreams.is_empty() && config.notify.is_empty());
    assert!(config.egress.allow.is_empty() && config.setup.allow.is_empty() && config.authorities.is_empty());
});
