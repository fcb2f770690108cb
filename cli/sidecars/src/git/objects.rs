//! The objects in a push: commits, trees, blobs and tags. They are read one after the other, and none is held
//! in memory as a whole.

use super::child::{Git, read_until};
use super::quarantine::UPSTREAM;
use anyhow::{Context, Result, ensure};
use bottle_core::git::listed::{self, Object};
use bottle_core::git::name::ObjectId;
use bottle_core::git::tree::Trees;
use bottle_host::defence::Defence;
use std::collections::BTreeMap;
use std::io::Read;

/// How many objects one push may contain.
const MAX_OBJECTS: usize = 200_000;
/// The longest commit or tag, in bytes. Only its first line is shown.
const MAX_WORDS: u64 = 1 << 20;
/// The longest tree, in bytes: about ten thousand files in one folder.
const MAX_TREE: u64 = 16 << 20;
/// How many bytes a push may unpack to, for each MiB that its pack may have.
const UNPACKED: u64 = 16 << 20;
/// How many bytes a push may unpack to in any case.
const MIN_UNPACKED: u64 = 256 << 20;
/// How many files one tree of a push may contain.
const MAX_FILES: u64 = 500_000;
/// How deep the folders of a tree may be nested.
const MAX_DEPTH: usize = 256;
/// The longest line of a list, in bytes.
const MAX_LINE: usize = 8192;

/// The objects in a push that the upstream does not have.
#[derive(Debug)]
pub struct NewObjects {
    /// The objects, in git's order.
    pub objects: Vec<Object>,
    /// One path for each object, to show to people.
    paths: BTreeMap<ObjectId, Vec<u8>>,
}

impl NewObjects {
    /// Lists the objects that a commit or tag brings.
    ///
    /// # Errors
    /// Returns an error if there is too much to inspect.
    pub fn of(new: &ObjectId, max_mib: u32) -> Result<Self> {
        let list = ["rev-list", "--objects", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
        let mut paths = BTreeMap::new();
        let mut ids = String::new();
        Git::in_hook().args(list).read(|out| {
            while let Some(line) = read_until(out, b'\n', MAX_LINE)? {
                let (id, path) = line
                    .split_at_checked(new.as_str().len())
                    .context("git rev-list printed a line that is too short")?;
                let id: ObjectId = std::str::from_utf8(id)?.parse()?;
                ids.push_str(id.as_str());
                ids.push('\n');
                if paths.insert(id, path.strip_prefix(b" ").unwrap_or(path).to_vec()).is_none() {
                    ensure!(
                        paths.len() <= MAX_OBJECTS,
                        "the push brings more than {MAX_OBJECTS} objects: push fewer commits at a time"
                    );
                }
            }
            Ok(())
        })?;
        let mut objects = Vec::new();
        let mut unpacked = 0;
        let most = MIN_UNPACKED.max(u64::from(max_mib) * UNPACKED);
        Git::in_hook().args(["cat-file", "--batch-check", "--buffer"]).input(ids).read(|out| {
            while let Some(line) = read_until(out, b'\n', MAX_LINE)? {
                let object = listed::object(&line)?;
                let longest = match object.kind.as_str() {
                    "commit" | "tag" => MAX_WORDS,
                    "tree" => MAX_TREE,
                    _ => u64::MAX,
                };
                ensure!(
                    object.size <= longest,
                    "a {} has {} bytes; at most {longest} are accepted",
                    object.kind,
                    object.size
                );
                unpacked += object.size;
                ensure!(
                    unpacked <= most,
                    "the push unpacks to more than {} MiB: push fewer commits at a time",
                    most >> 20
                );
                objects.push(object);
            }
            Ok(())
        })?;
        let new = Self { objects, paths };
        new.check_trees()?;
        Ok(new)
    }

    /// Checks that no tree contains more files than can be walked.
    fn check_trees(&self) -> Result<()> {
        let trees: Vec<Object> =
            self.objects.iter().filter(|object| object.kind == "tree").cloned().collect();
        let mut trees_seen = Trees::default();
        contents(Git::in_hook(), &trees, &mut |object, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            Ok(trees_seen.add(object.id.clone(), &bytes)?)
        })?;
        let heaviest = trees_seen.heaviest();
        let light = heaviest.files <= MAX_FILES && heaviest.depth <= MAX_DEPTH;
        ensure!(
            light || !Defence::GitLimits.stands(),
            "a commit has {} files in folders nested {} deep; at most {MAX_FILES} and {MAX_DEPTH} are accepted",
            heaviest.files,
            heaviest.depth
        );
        Ok(())
    }

    /// Describes where an object is or, if it has no path, what it is.
    pub fn location(&self, object: &Object) -> String {
        match (object.kind.as_str(), self.paths.get(&object.id)) {
            ("blob", Some(path)) => bottle_core::visible::Bytes(path).to_string(),
            ("tree", Some(path)) if !path.is_empty() => {
                format!("a name below {}", bottle_core::visible::Bytes(path))
            }
            ("tree", _) => "a name".to_owned(),
            (kind, _) => format!("{kind} {}", object.id.as_str().get(..12).unwrap_or_default()),
        }
    }

    /// Passes the content of each object to `take`, as a stream.
    ///
    /// # Errors
    /// Returns an error if git ends early, or the error of `take`.
    pub fn read(&self, git: Git, mut take: impl FnMut(&Object, &mut dyn Read) -> Result<()>) -> Result<()> {
        contents(git, &self.objects, &mut take)
    }
}

/// Passes the content of each of `objects` to `take`, as a stream.
///
/// # Errors
/// Returns an error if git ends early, or the error of `take`.
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
            let head = read_until(out, b'\n', MAX_LINE)?.context("git ended in the middle of its output")?;
            ensure!(
                listed::object(&head)? == *object,
                "git printed a different object than the one it was asked for"
            );
            let mut content = out.take(object.size);
            take(object, &mut content)?;
            std::io::copy(&mut content, &mut std::io::sink())?;
            ensure!(
                read_until(out, b'\n', 0)?.is_some_and(|rest| rest.is_empty()),
                "git ended in the middle of its output"
            );
        }
        Ok(())
    })
}

/// Reads until the buffer is full or the input ends, and returns the number of bytes read.
///
/// # Errors
/// Returns an error if reading fails.
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
