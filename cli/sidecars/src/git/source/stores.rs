//! The folders with the repository's objects: its own, and those that it borrows from.

use super::files::{plain, text};
use super::open::Source;
use super::quoted::Quoted;
use super::unservable::Unservable;
use anyhow::{Context, Result, ensure};
use bottle_host::beneath::Folder;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How long a chain of borrowing repositories may be. git has the same limit.
const MAX_CHAIN: usize = 5;
/// The longest list of such folders, in bytes.
const MAX_LIST: u64 = 64 << 10;

/// Returns whether a guest can write to a folder, or could in the past.
pub type Reach<'a> = &'a dyn Fn(&Path) -> Result<bool>;

impl Source {
    /// Opens the folders with the repository's objects. It may borrow from others only if no guest could have
    /// written the list of them, or their contents.
    ///
    /// # Errors
    /// Returns [`Unservable`] if it borrows from a folder that cannot be trusted or is missing.
    pub fn stores(&self, reach: Reach) -> Result<Vec<Folder>> {
        let path = self.place.join("objects");
        let objects = self
            .common
            .folder(OsStr::new("objects"))
            .with_context(|| format!("cannot open the objects of {}", self.place.display()))?;
        let mut stores = Vec::new();
        let mut known = BTreeSet::from([path.clone()]);
        let mut found = vec![(objects, path, 0)];
        while let Some((objects, path, depth)) = found.pop() {
            let info = objects.folder(OsStr::new("info")).ok();
            let list = info.map(|info| text(&info, "alternates", MAX_LIST)).transpose()?.flatten();
            for line in list.unwrap_or_default().lines().filter(|line| is_path(line)) {
                ensure!(depth < MAX_CHAIN, self.borrows(line, "through too many others"));
                let other = self.borrowed(&path, line, reach)?;
                if known.insert(other.clone()) {
                    found.push((plain(&other)?, other, depth + 1));
                }
            }
            stores.push(objects);
        }
        Ok(stores)
    }

    fn borrowed(&self, objects: &Path, line: &str, reach: Reach) -> Result<PathBuf> {
        if reach(&self.place)? {
            return Err(self.borrows(line, "and a guest could name any").into());
        }
        // git would read this line as a quoted string.
        let other = Some(line).filter(|line| !line.starts_with('"'));
        let other = other.and_then(|line| objects.join(line).canonicalize().ok());
        let other = other.ok_or_else(|| self.borrows(line, "which is not there"))?;
        if reach(&other)? {
            return Err(self.borrows(line, "to which a guest can write").into());
        }
        Ok(other)
    }

    fn borrows(&self, line: &str, why: &str) -> Unservable {
        Unservable::new(
            format!(
                "{} borrows objects from {}, {why}",
                self.place.display(),
                bottle_core::visible::Line(line)
            ),
            format!(
                "`git -C {} repack -a -d && rm {}` copies them",
                Quoted(&self.place.to_string_lossy()),
                Quoted(&self.place.join("objects/info/alternates").to_string_lossy())
            ),
        )
    }
}

fn is_path(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}
