//! The folders that `bottle.toml` names: what is there, and what is not for a guest.
//!
//! Reading the file decides nothing about the disk by itself. It asks through [`Disk`], so that it
//! can be fuzzed without one.

use crate::config::named::{Named, Use};
use bottle_core::text::{ImageRef, MountPath};
use bottle_host::provenance::walk::walk;
use std::env;
use std::path::{Path, PathBuf};

/// What reading a configuration asks of the machine that it is on.
pub trait Disk {
    /// The path without links and dots, if something is there.
    fn real(&self, path: &Path) -> Option<PathBuf>;
    /// Whether it is a folder.
    fn is_dir(&self, path: &Path) -> bool;
    /// Whether it is a git repository, bare or not.
    fn is_repository(&self, path: &Path) -> bool;
    /// The folder that commands are started in.
    fn here(&self) -> PathBuf {
        PathBuf::from("/")
    }
    /// Folders that hold a person's keys, or bottle's own state, with what to call them.
    fn private(&self) -> Vec<(PathBuf, &'static str)>;
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk;

/// Folders of a home that hold keys.
const KEYS: [&str; 8] =
    [".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gcloud", ".config/gh"];

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

    fn private(&self) -> Vec<(PathBuf, &'static str)> {
        let mut private = Vec::new();
        if let Some(home) = env::home_dir() {
            private.push((home.clone(), "your home folder"));
            private.extend(KEYS.map(|name| (home.join(name), "your keys")));
        }
        if let Ok(state) = bottle_host::state::Home::find() {
            private.extend(state.roots().map(|root| (root.to_owned(), "bottle's own state")));
        }
        // What is not there yet is where its nearest folder leads.
        private.into_iter().map(|(path, what)| (walk(&path).map_or(path, |walk| walk.real), what)).collect()
    }
}

/// Where `bottle.toml` is, and what it may name.
pub struct Site<'d> {
    /// The folder that the file is in: the project.
    pub project: Option<PathBuf>,
    /// The machine.
    pub disk: &'d dyn Disk,
    /// Whether a person insists on sharing what is better kept from a guest.
    pub insisted: bool,
}

impl Site<'_> {
    /// A path as the file means it: relative to the file's folder.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.project.as_ref().map_or_else(|| path.to_owned(), |project| project.join(path))
    }

    /// A path of this machine that the file names, for whoever checks it before a start.
    pub fn named(&self, is_for: Use, written: &Path, real: Option<&Path>) -> Named {
        Named { is_for, writable: false, written: self.beside(written), real: real.map(Path::to_owned) }
    }

    /// The files that a command's words may name: `/bin/x`, `./x`, `--option=/x`.
    pub fn programs<'w>(&self, words: impl Iterator<Item = &'w str>) -> Vec<Named> {
        let here = self.disk.here();
        let values = words.flat_map(|word| [Some(word), word.split_once('=').map(|(_, value)| value)]);
        let paths = values.flatten().filter(|word| word.contains('/')).map(|word| here.join(word));
        paths.map(Named::program).collect()
    }

    /// What a guest boots from. Where it is a path, it is beside the file.
    ///
    /// # Errors
    /// In words, where the whole path cannot be told to smolvm.
    pub fn image(&self, image: ImageRef, paths: &mut Vec<Named>) -> Result<ImageRef, String> {
        // smolvm takes a bare name for a registry's.
        let text = image.as_str();
        let is_path = text.starts_with(['/', '.']);
        if !is_path {
            return Ok(image);
        }
        let written = self.beside(Path::new(text));
        let whole = written.to_str().ok_or("the image's path is not UTF-8")?;
        let whole = whole.parse().map_err(|error| format!("the image's path: {error}"))?;
        paths.push(Named { is_for: Use::Image, writable: false, written, real: None });
        Ok(whole)
    }

    /// A host folder that a guest may see.
    ///
    /// # Errors
    /// In words, where it may not, or is none.
    pub fn shared(&self, path: &Path) -> Result<MountPath, String> {
        let refuse = |why: &str| Err(format!("{} {why}", path.display()));
        let Some(real) = self.disk.real(path) else { return refuse("is not there") };
        if !self.disk.is_dir(&real) {
            return refuse("is not a folder");
        }
        if !self.insisted
            && let Err(why) = self.may_share(&real)
        {
            return refuse(&format!("{why}, and is not shared with a guest; --i-know shares it"));
        }
        match real.to_str().map(str::parse) {
            Some(Ok(path)) => Ok(path),
            Some(Err(error)) => refuse(&format!("{error}")),
            None => refuse("is not UTF-8"),
        }
    }

    fn may_share(&self, real: &Path) -> Result<(), String> {
        if real.parent().is_none() {
            return Err("is the whole machine".to_owned());
        }
        for (private, what) in self.disk.private() {
            if real == private {
                return Err(format!("is {what}"));
            }
            if private.starts_with(real) {
                return Err(format!("holds {what} ({})", private.display()));
            }
            // A project is in a home, and no home is in a project; of the others nothing is shared.
            if what != "your home folder" && real.starts_with(&private) {
                return Err(format!("is part of {what} ({})", private.display()));
            }
        }
        Ok(())
    }
}
