//! Which guarded paths a push touches: by the trees of its commits, not by what a patch shows.
//!
//! Every commit that the upstream does not have is compared with each of its parents, entry by entry:
//! mode, kind and object. A merge brings what others changed, so it needs a second look where it
//! differs from one parent and not from another: it may take what the other side changed, and may not
//! drop what this side did. By that rule a guarded path has, in every new commit, what the upstream
//! gave it.

use super::child::{Git, until};
use super::quarantine::UPSTREAM;
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::listed::{Differs, Entry, Piece, piece};
use bottle_core::git::name::ObjectId;
use bottle_core::git::path::{Guarded, Touched};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

/// How many commits one push may bring.
const MAX_COMMITS: usize = 20_000;
/// How many others one commit may merge. Git itself stops long before.
const MAX_PARENTS: usize = 66;
/// In how many entries all of its trees together may differ.
const MAX_ENTRIES: usize = 2_000_000;
/// The longest path, and the deepest.
const MAX_PATH: usize = 4096;
const MAX_DEPTH: usize = 256;
/// How often a merge is looked at a second time.
const MAX_SECOND_LOOKS: usize = 2000;
const MAX_LINE: usize = 256 << 10;

/// A commit and its parents.
type Lineage = Vec<(ObjectId, Vec<ObjectId>)>;
/// Two trees.
type Pair = (ObjectId, ObjectId);

/// The guarded paths that a push touches. `upstream` is what the upstream has under the same name.
///
/// # Errors
/// Where it is too much to be looked at.
pub fn touched(new: &ObjectId, upstream: Option<&ObjectId>, guarded: &Guarded) -> Result<Vec<Touched>> {
    let lineage = lineage(new)?;
    let mut ids: BTreeSet<&ObjectId> =
        lineage.iter().flat_map(|(commit, parents)| parents.iter().chain([commit])).collect();
    ids.insert(new);
    ids.extend(upstream);
    let trees = trees(&ids)?;
    let tree = |id: &ObjectId| trees.get(id).cloned().context("a commit without a tree");
    let empty: ObjectId = new.empty_tree().parse()?;

    let mut pairs = BTreeSet::new();
    for (commit, parents) in &lineage {
        let has = tree(commit)?;
        for parent in parents {
            pairs.insert((tree(parent)?, has.clone()));
        }
        if parents.is_empty() {
            pairs.insert((empty.clone(), has));
        }
    }
    if let Some(upstream) = upstream {
        pairs.insert((tree(upstream)?, tree(new)?));
    }
    let differ = differing(&pairs, guarded)?;
    let of = |pair: &Pair| differ.get(pair).map_or(&[][..], Vec::as_slice);

    let mut found = Vec::new();
    let mut looks = Looks::default();
    for (commit, parents) in &lineage {
        let has = tree(commit)?;
        match parents.as_slice() {
            [] => found.extend(of(&(empty.clone(), has)).iter().map(shown)),
            [parent] => found.extend(of(&(tree(parent)?, has)).iter().map(shown)),
            parents => {
                for parent in parents {
                    for differs in of(&(tree(parent)?, has.clone())) {
                        let mut from = None;
                        for other in parents {
                            if !of(&(tree(other)?, has.clone())).iter().any(|d| d.path == differs.path) {
                                from = Some(other);
                            }
                        }
                        let taken = from.map(|from| looks.drops(parent, from, differs)).transpose()?;
                        if taken.unwrap_or(true) {
                            found.push(shown(differs));
                        }
                    }
                }
            }
        }
    }
    if let Some(upstream) = upstream {
        // What is rewritten drops nothing either that the upstream has changed there.
        for differs in of(&(tree(upstream)?, tree(new)?)) {
            if looks.drops(upstream, new, differs)? {
                found.push(shown(differs));
            }
        }
    }
    Ok(found)
}

fn shown(differs: &Differs) -> Touched {
    Touched {
        path: String::from_utf8_lossy(&differs.path).into_owned(),
        leads: differs.new.as_ref().is_some_and(Entry::leads),
    }
}

/// The commits that the upstream does not have, with their parents.
fn lineage(new: &ObjectId) -> Result<Lineage> {
    let list = ["rev-list", "--parents", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
    let mut commits = Lineage::new();
    Git::pushed().args(list).read(|out| {
        while let Some(line) = until(out, b'\n', MAX_LINE)? {
            let ids = std::str::from_utf8(&line)?.split(' ').map(str::parse);
            let mut ids = ids.collect::<Result<Vec<ObjectId>, _>>()?;
            ensure!(ids.len() <= MAX_PARENTS, "a commit merges more than {MAX_PARENTS} others");
            commits.push((ids.remove(0), ids));
            ensure!(
                commits.len() <= MAX_COMMITS,
                "the push brings more than {MAX_COMMITS} commits: push less at a time"
            );
        }
        Ok(())
    })?;
    Ok(commits)
}

fn trees(commits: &BTreeSet<&ObjectId>) -> Result<BTreeMap<ObjectId, ObjectId>> {
    let asked: String = commits.iter().map(|id| format!("{id}^{{tree}}\n")).collect();
    let said = Git::pushed().args(["cat-file", "--batch-check=%(objectname)"]).input(asked).text()?;
    let trees: Vec<ObjectId> =
        said.lines().map(str::parse).collect::<Result<_, _>>().context("a commit's tree")?;
    ensure!(trees.len() == commits.len(), "git named {} trees of {} commits", trees.len(), commits.len());
    Ok(commits.iter().map(|id| (*id).clone()).zip(trees).collect())
}

/// In which guarded entries the trees of each pair differ.
fn differing(pairs: &BTreeSet<Pair>, guarded: &Guarded) -> Result<BTreeMap<Pair, Vec<Differs>>> {
    let mut found: BTreeMap<Pair, Vec<Differs>> = BTreeMap::new();
    if pairs.is_empty() {
        return Ok(found);
    }
    let asked: String = pairs.iter().map(|(one, other)| format!("{one} {other}\n")).collect();
    each_difference(Git::pushed(), &asked, &mut |pair, differs| {
        let depth = differs.path.iter().filter(|byte| **byte == b'/').count();
        ensure!(depth <= MAX_DEPTH, "the push has folders that are deeper than {MAX_DEPTH}");
        if guarded.covers(&shown(&differs)) {
            found.entry(pair.clone()).or_default().push(differs);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Goes through the entries in which pairs of trees differ, a line `TREE TREE` each.
///
/// # Errors
/// Where they are too many, and what `take` says.
pub fn each_difference(
    git: Git,
    pairs: &str,
    take: &mut dyn FnMut(&Pair, Differs) -> Result<()>,
) -> Result<()> {
    let words = ["diff-tree", "--stdin", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff"];
    git.args(words).input(pairs).read(|out| {
        let (mut pair, mut count) = (None, 0);
        while let Some(&start) = out.fill_buf()?.first() {
            // The line that names the trees ends with a newline, also where all else ends with NUL.
            let end = if start == b':' { 0 } else { b'\n' };
            let head = until(out, end, MAX_PATH)?.context("git ended early")?;
            let (old, new) = match piece(&head)? {
                Piece::Trees(one, other) => {
                    pair = Some((one, other));
                    continue;
                }
                Piece::Entry(old, new) => (old, new),
            };
            let path = until(out, 0, MAX_PATH)?.context("git ended early")?;
            count += 1;
            ensure!(
                count <= MAX_ENTRIES,
                "the push changes more than {MAX_ENTRIES} files: push less at a time"
            );
            take(pair.as_ref().context("git named no trees")?, Differs { old, new, path })?;
        }
        Ok(())
    })
}

/// The second looks at merges.
#[derive(Default)]
struct Looks {
    count: usize,
    bases: BTreeMap<Pair, Vec<ObjectId>>,
}

impl Looks {
    /// Whether `one` had changed an entry since both sides were the same, so that taking the other's
    /// drops that change.
    fn drops(&mut self, one: &ObjectId, other: &ObjectId, differs: &Differs) -> Result<bool> {
        self.count += 1;
        if self.count > MAX_SECOND_LOOKS {
            bail!("the push merges too many guarded files: push less at a time");
        }
        let key = (one.clone(), other.clone());
        if !self.bases.contains_key(&key) {
            let ended = Git::pushed().args(["merge-base", "--all", one.as_str(), other.as_str()]).end()?;
            ensure!(matches!(ended.status.code(), Some(0 | 1)), "git: {}", ended.complaint);
            let said = String::from_utf8_lossy(&ended.out).into_owned();
            let bases = said.lines().map(str::parse).collect::<Result<Vec<ObjectId>, _>>()?;
            self.bases.insert(key.clone(), bases);
        }
        let bases = &self.bases[&key];
        if bases.is_empty() {
            return Ok(differs.old.is_some());
        }
        for base in bases {
            if entry(base, &differs.path)? != differs.old {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a commit has at a path.
fn entry(commit: &ObjectId, path: &[u8]) -> Result<Option<Entry>> {
    use std::os::unix::ffi::OsStrExt;
    let words = ["ls-tree", "-z", "--full-tree", commit.as_str(), "--"];
    let said = Git::pushed().args(words).args([std::ffi::OsStr::from_bytes(path)]).said()?;
    let Some(said) = said.split(|byte| *byte == 0).next().filter(|said| !said.is_empty()) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(said);
    let words: Vec<&str> = text.split(['\t', ' ']).take(3).collect();
    let [mode, _kind, id] = words.as_slice() else { bail!("git said {text:?}") };
    Ok(Some(Entry { mode: u32::from_str_radix(mode, 8)?, id: id.parse()? }))
}
