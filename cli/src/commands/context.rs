//! What every subcommand starts from.

use crate::config::Config;
use crate::failure::{Failure, Kind, Outcome};
use crate::state::{Folder, Home};
use bottle_core::slug::Slug;
use std::path::PathBuf;

/// The global options.
pub struct Context {
    config: Option<PathBuf>,
    quiet: bool,
}

impl Context {
    pub fn new(config: Option<PathBuf>, quiet: bool) -> Self {
        Self { config, quiet }
    }

    fn here() -> Outcome<PathBuf> {
        std::env::current_dir()
            .map_err(|error| Failure::new(Kind::Internal, format!("the current folder: {error}")))
    }

    /// The configuration that applies here.
    pub fn config(&self) -> Outcome<Config> {
        Config::find(self.config.as_deref(), &Self::here()?)
    }

    /// The bottle that is meant, with its configuration.
    pub fn configured(&self, named: Option<Slug>) -> Outcome<(Slug, Config)> {
        let config = self.config()?;
        Ok((config.slug(named, &Self::here()?)?, config))
    }

    /// The folder of the bottle that is meant, for a command that needs no configuration if it is
    /// given a name.
    pub fn folder(&self, named: Option<Slug>) -> Outcome<Folder> {
        let slug = match named {
            Some(slug) => slug,
            None => self.configured(None)?.0,
        };
        Ok(Home::find()?.bottle(&slug))
    }

    /// The folder of the bottle that is meant, which has to be up.
    pub fn running(&self, named: Option<Slug>) -> Outcome<Folder> {
        let folder = self.folder(named)?;
        if folder.has_keeper() {
            return Ok(folder);
        }
        let slug = folder.slug();
        Err(Failure::new(Kind::NoBottle, format!("bottle {slug} is not running"))
            .help(format!("start it with `bottle up {slug}`")))
    }

    /// Says what is being done, where it takes a while.
    pub fn progress(&self, what: &str) {
        if !self.quiet {
            eprintln!("bottle: {what}");
        }
    }
}
