//! Puts pushes into a file that git can fetch from.

use super::{Quarantine, UPSTREAM, Waiting};
use crate::git::child::Limits;
use anyhow::{Result, ensure};
use std::fs::File;
use std::io::{self, Read};

/// The largest bundle, in bytes.
const LARGEST: u64 = 4 << 30;

impl Quarantine {
    /// Writes a bundle of these pushes, without the commits that the upstream has. Each of them has a commit that the
    /// upstream has not, because git makes no empty bundle.
    ///
    /// # Errors
    /// Returns an error if git fails, or the bundle cannot be written.
    pub fn bundle(&self, pushes: &[&Waiting], to: &File) -> Result<()> {
        let names = pushes.iter().map(|push| push.name.as_str());
        let git = self.git().limits(Limits::READ).args(["bundle", "create", "--quiet", "-"]).args(names);
        git.args(["--not", &format!("--glob={UPSTREAM}*")]).read(|from| {
            let copied = io::copy(&mut from.take(LARGEST), &mut &*to)?;
            ensure!(copied < LARGEST, "the pushes have more than {} GiB", LARGEST >> 30);
            Ok(())
        })
    }
}
