//! Copies the repository's objects.

use super::files::regular;
use super::open::Source;
use super::stores::Reach;
use anyhow::{Result, ensure};
use bottle_host::beneath::Folder;
use rustix::fs::statvfs;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

const MAX_FILES: usize = 1_000_000;
/// How many bytes are copied at most.
const MAX_COPY: u64 = 16 << 30;
/// How many bytes are left free on the disk.
const LEFT_FREE: u64 = 1 << 30;

impl Source {
    /// Copies the repository's objects, and those that it borrows, to `into`, the `objects` folder of one of
    /// our repositories.
    ///
    /// # Errors
    /// Returns an error if there are too many, if they cannot be read, or as [`Source::stores`] does.
    pub fn copy(&self, into: &Path, reach: Reach) -> Result<()> {
        fs::create_dir_all(into.join("pack"))?;
        let free = statvfs(into)?;
        let room = (free.f_bavail * free.f_frsize).saturating_sub(LEFT_FREE);
        let mut copy = Copied { left: MAX_COPY.min(room), files: 0 };
        for objects in self.stores(reach)? {
            for name in objects.names()? {
                let name = name?;
                let Some(name) = name.to_str() else { continue };
                let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if name.len() == 2 && hex(name) {
                    copy.folder(&objects, name, into, |file| matches!(file.len(), 38 | 62) && hex(file))?;
                } else if name == "pack" {
                    copy.folder(&objects, name, into, |file| {
                        file.starts_with("pack-") && (file.ends_with(".pack") || file.ends_with(".idx"))
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// What may still be copied.
struct Copied {
    left: u64,
    files: usize,
}

impl Copied {
    fn folder(
        &mut self,
        objects: &Folder,
        name: &str,
        into: &Path,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let Ok(dir) = objects.folder(OsStr::new(name)) else { return Ok(()) };
        let into = into.join(name);
        fs::create_dir_all(&into)?;
        for file in dir.names()? {
            let file = file?;
            let Some(file) = file.to_str().filter(|file| wanted(file)) else { continue };
            let Some((from, len)) = regular(&dir, file)? else { continue };
            // Two stores may have the same object or the same pack. Its name is its digest.
            if into.join(file).exists() {
                continue;
            }
            self.files += 1;
            ensure!(
                self.files <= MAX_FILES && len <= self.left,
                "the repository has too many objects to copy (at most {} files; {} MiB are left); `git gc` there may help",
                MAX_FILES,
                self.left >> 20
            );
            // A file that grows during the copy is cut off.
            let mut to = File::create_new(into.join(file))?;
            self.left -= std::io::copy(&mut from.take(len), &mut to)?;
        }
        Ok(())
    }
}
