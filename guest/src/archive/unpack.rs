//! Unpacks an archive below a folder.

use super::entries::{self, Attributes, Item};
use super::name::{destination, stays_inside};
use super::sparse::Content;
use crate::beneath::{Folder, Kind, MODE};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::repository;
use bottle_core::visible::Bytes;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The rules for what is written and what is not.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who chooses the names.
    pub names: Names,
    /// Whether links that lead out are omitted.
    pub links_stay_inside: bool,
    /// The names that are omitted.
    pub leave: Leave,
    /// How much is accepted, or `None` for no limit.
    pub limits: Option<Limits>,
    /// Whether an entry replaces what is there. Otherwise every name must be new. On a file system that folds
    /// case or Unicode forms, two spellings of one name cannot both be new.
    pub replaces: bool,
}

/// Who chooses the first name of each entry's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Whoever asked for the files. There is one thing, and this is its name.
    Given(OsString),
    /// Whoever packed the files, except for the first name if one is given here.
    Packed(Option<OsString>),
}

/// Names that are omitted, because something on the host would act on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// Names that git could take for a repository.
    pub git: bool,
    /// `bottle.toml`.
    pub config: bool,
}

/// How much is accepted before unpacking fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many entries.
    pub entries: u64,
    /// How many bytes in all files together.
    pub bytes: u64,
    /// How many names in a path.
    pub depth: usize,
}

impl Default for Limits {
    /// Allows as many entries as the largest projects have, and 16 GiB.
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 16 << 30, depth: 200 }
    }
}

impl Rules {
    /// Returns the rules for what a person sends into a guest: everything is written, and replaces what is
    /// there.
    pub fn of_a_person(rename: Option<OsString>) -> Self {
        Self {
            names: Names::Packed(rename),
            links_stay_inside: false,
            leave: Leave::default(),
            limits: None,
            replaces: true,
        }
    }

    /// Returns the rules for what a guest sends: one thing, under the name that a person gave.
    pub fn of_a_guest(name: OsString) -> Self {
        Self {
            names: Names::Given(name),
            links_stay_inside: true,
            leave: Leave { git: true, config: true },
            limits: Some(Limits::default()),
            replaces: false,
        }
    }
}

/// The result of unpacking.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// How many entries were written.
    pub written: u64,
    /// The entries that were omitted.
    pub left: LeftOut,
}

/// The entries that were omitted: their number, and the first of them with the reasons.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Their number.
    pub count: u64,
    /// The first of them, with the reasons.
    pub first: Vec<(PathBuf, String)>,
}

impl LeftOut {
    /// Adds an entry and the reason.
    pub fn add(&mut self, path: PathBuf, why: impl Into<String>) {
        const NAMED: usize = 20;
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push((path, why.into()));
        }
    }
}

/// The complete error message for an archive without entries.
pub const NOTHING: &str = "nothing arrived";

/// The files have more than this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge(pub u64);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the files have more than {} bytes", self.0)
    }
}

impl std::error::Error for TooLarge {}

/// Unpacks an archive below a folder, according to the rules.
///
/// # Errors
/// Returns an error if the stream is not an archive or ends in the middle, if something cannot be written, if
/// there is more than the limits allow, or if an entry is refused. Whatever was written until then stays.
pub fn unpack(from: impl Read, into: &Folder, rules: &Rules) -> Result<Unpacked> {
    let mut state =
        State { rules, root: None, is_one_file: false, bytes: 0, seen: 0, came: Unpacked::default() };
    entries::each(from, rules.limits.is_some(), |path, attributes, item, content| {
        let shown = || Bytes(path.as_os_str().as_bytes()).to_string();
        state.take(into, &path, attributes, item, content).with_context(shown)
    })?;
    if state.seen == 0 {
        bail!(NOTHING);
    }
    Ok(state.came)
}

/// What the other names of a file are called.
const HARD_LINK: &str = "a hard link";

struct State<'a> {
    rules: &'a Rules,
    /// The archive's name for the one thing.
    root: Option<OsString>,
    is_one_file: bool,
    bytes: u64,
    seen: u64,
    came: Unpacked,
}

impl State<'_> {
    fn take(
        &mut self,
        into: &Folder,
        path: &Path,
        attributes: Attributes,
        item: &Item,
        content: &mut Content,
    ) -> Result<()> {
        self.seen += 1;
        ensure!(!self.is_one_file, "the archive has more than the one file that was asked for");
        let (first, is_given) = match &self.rules.names {
            Names::Given(name) => (Some(name.as_os_str()), true),
            Names::Packed(name) => (name.as_deref(), false),
        };
        let place = destination(path, first, self.root.as_deref()).map_err(|why| anyhow::anyhow!("{why}"))?;
        if is_given && self.root.is_none() {
            self.root = path.components().find_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.to_owned()),
                _ => None,
            });
            self.is_one_file = *item != Item::Folder;
        }
        if let Some(limits) = self.rules.limits {
            self.bound(&limits, &place, item)?;
        }
        if let Some(why) = self.left_out(&place, item) {
            self.came.left.add(place, why);
            return Ok(());
        }
        put(into, &place, attributes, item, content, self.rules.replaces)?;
        self.came.written += 1;
        Ok(())
    }

    fn bound(&mut self, limits: &Limits, place: &Path, item: &Item) -> Result<()> {
        ensure!(self.seen <= limits.entries, "the archive has more than {} entries", limits.entries);
        ensure!(
            place.components().count() <= limits.depth,
            "an entry is more than {} folders deep",
            limits.depth
        );
        if let Item::File(len) = item {
            self.bytes = self.bytes.saturating_add(*len);
            ensure!(self.bytes <= limits.bytes, TooLarge(limits.bytes));
        }
        Ok(())
    }

    /// Returns why an entry is omitted, if it is.
    fn left_out(&self, place: &Path, item: &Item) -> Option<&'static str> {
        let leave = self.rules.leave;
        // A person gave the first name of the path.
        let mut below = place.components().skip(1).map(|part| part.as_os_str().as_bytes());
        if leave.git && below.clone().any(repository::is_git) {
            return Some("git would take it for a repository; --all copies it");
        }
        if leave.config && below.any(|name| name.eq_ignore_ascii_case(b"bottle.toml")) {
            return Some("bottle would read it; --all copies it");
        }
        match item {
            Item::Other(what) => Some(what),
            Item::Name(_) => Some(HARD_LINK),
            Item::Link(target) if leave.git && leads_into_git(target) => {
                Some("a link into what git would take for a repository; --all copies it")
            }
            Item::Link(target) if self.rules.links_stay_inside && !stays_inside(place, target, 1) => {
                Some("a link that leads out")
            }
            _ => None,
        }
    }
}

fn leads_into_git(target: &Path) -> bool {
    target.components().any(|part| repository::is_git(part.as_os_str().as_bytes()))
}

fn put(
    into: &Folder,
    place: &Path,
    attributes: Attributes,
    item: &Item,
    content: &mut Content,
    replaces: bool,
) -> Result<()> {
    let mode = attributes.mode & MODE;
    let name = place.file_name().context("it has no name")?;
    let above = into.make_folders(place.parent().unwrap_or(Path::new("")))?;
    match item {
        Item::Folder => match above.make_folder(name, mode | 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && above.folder(name).is_ok() => {}
            made => drop(made?),
        },
        Item::File(len) => {
            clear(&above, name, replaces)?;
            let file = above.create(name, mode | 0o600)?;
            content.write_to(&file, *len)?;
            let changed = attributes.changed.map(Duration::from_secs);
            if let Some(time) = changed.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)) {
                // Not every file system supports every time.
                let _ = file.set_modified(time);
            }
        }
        Item::Link(target) => {
            clear(&above, name, replaces)?;
            above.make_link(target, name)?;
        }
        Item::Other(what) => bail!("{what} is not copied"),
        Item::Name(_) => bail!("{HARD_LINK} is not copied"),
    }
    Ok(())
}

/// Removes a file or a link with that name, but not a folder.
fn clear(folder: &Folder, name: &OsStr, replaces: bool) -> Result<()> {
    match folder.meta(name) {
        Ok(_) if !replaces => {
            bail!("the archive has it twice, or this file system takes it for another name in the archive")
        }
        Ok(meta) if meta.kind == Kind::Folder => bail!("a folder of that name is already there"),
        Ok(_) => Ok(folder.remove_file(name)?),
        Err(_) => Ok(()),
    }
}
