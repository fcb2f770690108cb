//! The objects that a push brings, one after the other, whatever they are: commits, trees, blobs,
//! tags. None is held whole.

use super::child::{Git, until};
use super::quarantine::UPSTREAM;
use anyhow::{Context, Result, ensure};
use bottle_core::git::listed::{self, Object};
use bottle_core::git::name::ObjectId;
use bottle_core::git::tree::Trees;
use bottle_host::defence::Defence;
use std::collections::BTreeMap;
use std::io::Read;

/// How many objects one push may bring, and how many commits.
const MAX_OBJECTS: usize = 200_000;
/// The longest commit or tag, in bytes. What is shown of one is its first line.
const MAX_WORDS: u64 = 1 << 20;
/// The longest tree: some ten thousand files in one folder.
const MAX_TREE: u64 = 16 << 20;
/// How much a push may unpack to, for each MiB that it may hold packed, and at least, in bytes.
const UNPACKED: u64 = 16 << 20;
const MIN_UNPACKED: u64 = 256 << 20;
/// How many files one of its trees may unfold to, and how many folders may be in one another.
const MAX_FILES: u64 = 500_000;
const MAX_DEPTH: usize = 256;
/// The longest line of a list.
const MAX_LINE: usize = 8192;

/// What a push brings that the upstream does not have.
#[derive(Debug)]
pub struct New {
    /// The objects, in git's order.
    pub objects: Vec<Object>,
    /// A path under which an object is found, for people.
    paths: BTreeMap<ObjectId, Vec<u8>>,
}

impl New {
    /// Finds out what a commit (or tag) brings with it.
    ///
    /// # Errors
    /// Where it is too much to be looked at.
    pub fn of(new: &ObjectId, max_mib: u32) -> Result<Self> {
        let list = ["rev-list", "--objects", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
        let mut paths = BTreeMap::new();
        let mut ids = String::new();
        Git::pushed().args(list).read(|out| {
            while let Some(line) = until(out, b'\n', MAX_LINE)? {
                let (id, path) =
                    line.split_at_checked(new.as_str().len()).context("git said a short line")?;
                let id: ObjectId = std::str::from_utf8(id)?.parse()?;
                ids.push_str(id.as_str());
                ids.push('\n');
                if paths.insert(id, path.strip_prefix(b" ").unwrap_or(path).to_vec()).is_none() {
                    ensure!(
                        paths.len() <= MAX_OBJECTS,
                        "the push brings more than {MAX_OBJECTS} objects: push less at a time"
                    );
                }
            }
            Ok(())
        })?;
        let mut objects = Vec::new();
        let mut unpacked = 0;
        let most = MIN_UNPACKED.max(u64::from(max_mib) * UNPACKED);
        Git::pushed().args(["cat-file", "--batch-check", "--buffer"]).input(ids).read(|out| {
            while let Some(line) = until(out, b'\n', MAX_LINE)? {
                let object = listed::object(&line)?;
                let longest = match object.kind.as_str() {
                    "commit" | "tag" => MAX_WORDS,
                    "tree" => MAX_TREE,
                    _ => u64::MAX,
                };
                ensure!(
                    object.size <= longest,
                    "a {} of {} bytes is longer than any should be",
                    object.kind,
                    object.size
                );
                unpacked += object.size;
                ensure!(
                    unpacked <= most,
                    "the push unpacks to more than {} MiB: push less at a time",
                    most >> 20
                );
                objects.push(object);
            }
            Ok(())
        })?;
        let new = Self { objects, paths };
        new.weigh()?;
        Ok(new)
    }

    /// Sees that no tree unfolds to more than can be walked.
    fn weigh(&self) -> Result<()> {
        let trees: Vec<Object> =
            self.objects.iter().filter(|object| object.kind == "tree").cloned().collect();
        let mut weighed = Trees::default();
        contents(Git::pushed(), &trees, &mut |object, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            Ok(weighed.add(object.id.clone(), &bytes)?)
        })?;
        let heaviest = weighed.heaviest();
        let light = heaviest.files <= MAX_FILES && heaviest.depth <= MAX_DEPTH;
        ensure!(
            light || !Defence::GitLimits.stands(),
            "a commit has {} files in folders {} deep, and may have {MAX_FILES} and {MAX_DEPTH}",
            heaviest.files,
            heaviest.depth
        );
        Ok(())
    }

    /// Where an object is, or what it is.
    pub fn place(&self, object: &Object) -> String {
        match (object.kind.as_str(), self.paths.get(&object.id)) {
            ("blob", Some(path)) => bottle_core::visible::Bytes(path).to_string(),
            ("tree", Some(path)) if !path.is_empty() => {
                format!("a name below {}", bottle_core::visible::Bytes(path))
            }
            ("tree", _) => "a name".to_owned(),
            (kind, _) => format!("{kind} {}", object.id.as_str().get(..12).unwrap_or_default()),
        }
    }

    /// Gives the content of each object to somebody, in pieces.
    ///
    /// # Errors
    /// Where git ends early, and what the reader says.
    pub fn read(&self, git: Git, mut take: impl FnMut(&Object, &mut dyn Read) -> Result<()>) -> Result<()> {
        contents(git, &self.objects, &mut take)
    }
}

/// Gives the content of objects to somebody, in pieces.
///
/// # Errors
/// Where git ends early, and what the reader says.
pub fn contents(
    git: Git,
    objects: &[Object],
    take: &mut dyn FnMut(&Object, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let ids: String = objects.iter().map(|object| format!("{}\n", object.id)).collect();
    git.args(["cat-file", "--batch", "--buffer"]).input(ids).read(|out| {
        for object in objects {
            let head = until(out, b'\n', MAX_LINE)?.context("git ended early")?;
            ensure!(listed::object(&head)? == *object, "git gave another object than was asked for");
            let mut content = out.take(object.size);
            take(object, &mut content)?;
            std::io::copy(&mut content, &mut std::io::sink())?;
            ensure!(until(out, b'\n', 0)?.is_some_and(|rest| rest.is_empty()), "git ended early");
        }
        Ok(())
    })
}

/// Reads as much as there is, up to the buffer's length.
///
/// # Errors
/// Where it cannot be read.
pub fn fill(from: &mut dyn Read, into: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
