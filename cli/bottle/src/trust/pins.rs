//! Pins the host paths that a configuration names: they are checked before a machine starts, and are still
//! the same when it does.
//!
//! smolvm takes names, so no guest may be able to give a checked name to something else meanwhile. Nothing
//! that a bottle uses lies *below* a folder that some guest can write. It is outside all of them, or it is
//! such a folder itself, and the folder that contains its name is one that no guest can write. What a guest
//! left long ago is only searched for links. The device and inode of each path are recorded and compared at
//! each start.

use crate::config::Config;
use crate::config::found::shown;
use crate::config::named::{Named, Use};
use anyhow::{Context, Result};
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::walk::{Identity, Walk, walk};
use bottle_host::provenance::writable::{How, Within, WritablePath, WritablePaths};
use bottle_host::state::{Folder, Home, write_private};
use bottle_host::tools::Tools;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A path that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    is_for: Use,
    writable: bool,
    written: PathBuf,
    real: PathBuf,
    identity: Option<Identity>,
}

/// Every host path of a bottle, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(Vec<Pin>);

/// A folder that a guest can write, and the bottle of that guest.
struct Reach {
    place: WritablePath,
    whose: String,
    other: Option<Slug>,
}

impl Pins {
    /// Checks the paths of a configuration, and those of the programs that bottle runs. Writes nothing.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if a guest can reach one of them, or if this guest could reach another
    /// bottle's.
    pub fn check(home: &Home, slug: &Slug, config: &Config, tools: &[Named]) -> Outcome<Self> {
        if !Defence::PinnedPaths.stands() {
            return Ok(Self::default());
        }
        let writable = WritablePaths::read(home)?;
        let own = own(slug, config)?;
        let others = others(home, slug, &writable)?;
        for root in home.roots() {
            let walked = followed(root)?;
            let mut places = own.iter().map(|reach| &reach.place).chain(writable.shared());
            if places.any(|place| place.holds(&walked, false) != Within::No) {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("bottle's own state, {}, is where a guest could write", shown(root)),
                )
                .help("set BOTTLE_STATE_DIR and BOTTLE_RUNTIME_DIR to folders that no guest gets"));
            }
        }
        let mut pins = Vec::new();
        for named in config.paths.iter().chain(tools) {
            let walked = followed(&named.written)?;
            // This word of the command is not a path, but for example a URL.
            if named.is_for == Use::Program && walked.end.is_none() {
                continue;
            }
            for reach in own.iter().chain(&others) {
                if reach.place.holds(&walked, false) == Within::Yes {
                    return Err(in_reach(named, reach));
                }
            }
            for place in writable.shared() {
                let links_only = named.is_for != Use::Program;
                if place.holds(&walked, links_only) == Within::Yes {
                    return Err(left(named, place));
                }
            }
            if named.real.as_ref().is_some_and(|real| *real != walked.real) {
                return Err(exchanged(named.is_for, &named.written));
            }
            pins.push(Pin {
                is_for: named.is_for,
                writable: named.writable,
                written: named.written.clone(),
                real: walked.real,
                identity: walked.end.map(|end| end.identity),
            });
        }
        for other in home.bottles()?.iter().filter(|folder| folder.slug() != slug) {
            for pin in &Self::read(other)?.0 {
                let walked = followed(&pin.real)?;
                if let Some(reach) = own.iter().find(|reach| reach.place.holds(&walked, false) == Within::Yes)
                {
                    return Err(holds_another(reach, pin, other.slug()));
                }
            }
        }
        Ok(Self(pins))
    }

    /// Checks the paths of a bottle that is about to start, and first records the folders that its guest will
    /// write. `accepted` allows a folder to differ from the one at the last start.
    ///
    /// # Errors
    /// Returns an error as for [`Pins::check`], and if a folder is a different one.
    pub fn admit(
        home: &Home,
        folder: &Folder,
        config: &Config,
        tools: &Tools,
        accepted: bool,
    ) -> Outcome<Self> {
        // Both happen under one lock: of two commands at once, the second sees what the first will share.
        let _lock = home.lock_trust()?;
        let slug = folder.slug();
        let tools: Vec<Named> = tools.programs().map(Named::program).collect();
        let pins = Self::check(home, slug, config, &tools)?;
        if Defence::PinnedPaths.stands() {
            let before = Self::read(folder)?;
            if let Some(pin) = pins.0.iter().find(|pin| !accepted && pin.is_another(&before)) {
                return Err(Failure::new(
                    Kind::Usage,
                    format!(
                        "{} {} is not the folder that {slug} last started with",
                        pin.is_for,
                        shown(&pin.written)
                    ),
                )
                .help("look at it; `--trust` accepts it"));
            }
            write_private(
                &folder.pins(),
                serde_json::to_string_pretty(&pins).map_err(anyhow::Error::from)?.as_bytes(),
            )?;
        }
        let mut writable = WritablePaths::read(home)?;
        for path in config.writable() {
            writable.add(home, Path::new(path), How::Shared, Some(slug))?;
        }
        Ok(pins)
    }

    /// Checks each path once more, right before a machine starts.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if one of them leads elsewhere now.
    pub fn still(&self) -> Outcome {
        for pin in &self.0 {
            let now = followed(&pin.written)?;
            if (now.real, now.end.map(|end| end.identity)) != (pin.real.clone(), pin.identity) {
                return Err(exchanged(pin.is_for, &pin.written));
            }
        }
        Ok(())
    }

    fn read(folder: &Folder) -> Result<Self> {
        let path = folder.pins();
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

impl Pin {
    /// Returns whether this is a folder of the guest's that has replaced an earlier one.
    fn is_another(&self, before: &Pins) -> bool {
        matches!(self.is_for, Use::Workspace | Use::Volume)
            && before.0.iter().any(|known| {
                (known.is_for, &known.written) == (self.is_for, &self.written)
                    && (&known.real, known.identity) != (&self.real, self.identity)
            })
    }
}

fn own(slug: &Slug, config: &Config) -> Result<Vec<Reach>> {
    let reach = |path: &str| {
        let walked = followed(Path::new(path))?;
        let end = walked.end.with_context(|| format!("{path} is not there"))?;
        let (path, identity) = (walked.real, end.identity);
        let place = WritablePath { path, identity, how: How::Shared, slugs: [slug.clone()].into(), since: 0 };
        Ok(Reach { place, whose: format!("the guest of {slug} itself"), other: None })
    };
    config.writable().map(reach).collect()
}

/// Returns the folders that guests of other bottles can write now, or will when they start again.
fn others(home: &Home, slug: &Slug, writable: &WritablePaths) -> Result<Vec<Reach>> {
    let mut reaches = Vec::new();
    for place in writable.shared() {
        for other in place.slugs.iter().filter(|other| *other != slug) {
            if can_write(&home.bottle(other), place)? {
                let whose = format!("the guest of {other}");
                reaches.push(Reach { place: place.clone(), whose, other: Some(other.clone()) });
            }
        }
    }
    Ok(reaches)
}

/// Returns whether a bottle's guest can write a folder that it once had: now, or after it starts again.
fn can_write(folder: &Folder, place: &WritablePath) -> Result<bool> {
    let pinned = Pins::read(folder)?.0.iter().any(|pin| pin.writable && pin.real == place.path);
    // It still runs as it was started before.
    let machine = fs::read_to_string(folder.machine_smolfile()).ok();
    let machine = machine.and_then(|text| Smolfile::parse(&text).ok()).is_some_and(|machine| {
        let mut volumes = machine.volumes.iter().filter(|volume| !volume.ends_with(":ro"));
        volumes.any(|volume| volume.split(':').next().is_some_and(|host| Path::new(host) == place.path))
    });
    Ok(pinned || machine)
}

fn followed(path: &Path) -> Result<Walk> {
    walk(path).with_context(|| shown(path))
}

fn in_reach(named: &Named, reach: &Reach) -> Failure {
    let (what, path, holds) = (named.is_for, shown(&named.written), shown(&reach.place.path));
    Failure::new(
        Kind::Usage,
        format!("{what} {path} is inside {holds}, where {} can write: it could put another in its place", reach.whose),
    )
    .help(match &reach.other {
        None => "move it out of that folder, or give the guest the folder with `[workspace] mode = \"copy\"` or read-only".to_owned(),
        Some(other) => format!("move it out of that folder, or remove that bottle: `bottle rm {other}`"),
    })
}

fn left(named: &Named, place: &WritablePath) -> Failure {
    let (what, path, holds) = (named.is_for, shown(&named.written), shown(&place.path));
    let what = match named.is_for {
        Use::Program => format!("{what} {path} is inside {holds}, where a guest could write"),
        _ => format!("{what} {path} leads through a link inside {holds}, where a guest could write"),
    };
    Failure::new(Kind::Usage, what).help("name a path outside of that folder, or one without links")
}

fn exchanged(is_for: Use, written: &Path) -> Failure {
    Failure::new(
        Kind::Usage,
        format!("{is_for} {} no longer leads where it did a moment ago", shown(written)),
    )
    .help("find out who changes it, and try again")
}

fn holds_another(reach: &Reach, pin: &Pin, other: &Slug) -> Failure {
    Failure::new(
        Kind::Usage,
        format!(
            "{} can write {}, which holds {} {} of the bottle {other}: it could put another in its place",
            reach.whose,
            shown(&reach.place.path),
            pin.is_for,
            shown(&pin.real)
        ),
    )
    .help(format!(
        "`bottle rm {other}` removes that bottle; `[workspace] mode = \"copy\"` needs no folder of yours"
    ))
}
