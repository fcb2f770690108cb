//! The confinement of a git process.

use anyhow::Result;
use bottle_host::confine::{self, Policy};
use bottle_host::defence::Defence;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of a store's hooks. It is beside the store, where a confined git can run them but not
/// change them.
pub fn hooks(store: &Path) -> PathBuf {
    store.with_file_name(".hooks")
}

/// Confines a git process to one of our stores, and to reading the files and folders in `read`.
///
/// # Errors
/// Returns an error if the kernel supports confinement and refuses it.
pub fn confine(command: &mut Command, store: &Path, read: &[PathBuf]) -> Result<()> {
    if !Defence::GitConfined.stands() {
        return Ok(());
    }
    let mut run = vec![std::env::current_exe()?, hooks(store)];
    for program in ["git", "gitleaks"] {
        // They may be installed anywhere. The files that they need are beside them.
        let found = bottle_host::tools::in_path(program).and_then(|path| path.canonicalize().ok());
        run.extend(found.as_deref().and_then(home_of));
        run.extend(found);
    }
    confine::child(command, &Policy::git(store, read, &run))
}

/// Returns the folder of a program's own files, if it has one: `/opt/git` for `/opt/git/bin/git`.
fn home_of(program: &Path) -> Option<PathBuf> {
    let bin = program.parent().filter(|bin| bin.ends_with("bin"))?;
    bin.parent().filter(|home| home.parent().is_some()).map(Path::to_owned)
}
