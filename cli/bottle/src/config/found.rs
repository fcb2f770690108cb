//! Finding `bottle.toml` and reading it: once, through one descriptor.

use bottle_core::visible;
use bottle_host::defence::Defence;
use bottle_host::digest::hex;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::walk::{Identity, Walk, walk};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
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

/// Reads a file, if it is there: a regular one, of a bounded size. Never waits for it, and never passes over
/// one that is there and cannot be read: another one, of a folder above, would apply in its place.
fn read(path: &Path) -> Outcome<Option<Found>> {
    let name = path.file_name().unwrap_or_default();
    let folder = walk(path.parent().unwrap_or(path)).map_err(|error| cannot(path, &error))?;
    let Some(at) = folder.end else { return Ok(None) };
    let walk = walk(path).map_err(|error| cannot(path, &error))?;
    let path = folder.real.join(name);
    let Some(end) = walk.end else {
        let is_link = walk.stations.iter().any(|station| station.is_link && station.path == path);
        return if is_link { Err(dangling(&path)) } else { Ok(None) };
    };
    if !end.is_file && Defence::ConfigProvenance.stands() {
        return Err(refused(&path, kind(&walk.real)));
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

/// A link that leads to nothing. It was made on purpose, so its target is what is missing.
fn dangling(path: &Path) -> Failure {
    let target = fs::read_link(path).unwrap_or_default();
    Failure::new(
        Kind::Usage,
        format!("cannot read {}: it is a link to {}, and nothing is there", shown(path), shown(&target)),
    )
    .help("make the link lead to a file, or remove it")
}

/// Returns what is at a path that is no regular file.
fn kind(real: &Path) -> &'static str {
    let Ok(meta) = fs::symlink_metadata(real) else { return "not there any more" };
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO (a named pipe), no regular file",
        () if kind.is_socket() => "a socket, no regular file",
        () if kind.is_char_device() || kind.is_block_device() => "a device, no regular file",
        () => "no regular file",
    }
}

fn refused(path: &Path, what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read {}: it is {what}", shown(path)))
        .help("move it away, or name another file with --config")
}

/// A path on one line: a guest may have named a folder of it.
pub fn shown(path: &Path) -> String {
    visible::Bytes(path.as_os_str().as_bytes()).to_string()
}
