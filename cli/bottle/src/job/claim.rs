//! A bottle's name that is one run's alone, from before anything of the run is written until all of it is gone.

use anyhow::Result;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Lock};

/// A name that nobody else uses while this value lives.
pub struct Claim<'f> {
    folder: &'f Folder,
    _lock: Lock,
}

impl<'f> Claim<'f> {
    /// Takes the name of a bottle. Everything that is written below it from then on is the run's own.
    ///
    /// # Errors
    /// Returns [`Kind::Busy`] if another command has it, or something of another bottle is there: a run would neither
    /// be fresh with it, nor may it remove it at its end.
    pub fn of(folder: &'f Folder) -> Outcome<Self> {
        let lock = folder.lock_operation("run")?;
        if folder.is_new()? {
            return Ok(Self { folder, _lock: lock });
        }
        let slug = folder.slug();
        let what = format!(
            "there is something of a bottle {slug} already: its machine, its guest's copy or its log"
        );
        Err(Failure::new(Kind::Busy, what).help(format!(
            "another `--id` gives this run another name; `bottle rm {slug}` removes what is there"
        )))
    }

    /// Removes everything of the bottle. Nobody else can have the name before that is done.
    ///
    /// # Errors
    /// Returns an error if something cannot be removed.
    pub fn end(self) -> Result<()> {
        self.folder.remove()
    }
}
