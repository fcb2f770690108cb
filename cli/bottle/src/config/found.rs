//! Finding `bottle.toml` and reading it: once, through one descriptor.

use bottle_core::visible;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::hex;
use bottle_host::provenance::walk::{Identity, Walk, walk};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file's name.
pub const FILE: &str = "bottle.toml";

/// The largest configuration that is read. An ordinary one has a few kilobytes.
const LARGEST: u64 = 1024 * 1024;

/// A configuration file, with the bytes that everything after this uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it was found: its folder without links, and its name.
    pub path: PathBuf,
    /// Which folder that is.
    pub folder: Identity,
    /// Its text.
    pub text: String,
    /// How its path was followed.
    pub walk: Walk,
    /// How the path of its folder was followed, as it was named.
    pub entered: Walk,
}

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The file, if there is one.
    pub found: Option<Found>,
    /// The folders in which there is none, each nearer than the one with the file.
    pub passed: Vec<PathBuf>,
}

impl Found {
    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> String {
        hex(self.text.as_bytes())
    }

    /// Reads the file that was named, or the nearest one from `start` upwards.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is none, or not to be read.
    pub fn search(named: Option<&Path>, start: &Path) -> Outcome<Search> {
        if let Some(named) = named {
            let whole = std::path::absolute(named).map_err(|error| cannot(named, &error))?;
            return match read(&whole)? {
                Some(found) => Ok(Search { found: Some(found), passed: Vec::new() }),
                None => Err(cannot(named, &Errno::NOENT.into())),
            };
        }
        let mut search = Search::default();
        for folder in start.ancestors() {
            search.found = read(&folder.join(FILE))?;
            if search.found.is_some() {
                break;
            }
            search.passed.push(folder.to_owned());
        }
        Ok(search)
    }
}

/// Reads a file, if it is there: a regular one, of a bounded size. Never waits for it.
fn read(path: &Path) -> Outcome<Option<Found>> {
    let name = path.file_name().unwrap_or_default();
    let folder = walk(path.parent().unwrap_or(path)).map_err(|error| cannot(path, &error))?;
    let Some(at) = folder.end else { return Ok(None) };
    let walk = match walk(path) {
        Ok(walk) => walk,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(cannot(path, &error)),
    };
    let path = folder.real.join(name);
    let Some(end) = walk.end else { return Ok(None) };
    if !end.is_file && Defence::ConfigProvenance.stands() {
        let what = if end.is_dir { "a folder" } else { "no regular file" };
        return Err(refused(&path, what));
    }
    // What could be swapped meanwhile was in a guest's reach: then the descriptor says so.
    let follow = if Defence::ConfigProvenance.stands() {
        OFlags::NOFOLLOW | OFlags::NONBLOCK
    } else {
        OFlags::empty()
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | follow;
    let file = open(&walk.real, flags, Mode::empty()).map_err(|error| cannot(&path, &error.into()))?;
    let mut file = File::from(file);
    let meta = file.metadata().map_err(|error| cannot(&path, &error))?;
    if Defence::ConfigProvenance.stands() && !(meta.is_file() && Identity::of(&meta) == end.identity) {
        return Err(refused(&path, "another file now than a moment ago"));
    }
    let limit = if Defence::BoundedReads.stands() { LARGEST } else { u64::MAX - 1 };
    let mut bytes = Vec::new();
    let length =
        file.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(|error| cannot(&path, &error))?;
    if length as u64 > limit {
        return Err(refused(&path, &format!("larger than {} KiB", LARGEST / 1024)));
    }
    let Ok(text) = String::from_utf8(bytes) else { return Err(refused(&path, "not UTF-8")) };
    Ok(Some(Found { path, folder: at.identity, text, walk, entered: folder }))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read {}: {error}", shown(path)))
}

fn refused(path: &Path, what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read {}: it is {what}", shown(path)))
        .help("move it away, or name another file with --config")
}

/// A path on one line: a guest may have named a folder of it.
pub fn shown(path: &Path) -> String {
    visible::Bytes(path.as_os_str().as_bytes()).to_string()
}
