//! Takes what a guest changed and pushed into the results. The guest has ended.

use super::folder::{FILES, PUSHES, Results};
use super::result::{Changed, Pushed, RunResult};
use anyhow::{Context, Result};
use bottle_host::services;
use bottle_host::state::Folder;
use bottle_host::workspace::{Copy, Exported};
use bottle_sidecars::git::quarantine::Quarantine;
use std::ffi::OsStr;
use std::io::BufWriter;

/// The changes, as `git apply` takes them.
const PATCH: &str = "changes.patch";

/// Takes everything, and says what could not be taken. A part that fails keeps no other one away.
pub fn all(folder: &Folder, results: &Results, result: &mut RunResult, max_size: u64) {
    if let Err(error) = changes(folder, results, result, max_size) {
        result.missing.push(format!("changes: {error:#}"));
    }
    if let Err(error) = pushes(folder, results, result) {
        result.missing.push(format!("pushes: {error:#}"));
    }
}

fn changes(folder: &Folder, results: &Results, result: &mut RunResult, max_size: u64) -> Result<()> {
    let Some(copy) = Copy::find(folder)? else { return Ok(()) };
    let look = copy.look(&[], max_size)?;
    result.digests.changes = Some(look.digest().to_string());
    let files = results.empty_folder(FILES)?;
    let exported = results.fill(PATCH, |file| copy.export(&look, &files, &mut BufWriter::new(file)))?;
    result.changes = exported.into_iter().map(changed).collect();
    results.remove_empty(FILES);
    Ok(())
}

fn changed(exported: Exported) -> Changed {
    let Exported { change, is_file, is_in_patch, why } = exported;
    Changed { change, file: is_file, patch: is_in_patch, why }
}

fn pushes(folder: &Folder, results: &Results, result: &mut RunResult) -> Result<()> {
    if !folder.git().exists() {
        return Ok(());
    }
    result.pushes.clear();
    let mut into = None;
    for repo in services::read(folder)?.git {
        let quarantine = Quarantine::of(folder, &repo);
        let waiting: Vec<_> = quarantine.waiting()?.into_iter().filter(|push| push.pushed).collect();
        let bundled: Vec<_> = waiting.iter().filter(|push| push.commits > 0).collect();
        if !bundled.is_empty() {
            let into = match &into {
                Some(into) => into,
                None => into.insert(results.empty_folder(PUSHES)?),
            };
            let name = format!("{}.bundle", repo.name);
            let file = into.create(OsStr::new(&name), 0o666).context(name)?;
            quarantine.bundle(&bundled, &file)?;
        }
        result.pushes.extend(waiting.iter().map(|push| Pushed {
            repo: repo.name.clone(),
            name: push.name.clone(),
            commit: push.new.as_ref().map(ToString::to_string),
            commits: push.commits,
            bundled: push.commits > 0,
        }));
    }
    Ok(())
}
