//! Finds `bottle.toml` and reads it: once, through one descriptor.

use bottle_core::visible;
use bottle_host::defence::Defence;
use bottle_host::digest::hex;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::walk::{Identity, Walk, walk};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::{self, File, Metadata};
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
    /// The identity of that folder.
    pub folder: Identity,
    /// Its text.
    pub text: String,
    /// How its path was followed.
    pub walk: Walk,
    /// How the path of its folder was followed, as a person named it.
    pub entered: Walk,
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The file, if there is one.
    pub found: Option<Found>,
    /// The nearer folders, which have no such file.
    pub passed: Vec<PathBuf>,
}

impl Found {
    /// Returns the SHA-256 of its bytes.
    pub fn digest(&self) -> String {
        hex(self.text.as_bytes())
    }

    /// Reads the file at a path, if it is there.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if it is not a regular file, or cannot be read.
    pub fn at(path: &Path) -> Outcome<Option<Self>> {
        read(path)
    }

    /// Reads the named file, or the nearest one from `start` upwards.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if it is not a regular file, or cannot be read.
    pub fn search(named: Option<&Path>, start: &Path) -> Outcome<Search> {
        if let Some(named) = named {
            let help = "`--config` names a file like bottle.toml; `bottle init` writes one";
            let read = || {
                let whole = std::path::absolute(named).map_err(|error| cannot(named, &error))?;
                if whole.is_dir() {
                    return Err(refused(&whole, "a folder"));
                }
                read(&whole)?.ok_or_else(|| cannot(named, &Errno::NOENT.into()))
            };
            let found = read().map_err(|failure| failure.help(help))?;
            return Ok(Search { found: Some(found), passed: Vec::new() });
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

/// Reads a file, if it exists: a regular one of bounded size. It never blocks, and never skips a file that
/// exists but cannot be read, because one in a folder above would apply in its place.
fn read(path: &Path) -> Outcome<Option<Found>> {
    let name = path.file_name().unwrap_or_default();
    let folder = walk(path.parent().unwrap_or(path)).map_err(|error| cannot(path, &error))?;
    let Some(at) = folder.end else { return Ok(None) };
    let walk = walk(path).map_err(|error| cannot(path, &error))?;
    let path = folder.real.join(name);
    let Some(end) = walk.end else {
        let is_link = walk.stations.iter().any(|station| station.is_link && station.path == path);
        return match fs::metadata(&path) {
            // A link of the kernel's own, like that of an open pipe, leads somewhere without naming it.
            Ok(meta) if is_link => Err(refused(&path, kind(&meta))),
            _ if is_link => Err(dangling(&path)),
            _ => Ok(None),
        };
    };
    if !end.is_file && Defence::ConfigProvenance.stands() {
        let meta = fs::symlink_metadata(&walk.real);
        return Err(refused(&path, meta.as_ref().map_or("not there any more", kind)));
    }
    // Whatever could have been swapped meanwhile was within a guest's reach. In that case the descriptor
    // shows it.
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
        return Err(refused(&path, "a different file than a moment ago"));
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
        .help("correct it, or name another file with --config")
}

/// Makes the failure of a link that leads nowhere. Somebody made it on purpose, so its target is missing.
fn dangling(path: &Path) -> Failure {
    let target = fs::read_link(path).unwrap_or_default();
    Failure::new(
        Kind::Usage,
        format!("cannot read {}: it is a link to {}, and nothing is there", shown(path), shown(&target)),
    )
    .help("point the link at a file, or remove it")
}

/// Returns what kind of thing it is that is not a regular file.
fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO (a named pipe), not a regular file",
        () if kind.is_socket() => "a socket, not a regular file",
        () if kind.is_char_device() || kind.is_block_device() => "a device, not a regular file",
        () => "not a regular file",
    }
}

fn refused(path: &Path, what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read {}: it is {what}", shown(path)))
        .help("move it away, or name another file with --config")
}

/// Returns a path on one line: a guest may have named a folder in it.
pub fn shown(path: &Path) -> String {
    visible::Bytes(path.as_os_str().as_bytes()).to_string()
}
