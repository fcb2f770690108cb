//! What every subcommand starts from.

use crate::args::Args;
use crate::config::Config;
use crate::failure::{Failure, Kind, Outcome};
use crate::out;
use crate::state::{Folder, Home};
use crate::trust::{self, Answer};
use bottle_core::slug::Slug;
use std::io::IsTerminal;
use std::path::PathBuf;

/// The global options.
pub struct Context {
    config: Option<PathBuf>,
    quiet: bool,
    verbose: bool,
    insisted: bool,
}

impl Context {
    pub fn new(args: &Args) -> Self {
        Self { config: args.config.clone(), quiet: args.quiet, verbose: args.verbose, insisted: args.i_know }
    }

    /// The folder in which the command is run.
    pub fn here() -> Outcome<PathBuf> {
        std::env::current_dir()
            .map_err(|error| Failure::new(Kind::Internal, format!("the current folder: {error}")))
    }

    /// The configuration that applies here.
    pub fn config(&self) -> Outcome<Config> {
        Config::find(self.config.as_deref(), &Self::here()?, self.insisted)
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

    /// Lets a configuration through that a guest cannot have changed, or that a person accepts.
    pub fn trust(&self, home: &Home, config: &Config, yes: bool) -> Outcome {
        let ask = |shown: &str| {
            let terminal = std::io::stdin().is_terminal() && out::is_watched();
            terminal
                && out::confirmed(&format!(
                    "bottle.toml has changed since a guest could write to it:\n{shown}Use it?"
                ))
        };
        trust::check(home, config, &if yes { Answer::Yes } else { Answer::Ask(&ask) })
    }

    /// Says what was done, or why nothing was.
    pub fn say(&self, what: &str) {
        if !self.quiet {
            out::note(what);
        }
    }

    /// Says what is being done, where it takes a while and somebody watches.
    pub fn progress(&self, what: &str) {
        if self.verbose || (!self.quiet && out::is_watched()) {
            out::note(format_args!("{what} ..."));
        }
    }
}
