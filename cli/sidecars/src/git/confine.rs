//! What a git process is confined to.

use anyhow::Result;
use bottle_host::confine::{self, Policy};
use bottle_host::defence::Defence;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the hooks of a store are: beside it, where a confined git may run them and change nothing.
pub fn hooks(store: &Path) -> PathBuf {
    store.with_file_name(".hooks")
}

/// Confines a git process to a store of ours, and to reading these files.
///
/// # Errors
/// Where the kernel has what it takes and refuses it.
pub fn confine(command: &mut Command, store: &Path, read: &[PathBuf]) -> Result<()> {
    if !Defence::GitConfined.stands() {
        return Ok(());
    }
    let mut run = vec![std::env::current_exe()?, hooks(store)];
    for program in ["git", "gitleaks"] {
        // Wherever the operator has them; what they read for themselves is beside them.
        let found = bottle_host::tools::in_path(program).and_then(|path| path.canonicalize().ok());
        run.extend(found.as_deref().and_then(home_of));
        run.extend(found);
    }
    confine::child(command, &Policy::git(store, read, &run))
}

/// Where a program's own files are, where it has a place of its own: `/opt/git` of `/opt/git/bin/git`.
fn home_of(program: &Path) -> Option<PathBuf> {
    let bin = program.parent().filter(|bin| bin.ends_with("bin"))?;
    bin.parent().filter(|home| home.parent().is_some()).map(Path::to_owned)
}
