//! Reads the repository's branches and tags.

use super::files::{MAX_REF, text};
use super::open::Source;
use anyhow::{Context, Result, ensure};
use bottle_core::git::name::{ObjectId, is_ref};
use bottle_host::beneath::{Folder, Kind};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::path::Path;

/// The longest `packed-refs`, in bytes: half a million branches.
const MAX_TEXT: u64 = 64 << 20;
/// How many refs are read.
const MAX_REFS: usize = 500_000;
/// How deep the folders of refs may be nested.
const MAX_DEPTH: usize = 32;
/// How many symbolic refs may lead to one another.
const MAX_SYMBOLIC: usize = 5;

/// The branches and tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    /// Every branch and tag, by name without `refs/`.
    pub named: BTreeMap<String, ObjectId>,
    /// The full name of the branch that a clone checks out.
    pub default: Option<String>,
    /// The commit that is checked out, if no branch is.
    pub detached: Option<ObjectId>,
    /// The checked-out branch, without `refs/heads/`, if it has no commit yet.
    pub unborn: Option<String>,
    /// What the repository's remotes had when it last heard from them, by name without `refs/remotes/`.
    pub remotes: BTreeMap<String, ObjectId>,
    /// Whether it has refs that are neither branches nor tags.
    pub others: bool,
    /// Whether some of those refs replace objects.
    pub replaced: bool,
    /// A message for each ref that could not be followed.
    pub unfollowed: Vec<String>,
}

/// The refs found so far.
#[derive(Default)]
struct Found {
    refs: Refs,
    /// Symbolic refs and the refs that they lead to, both by name without `refs/`.
    symbolic: BTreeMap<String, String>,
}

impl Source {
    /// Returns the repository's branches and tags.
    ///
    /// # Errors
    /// Returns an error if they cannot be read.
    pub fn refs(&self) -> Result<Refs> {
        let mut found = Found::default();
        // git may be packing refs at this moment. It writes `packed-refs` before it removes a file.
        let refs = self.common.folder(OsStr::new("refs"));
        let refs = refs.with_context(|| format!("cannot open the refs of {}", self.place.display()))?;
        loose(&refs, "refs", 0, &mut found)?;
        for line in text(&self.common, "packed-refs", MAX_TEXT)?.unwrap_or_default().lines() {
            if let Some((id, name)) = line.split_once(' ')
                && !line.starts_with(['#', '^'])
            {
                found.take(name, id, false);
            }
        }
        let mut refs = found.resolve();
        self.head(&mut refs)?;
        let formats: Vec<&str> = refs.named.values().map(ObjectId::format).collect();
        ensure!(
            formats.windows(2).all(|pair| pair[0] == pair[1]),
            "{} mixes SHA-1 and SHA-256",
            self.place.display()
        );
        Ok(refs)
    }

    /// Finds out what is checked out, and what a clone will check out: the same, or the remote's default
    /// branch, or one of the usual names, or the first branch.
    fn head(&self, refs: &mut Refs) -> Result<()> {
        let head = text(&self.own, "HEAD", MAX_REF)?.unwrap_or_default();
        let head = head.trim();
        let branch = head.strip_prefix("ref:").map(str::trim).filter(|name| is_ref(name));
        let branch = branch.and_then(|name| name.strip_prefix("refs/heads/"));
        let there = |refs: &Refs, branch: &str| refs.named.contains_key(&format!("heads/{branch}"));
        if branch.is_some_and(|branch| there(refs, branch)) {
            refs.default = branch.map(|branch| format!("refs/heads/{branch}"));
            return Ok(());
        }
        refs.detached = head.parse().ok();
        refs.unborn = branch.map(str::to_owned);
        let remote = self.common.folder_at(Path::new("refs/remotes/origin")).ok();
        let remote = remote.map(|remote| text(&remote, "HEAD", MAX_REF)).transpose()?.flatten();
        let remote = remote.as_deref().unwrap_or_default().trim().strip_prefix("ref: refs/remotes/origin/");
        let usual = remote.into_iter().chain(["main", "master"]).map(str::to_owned);
        let branches = || refs.named.iter().filter_map(|(name, id)| Some((name.strip_prefix("heads/")?, id)));
        let first = branches().next().map(|(name, _)| name.to_owned());
        let usual: Vec<String> = usual.filter(|branch| there(refs, branch)).chain(first).collect();
        let at_head = |name: &str| refs.named.get(&format!("heads/{name}")) == refs.detached.as_ref();
        let same = usual.iter().find(|name| at_head(name)).cloned();
        let same = same.or_else(|| {
            let id = refs.detached.as_ref()?;
            branches().find(|(_, known)| *known == id).map(|(name, _)| name.to_owned())
        });
        let begins = same.or_else(|| usual.into_iter().next()).or_else(|| refs.unborn.clone());
        refs.default = begins.map(|branch| format!("refs/heads/{branch}"));
        Ok(())
    }
}

impl Refs {
    /// Returns the branches that a remote had when the repository last heard from it, by name without
    /// `refs/`. There are none if `remote` is a URL, or was never fetched from or pushed to.
    pub fn known_at(&self, remote: &str) -> BTreeMap<String, ObjectId> {
        let prefix = format!("{remote}/");
        let known = self.remotes.iter().filter_map(|(name, id)| Some((name.strip_prefix(&prefix)?, id)));
        known.map(|(branch, id)| (format!("heads/{branch}"), id.clone())).collect()
    }
}

impl Found {
    /// Adds a ref, unless it is already known from a file, which takes precedence.
    fn take(&mut self, name: &str, text: &str, is_file: bool) {
        let refs = &mut self.refs;
        let short = name.strip_prefix("refs/").unwrap_or_default();
        if !(short.starts_with("heads/") || short.starts_with("tags/")) {
            refs.others |= !short.is_empty();
            refs.replaced |= short.starts_with("replace/");
            // A remote's HEAD is symbolic, and leads to one of its branches.
            if let (Some(branch), Ok(id), true) =
                (short.strip_prefix("remotes/"), text.parse(), is_ref(name) && refs.remotes.len() < MAX_REFS)
            {
                refs.remotes.entry(branch.to_owned()).or_insert(id);
            }
            return;
        }
        // Bytes that are not UTF-8 were replaced, so the real name is unknown.
        let is_name = is_ref(name) && !name.contains(char::REPLACEMENT_CHARACTER);
        let target = text.strip_prefix("ref:").map(str::trim).filter(|_| is_file);
        let target = target.and_then(|target| target.strip_prefix("refs/"));
        match (text.parse(), target) {
            (Ok(id), _) if is_name && refs.named.len() < MAX_REFS => {
                if !self.symbolic.contains_key(short)
                    && let Entry::Vacant(place) = refs.named.entry(short.to_owned())
                {
                    place.insert(id);
                }
            }
            (_, Some(target)) if is_name => _ = self.symbolic.insert(short.to_owned(), target.to_owned()),
            _ => refs.unfollowed.push(format!("{name} of the repository is not a ref that can be followed")),
        }
    }

    /// Follows the symbolic refs.
    fn resolve(mut self) -> Refs {
        for (name, target) in &self.symbolic {
            let mut target = target;
            for _ in 0..MAX_SYMBOLIC {
                target = self.symbolic.get(target).unwrap_or(target);
            }
            match self.refs.named.get(target).cloned() {
                Some(id) => _ = self.refs.named.insert(name.clone(), id),
                None => self
                    .refs
                    .unfollowed
                    .push(format!("refs/{name} of the repository leads to no branch or tag")),
            }
        }
        self.refs
    }
}

fn loose(dir: &Folder, above: &str, depth: usize, found: &mut Found) -> Result<()> {
    for file in dir.names()? {
        let file = file?;
        let name = format!("{above}/{}", file.to_string_lossy());
        ensure!(
            depth < MAX_DEPTH && found.refs.unfollowed.len() < MAX_REFS,
            "the repository has too many refs, or they are nested too deep"
        );
        // It may have been removed by now.
        let Ok(meta) = dir.meta(&file) else { continue };
        if meta.kind == Kind::Folder {
            if let Ok(dir) = dir.folder(&file) {
                loose(&dir, &name, depth + 1, found)?;
            }
        } else if file.to_str().is_none_or(|file| !file.ends_with(".lock")) {
            let text = file.to_str().map_or(Ok(None), |file| text(dir, file, MAX_REF))?;
            found.take(&name, text.unwrap_or_default().trim(), true);
        }
    }
    Ok(())
}
