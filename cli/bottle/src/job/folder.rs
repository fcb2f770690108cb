//! The folder that a run's results are in.
//!
//! It is opened once, and everything in it is made by its name in that descriptor: no link is followed, whoever can
//! write where the folder is.

use super::result::{Progress, RunResult};
use crate::config::found::shown;
use crate::trust::enter::entered;
use anyhow::{Context, Result, ensure};
use bottle_core::visible::Json;
use bottle_host::beneath::{self, Folder};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::workspace::RESULT;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The folder of the files that the guest changed.
pub const FILES: &str = "files";
/// The folder of what the guest pushed.
pub const PUSHES: &str = "pushes";
/// Room for the last words of a run whose output has filled the disk.
const RESERVE: &str = ".reserve";
const RESERVED: usize = 64 << 10;
/// The mode of files, before the umask.
const MODE: u32 = 0o666;
/// The longest result that is read back.
const LONGEST: u64 = 64 << 20;

/// The folder that a run's results are in.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    folder: Folder,
}

impl Results {
    /// Makes a folder for the results of a run, and makes it that run's.
    ///
    /// # Errors
    /// Returns [`Kind::Busy`] if there is something in it, and [`Kind::Usage`] if a guest could have made a link that
    /// leads there, or it cannot be made.
    pub fn create(path: &Path, result: &RunResult) -> Outcome<Self> {
        let usage = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Usage, format!("--out {}: {error}", shown(path)))
                .help("name a folder that can be made, or an empty one")
        };
        fs::create_dir_all(path).map_err(|error| usage(&error))?;
        let folder = entered(path)?;
        let path = &path.canonicalize().map_err(|error| usage(&error))?;
        if path.to_str().is_none() {
            return Err(usage(&"its name is not UTF-8"));
        }
        let taken = || {
            Failure::new(
                Kind::Busy,
                format!("{} is not empty: it may hold the results of another run", shown(path)),
            )
            .help("name another folder; with a scheduler, one for each job and each restart of it")
        };
        if folder.names().map_err(|error| usage(&error))?.next().is_some() {
            return Err(taken());
        }
        let results = Self { path: path.to_owned(), folder };
        // Two runs at once may find it empty, and one of them makes this file.
        let mut file =
            results.folder.create(OsStr::new(RESULT), MODE).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => taken(),
                _ => usage(&error),
            })?;
        let begun = file
            .write_all(text(result).as_bytes())
            .and_then(|()| results.folder.create(OsStr::new(RESERVE), MODE)?.write_all(&[0; RESERVED]));
        begun.map_err(|error| {
            // Nobody would complete what begins here.
            [RESERVE, RESULT].iter().for_each(|name| _ = results.folder.remove_file(OsStr::new(name)));
            usage(&error)
        })?;
        Ok(results)
    }

    /// Opens the folder of a run that has begun.
    ///
    /// # Errors
    /// Returns an error if it is gone, or has become another run's.
    pub fn of(path: &Path, run: &str) -> Result<Self> {
        let folder = beneath::open(path).with_context(|| path.display().to_string())?;
        let results = Self { path: path.to_owned(), folder };
        ensure!(results.read()?.run == run, "{} holds the results of another run", path.display());
        Ok(results)
    }

    fn read(&self) -> Result<RunResult> {
        let (file, _) = self.folder.file(OsStr::new(RESULT)).context(RESULT)?;
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).context(RESULT)?;
        serde_json::from_str(&text).context(RESULT)
    }

    /// Returns whether everything is here already.
    ///
    /// # Errors
    /// Returns an error if that cannot be read.
    pub fn has_ended(&self) -> Result<bool> {
        Ok(self.read()?.state == Progress::Ended)
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says how the run goes.
    ///
    /// # Errors
    /// Returns an error if that cannot be written.
    pub fn say(&self, result: &RunResult) -> Result<()> {
        if result.state == Progress::Ended {
            let _ = self.folder.remove_file(OsStr::new(RESERVE));
        }
        self.put(RESULT, text(result).as_bytes())
    }

    /// Writes a file, whole or not at all, in the place of one of that name.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.fill(name, |file| Ok((&*file).write_all(bytes)?))
    }

    /// Makes a file by this function, whole or not at all, in the place of one of that name.
    ///
    /// # Errors
    /// Returns the function's error, or one if the file cannot be written.
    pub fn fill<T>(&self, name: &str, make: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        let draft = format!(".{name}.draft");
        let (draft, last) = (OsStr::new(&draft), OsStr::new(name));
        let made = || -> Result<T> {
            let _ = self.folder.remove_file(draft);
            let file = self.folder.create(draft, MODE)?;
            let made = make(&file).inspect_err(|_| _ = self.folder.remove_file(draft))?;
            file.sync_all()?;
            self.folder.rename(draft, &self.folder, last)?;
            Ok(made)
        };
        made().with_context(|| format!("cannot write {}", self.path.join(name).display()))
    }

    /// Makes a file that grows.
    ///
    /// # Errors
    /// Returns an error if it is there already, or cannot be made.
    pub fn begin(&self, name: &str) -> Result<File> {
        let made = self.folder.create(OsStr::new(name), MODE);
        made.with_context(|| format!("cannot write {}", self.path.join(name).display()))
    }

    /// Returns how long a file is. One that is not there is empty.
    pub fn length(&self, name: &str) -> u64 {
        let there = self.folder.file(OsStr::new(name)).and_then(|(file, _)| file.metadata());
        there.map_or(0, |file| file.len())
    }

    /// Makes an empty folder. One that was there is removed, with everything in it.
    ///
    /// # Errors
    /// Returns an error if it cannot be made.
    pub fn empty_folder(&self, name: &str) -> Result<Folder> {
        let what = || self.path.join(name).display().to_string();
        let name = OsStr::new(name);
        if let Ok(there) = self.folder.folder(name) {
            beneath::remove_all(&there).with_context(what)?;
            self.folder.remove_folder(name).with_context(what)?;
        }
        self.folder.make_folder(name, 0o777).with_context(what)
    }

    /// Removes a folder if it is empty.
    pub fn remove_empty(&self, name: &str) {
        let _ = self.folder.remove_folder(OsStr::new(name));
    }
}

/// Returns a result as the file has it. A guest's words in it cannot steer a terminal.
fn text(result: &RunResult) -> String {
    Json(&serde_json::to_string_pretty(result).unwrap_or_default()).to_string() + "\n"
}
