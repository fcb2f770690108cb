//! Checks the folders that `bottle.toml` names: whether they exist, and whether a guest may have them.
//!
//! Parsing never touches the disk directly. It asks through [`Disk`], so that it can be fuzzed without one.

use super::bound::{self, Bound};
use super::found::shown;
use super::named::{Named, Use};
use super::sensitive::{self, Exposed, Sensitive};
use super::source::Source;
use crate::image::is_path;
use bottle_core::text::{ImageRef, MountPath};
use bottle_host::failure::Failure;
use bottle_images::Name;
use std::env;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The questions that a configuration asks about the machine.
pub trait Disk {
    /// Returns the path without links and dots, if something is there.
    fn real(&self, path: &Path) -> Option<PathBuf>;
    /// Returns whether it is a folder.
    fn is_dir(&self, path: &Path) -> bool;
    /// Returns whether it is a git repository, bare or not.
    fn is_repository(&self, path: &Path) -> bool;
    /// Returns the folder in which commands start.
    fn here(&self) -> PathBuf {
        PathBuf::from("/")
    }
    /// Returns the other paths of a folder, and of what is mounted below it.
    fn elsewhere(&self, _: &Path) -> Vec<Bound> {
        Vec::new()
    }
    /// Returns what a guest does not get without a person's consent.
    fn sensitive(&self) -> Vec<Sensitive>;
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk;

impl Disk for OnDisk {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_repository(&self, path: &Path) -> bool {
        path.join(".git").exists() || (path.join("HEAD").is_file() && path.join("objects").is_dir())
    }

    fn here(&self) -> PathBuf {
        env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }

    fn elsewhere(&self, real: &Path) -> Vec<Bound> {
        bound::elsewhere(real)
    }

    fn sensitive(&self) -> Vec<Sensitive> {
        sensitive::on_this_machine()
    }
}

/// Where `bottle.toml` is, and what it may name.
pub struct Site<'d> {
    /// The folder that the file is in: the project.
    pub project: Option<PathBuf>,
    /// The machine.
    pub disk: &'d dyn Disk,
    /// Whether a person insists on sharing sensitive folders with a guest.
    pub insisted: bool,
}

impl Site<'_> {
    /// Returns a path as the file means it: relative to the file's folder, or below the home if it begins with `~/`.
    pub fn beside(&self, path: &Path) -> PathBuf {
        let path = match (path.strip_prefix("~"), env::home_dir()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        };
        self.project.as_ref().map_or_else(|| path.clone(), |project| project.join(&path))
    }

    /// Records a path that the file names, to be checked before a start.
    pub fn named(&self, is_for: Use, written: &Path, real: Option<&Path>) -> Named {
        Named { is_for, writable: false, written: self.beside(written), real: real.map(Path::to_owned) }
    }

    /// Returns the files that a command's words may name: `/bin/x`, `./x`, `--option=/x`.
    pub fn programs<'w>(&self, words: impl Iterator<Item = &'w str>) -> Vec<Named> {
        let here = self.disk.here();
        let values = words.flat_map(|word| [Some(word), word.split_once('=').map(|(_, value)| value)]);
        let paths = values.flatten().filter(|word| word.contains('/')).map(|word| here.join(word));
        paths.map(Named::program).collect()
    }

    /// Returns a path of `allow-sensitive` as the file means it.
    pub fn meant(&self, path: &Path) -> PathBuf {
        sensitive::meant(path, self.project.as_deref())
    }

    /// Returns the image that a guest boots from. A path is relative to the file's folder.
    ///
    /// # Errors
    /// Returns an error if the path has a form that smolvm cannot take, nothing is there, or the guest may
    /// not have it.
    pub fn image(
        &self,
        image: ImageRef,
        paths: &mut Vec<Named>,
        allowed: &[PathBuf],
        shared: &mut Vec<Shared>,
    ) -> Result<ImageRef, Refused> {
        if !is_path(&image) {
            return self.named_image(image);
        }
        let written = self.beside(Path::new(image.as_str()));
        let whole = written.to_str().ok_or_else(|| Refused::new("the image's path is not UTF-8"))?;
        let whole = whole.parse().map_err(|error| Refused::new(format!("the image's path: {error}")))?;
        let Some(real) = self.disk.real(&written) else {
            return Err(Refused::new(format!("the image {} is not there", shown(&written))));
        };
        self.may_share(&real, allowed, shared)?;
        paths.push(Named { is_for: Use::Image, writable: false, written, real: None });
        Ok(whole)
    }

    /// Checks an image that comes from a registry.
    fn named_image(&self, image: ImageRef) -> Result<ImageRef, Refused> {
        if let Err(refusal) = image.as_str().parse::<Name>() {
            let failure = Failure::from(refusal);
            return Err(Refused { what: failure.what().to_owned(), help: failure.hint().map(str::to_owned) });
        }
        // A file of that name is what was meant.
        let beside = self.beside(Path::new(image.as_str()));
        let is_archive =
            [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| image.as_str().ends_with(end));
        if is_archive && self.disk.real(&beside).is_some() {
            return Err(Refused {
                what: format!(
                    "the image {image} would come from a registry, and {} is a file",
                    shown(&beside)
                ),
                help: Some(format!("write the file as a path: \"./{image}\"")),
            });
        }
        Ok(image)
    }

    /// Returns a host folder that a guest may see, and adds what is sensitive about it to `shared`.
    ///
    /// # Errors
    /// Returns an error if it is not a folder, or if the guest may not have it.
    pub fn shared(
        &self,
        path: &Path,
        allowed: &[PathBuf],
        shared: &mut Vec<Shared>,
    ) -> Result<MountPath, Refused> {
        let refuse = |why: &str| Err(Refused::new(format!("{} {why}", shown(path))));
        let Some(real) = self.disk.real(path) else {
            let help =
                "a path is relative to the folder of bottle.toml, or below `~/`; variables are not replaced";
            return Err(Refused {
                what: format!("{} is not there", shown(path)),
                help: Some(help.to_owned()),
            });
        };
        if !self.disk.is_dir(&real) {
            return refuse("is not a folder");
        }
        self.may_share(&real, allowed, shared)?;
        match real.to_str().map(str::parse) {
            Some(Ok(path)) => Ok(path),
            Some(Err(error)) => refuse(&format!("{error}")),
            None => refuse("is not UTF-8"),
        }
    }

    /// Checks that a guest may have what is at a path.
    fn may_share(&self, real: &Path, allowed: &[PathBuf], shared: &mut Vec<Shared>) -> Result<(), Refused> {
        self.judge(self.exposed(real), real, allowed, shared)
    }

    /// Returns what is sensitive about a folder, by whichever of its paths.
    fn exposed(&self, real: &Path) -> Vec<Exposed> {
        let sensitive = self.disk.sensitive();
        let mut exposed = sensitive::exposed(real, &sensitive);
        for Bound { path, is_below } in self.disk.elsewhere(real) {
            let more = sensitive::exposed(&path, &sensitive).into_iter();
            let more = more.map(|one| if is_below { one.below() } else { one });
            exposed.extend(more);
        }
        exposed
    }

    /// Checks that a guest may clone a repository: not one that stores passwords.
    ///
    /// # Errors
    /// Returns an error if it may not.
    pub fn may_clone(
        &self,
        real: &Path,
        allowed: &[PathBuf],
        shared: &mut Vec<Shared>,
    ) -> Result<(), Refused> {
        // A clone contains only what was committed, and not the rest of a home.
        let mut exposed = self.exposed(real);
        exposed.retain(|exposed| exposed.is_inside() && !exposed.is_whole());
        self.judge(exposed, real, allowed, shared)
    }

    fn judge(
        &self,
        exposed: Vec<Exposed>,
        real: &Path,
        allowed: &[PathBuf],
        shared: &mut Vec<Shared>,
    ) -> Result<(), Refused> {
        let is_refused = |exposed: &&Exposed| !self.insisted && !exposed.is_allowed(allowed);
        let refused: Vec<&Exposed> = exposed.iter().filter(is_refused).collect();
        if refused.is_empty() {
            shared.extend(exposed.into_iter().map(|exposed| {
                let by_file = exposed.is_allowed(allowed);
                Shared { folder: real.to_owned(), why: exposed.to_string(), by_file }
            }));
            return Ok(());
        }
        let shown_whys = refused.iter().take(MOST_REASONS).map(ToString::to_string).collect::<Vec<_>>();
        let more = refused.len().saturating_sub(MOST_REASONS);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        Err(Refused {
            what: format!(
                "{} {}{more}, which a guest does not get without your consent",
                shown(real),
                shown_whys.join(", ")
            ),
            help: Some(format!(
                "to allow it, write at the top of bottle.toml: {}; `--i-know` allows it once",
                sensitive::line(&refused)
            )),
        })
    }
}

/// How many reasons an error names.
const MOST_REASONS: usize = 5;

/// A sensitive place that a guest gets, because a person allowed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The folder that the guest gets.
    pub folder: PathBuf,
    /// What is sensitive about it: "holds your AWS keys (/home/me/.aws)".
    pub why: String,
    /// Whether the file allows it. Otherwise `--i-know` did.
    pub by_file: bool,
}

/// Why a path is not for a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Refused {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), help: None }
    }

    /// Makes the failure that points into the file.
    pub fn at(self, source: &Source, span: Option<Range<usize>>) -> Failure {
        let failure = source.fail(span, &self.what);
        self.help.into_iter().fold(failure, Failure::help)
    }
}
