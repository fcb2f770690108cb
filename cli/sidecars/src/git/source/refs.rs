//! Reads the repository's branches and tags.

use super::files::{MAX_REF, has, text};
use super::open::Source;
use anyhow::{Result, ensure};
use bottle_core::git::name::{ObjectId, is_ref};
use bottle_host::beneath::{Folder, Kind};
use std::collections::BTreeMap;
use std::path::Path;

/// The longest `packed-refs`, in bytes: half a million branches.
const MAX_TEXT: u64 = 64 << 20;
/// How many refs are read.
const MAX_REFS: usize = 500_000;
/// How deep the names of refs may be nested.
const MAX_DEPTH: usize = 32;

/// The branches and tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    /// Every branch and tag, by name without `refs/`.
    pub named: BTreeMap<String, ObjectId>,
    /// The full name of the branch that is checked out.
    pub head: Option<String>,
    /// A message for each ref that could not be followed.
    pub unfollowed: Vec<String>,
}

impl Source {
    /// Returns its branches and tags.
    ///
    /// # Errors
    /// Returns an error if they cannot be read.
    pub fn refs(&self) -> Result<Refs> {
        ensure!(
            !has(&self.common, "reftable"),
            "{} keeps its refs as a reftable; `git refs migrate --ref-format=files` there changes that",
            self.place.display()
        );
        let mut refs = Refs::default();
        for line in text(&self.common, "packed-refs", MAX_TEXT)?.unwrap_or_default().lines() {
            if let Some((id, name)) = line.split_once(' ')
                && !line.starts_with(['#', '^'])
            {
                take(&mut refs, name, id);
            }
        }
        for below in ["refs/heads", "refs/tags"] {
            if let Ok(dir) = self.common.folder_at(Path::new(below)) {
                loose(&dir, below, 0, &mut refs)?;
            }
        }
        let head = text(&self.own, "HEAD", MAX_REF)?.unwrap_or_default();
        let head = head.strip_prefix("ref:").map(str::trim).filter(|name| is_ref(name));
        refs.head = head.filter(|name| name.starts_with("refs/heads/")).map(str::to_owned);
        let formats: Vec<&str> = refs.named.values().map(ObjectId::format).collect();
        ensure!(
            formats.windows(2).all(|pair| pair[0] == pair[1]),
            "{} mixes SHA-1 and SHA-256",
            self.place.display()
        );
        Ok(refs)
    }
}

fn take(refs: &mut Refs, name: &str, id: &str) {
    let short = name.strip_prefix("refs/").unwrap_or_default();
    match id.parse() {
        _ if !(short.starts_with("heads/") || short.starts_with("tags/")) => {}
        Ok(id) if is_ref(name) && refs.named.len() < MAX_REFS => _ = refs.named.insert(short.to_owned(), id),
        _ => refs.unfollowed.push(format!("{name} of the repository is not a ref that can be followed")),
    }
}

fn loose(dir: &Folder, above: &str, depth: usize, refs: &mut Refs) -> Result<()> {
    for file in dir.names()? {
        let file = file?;
        let name = format!("{above}/{}", file.to_string_lossy());
        ensure!(
            depth < MAX_DEPTH && refs.unfollowed.len() < MAX_REFS,
            "the repository has too many refs, or they are nested too deep"
        );
        if dir.meta(&file)?.kind == Kind::Folder {
            if let Ok(dir) = dir.folder(&file) {
                loose(&dir, &name, depth + 1, refs)?;
            }
        } else if file.to_str().is_none_or(|file| !file.ends_with(".lock")) {
            let id = file.to_str().map_or(Ok(None), |file| text(dir, file, MAX_REF))?;
            take(refs, &name, id.unwrap_or_default().trim());
        }
    }
    Ok(())
}
