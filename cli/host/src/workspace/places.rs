//! The guest's paths of this machine's files. Nothing that a guest can write is asked: its copy of the project is what was
//! copied.

use super::copy::Copy;
use super::tree::Entry;
use crate::state::Folder;
use bottle_core::helper::WORKSPACE;
use bottle_core::plan::Plan;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a guest has this machine's files.
pub struct Places {
    folder: Folder,
    /// The folders that the guest shares with this machine, and their paths there.
    shared: Vec<(PathBuf, String)>,
    has_copy: bool,
    /// The record of the copy, read when it is asked for.
    copy: OnceCell<Option<Copy>>,
}

impl Places {
    /// Returns those of a bottle, if its guest has any of this machine's folders.
    pub fn of(folder: &Folder, plan: &Plan) -> Option<Self> {
        let is_copy = |host: &Path| host.starts_with(folder.copy());
        let (mut shared, mut has_copy) = (Vec::new(), false);
        for volume in &plan.guest.volumes {
            let host = Path::new(volume.host.as_str());
            if is_copy(host) {
                has_copy = true;
            } else if let Ok(host) = fs::canonicalize(host) {
                shared.push((host, volume.guest.as_str().to_owned()));
            }
        }
        // The innermost folder is the one that the guest sees.
        shared.sort_by_key(|(host, _)| std::cmp::Reverse(host.as_os_str().len()));
        let has_any = has_copy || !shared.is_empty();
        has_any.then(|| Self { folder: folder.clone(), shared, has_copy, copy: OnceCell::new() })
    }

    /// Returns the guest's path of a file or folder, if it is here and there.
    pub fn of_file(&self, path: &str) -> Option<String> {
        let path = fs::canonicalize(path).ok()?;
        let below = |folder: &Path, there: &str| {
            let rest = path.strip_prefix(folder).ok()?.to_str()?;
            Some(if rest.is_empty() { there.to_owned() } else { format!("{there}/{rest}") })
        };
        let shared = self.shared.iter().find_map(|(folder, there)| below(folder, there));
        shared.or_else(|| {
            let copy = self.copy()?;
            let of = fs::canonicalize(copy.of()).ok()?;
            let rest = path.strip_prefix(&of).ok()?;
            (rest.as_os_str().is_empty() || copy.was_given(rest)).then(|| below(&of, WORKSPACE)).flatten()
        })
    }

    fn copy(&self) -> Option<&Copy> {
        let find = || Copy::find(&self.folder).ok().flatten();
        self.copy.get_or_init(|| self.has_copy.then(find).flatten()).as_ref()
    }
}

impl Copy {
    /// Returns whether a file or folder was copied for the guest.
    fn was_given(&self, path: &Path) -> bool {
        matches!(self.record.manifest.paths.get(path), Some(Entry::File { .. } | Entry::Folder))
    }
}
