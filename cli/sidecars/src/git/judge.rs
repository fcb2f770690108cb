//! Finds the guarded paths that a push touches by comparing the trees of its commits, not by reading a patch.
//!
//! Every commit that the upstream does not have is compared with each of its parents, entry by entry: mode,
//! kind and object. A merge brings changes that others made. So an entry that differs from one parent and not
//! from another is checked a second time: the merge may take the other side's changes, and must not drop this
//! side's. By that rule every new commit has, at a guarded path, the content that the upstream gave it.

use super::child::{Git, read_until};
use super::quarantine::UPSTREAM;
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::listed::{Differs, Entry, Piece, piece};
use bottle_core::git::name::ObjectId;
use bottle_core::git::path::{Guarded, Touched};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

/// How many commits one push may contain.
const MAX_COMMITS: usize = 20_000;
/// How many parents one commit may have. git itself stops long before that.
const MAX_PARENTS: usize = 66;
/// How many entries may differ, in all trees of a push together.
const MAX_ENTRIES: usize = 2_000_000;
/// The longest path, in bytes.
const MAX_PATH: usize = 4096;
/// How deep folders may be nested.
const MAX_DEPTH: usize = 256;
/// How many entries of merges are checked a second time.
const MAX_SECOND_CHECKS: usize = 2000;
const MAX_LINE: usize = 256 << 10;

/// Commits and their parents.
type Lineage = Vec<(ObjectId, Vec<ObjectId>)>;
/// Two trees to compare.
type Pair = (ObjectId, ObjectId);

/// Returns the guarded paths that a push touches. `upstream` is the upstream's commit for the same ref.
///
/// # Errors
/// Returns an error if the push is too large to inspect.
pub fn touched(new: &ObjectId, upstream: Option<&ObjectId>, guarded: &Guarded) -> Result<Vec<Touched>> {
    let lineage = lineage(new)?;
    let mut ids: BTreeSet<&ObjectId> =
        lineage.iter().flat_map(|(commit, parents)| parents.iter().chain([commit])).collect();
    ids.insert(new);
    ids.extend(upstream);
    let trees = trees(&ids)?;
    let tree = |id: &ObjectId| trees.get(id).cloned().context("git listed no tree for a commit");
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
    let mut checks = SecondChecks::default();
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
                        let taken = from.map(|from| checks.drops(parent, from, differs)).transpose()?;
                        if taken.unwrap_or(true) {
                            found.push(shown(differs));
                        }
                    }
                }
            }
        }
    }
    if let Some(upstream) = upstream {
        // A rewritten branch must not drop the upstream's changes either.
        for differs in of(&(tree(upstream)?, tree(new)?)) {
            if checks.drops(upstream, new, differs)? {
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

/// Returns the commits that the upstream does not have, each with its parents.
fn lineage(new: &ObjectId) -> Result<Lineage> {
    let list = ["rev-list", "--parents", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
    let mut commits = Lineage::new();
    Git::in_hook().args(list).read(|out| {
        while let Some(line) = read_until(out, b'\n', MAX_LINE)? {
            let ids = std::str::from_utf8(&line)?.split(' ').map(str::parse);
            let mut ids = ids.collect::<Result<Vec<ObjectId>, _>>()?;
            ensure!(ids.len() <= MAX_PARENTS, "a commit merges more than {MAX_PARENTS} others");
            commits.push((ids.remove(0), ids));
            ensure!(
                commits.len() <= MAX_COMMITS,
                "the push brings more than {MAX_COMMITS} commits: push fewer at a time"
            );
        }
        Ok(())
    })?;
    Ok(commits)
}

fn trees(commits: &BTreeSet<&ObjectId>) -> Result<BTreeMap<ObjectId, ObjectId>> {
    let asked: String = commits.iter().map(|id| format!("{id}^{{tree}}\n")).collect();
    let said = Git::in_hook().args(["cat-file", "--batch-check=%(objectname)"]).input(asked).text()?;
    let trees: Vec<ObjectId> =
        said.lines().map(str::parse).collect::<Result<_, _>>().context("git listed no tree for a commit")?;
    ensure!(trees.len() == commits.len(), "git listed {} trees for {} commits", trees.len(), commits.len());
    Ok(commits.iter().map(|id| (*id).clone()).zip(trees).collect())
}

/// Returns the guarded entries in which the trees of each pair differ.
fn differing(pairs: &BTreeSet<Pair>, guarded: &Guarded) -> Result<BTreeMap<Pair, Vec<Differs>>> {
    let mut found: BTreeMap<Pair, Vec<Differs>> = BTreeMap::new();
    if pairs.is_empty() {
        return Ok(found);
    }
    let asked: String = pairs.iter().map(|(one, other)| format!("{one} {other}\n")).collect();
    each_difference(Git::in_hook(), &asked, &mut |pair, differs| {
        let depth = differs.path.iter().filter(|byte| **byte == b'/').count();
        ensure!(depth <= MAX_DEPTH, "the push has folders nested more than {MAX_DEPTH} deep");
        if guarded.covers(&shown(&differs)) {
            found.entry(pair.clone()).or_default().push(differs);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `take` for each entry in which two trees differ. `pairs` has one line, `TREE TREE`, per pair.
///
/// # Errors
/// Returns an error if there are too many entries, or the error of `take`.
pub fn each_difference(
    git: Git,
    pairs: &str,
    take: &mut dyn FnMut(&Pair, Differs) -> Result<()>,
) -> Result<()> {
    let words = ["diff-tree", "--stdin", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff"];
    git.args(words).input(pairs).read(|out| {
        let (mut pair, mut count) = (None, 0);
        while let Some(&start) = out.fill_buf()?.first() {
            // The line that names the trees ends with a newline, although everything else ends with NUL.
            let end = if start == b':' { 0 } else { b'\n' };
            let head = read_until(out, end, MAX_PATH)?.context("git ended in the middle of its list")?;
            let (old, new) = match piece(&head)? {
                Piece::Trees(one, other) => {
                    pair = Some((one, other));
                    continue;
                }
                Piece::Entry(old, new) => (old, new),
            };
            let path = read_until(out, 0, MAX_PATH)?.context("git ended in the middle of its list")?;
            count += 1;
            ensure!(
                count <= MAX_ENTRIES,
                "the push changes more than {MAX_ENTRIES} files: push fewer commits at a time"
            );
            take(
                pair.as_ref().context("git listed a difference before it named the trees")?,
                Differs { old, new, path },
            )?;
        }
        Ok(())
    })
}

/// The state of the second checks of merges.
#[derive(Default)]
struct SecondChecks {
    count: usize,
    bases: BTreeMap<Pair, Vec<ObjectId>>,
}

impl SecondChecks {
    /// Returns whether `one` changed an entry after the sides diverged, so that taking the other side's
    /// version drops that change.
    fn drops(&mut self, one: &ObjectId, other: &ObjectId, differs: &Differs) -> Result<bool> {
        self.count += 1;
        if self.count > MAX_SECOND_CHECKS {
            bail!("the push merges too many guarded files: push fewer commits at a time");
        }
        let key = (one.clone(), other.clone());
        if !self.bases.contains_key(&key) {
            let ended =
                Git::in_hook().args(["merge-base", "--all", one.as_str(), other.as_str()]).finish()?;
            ensure!(matches!(ended.status.code(), Some(0 | 1)), "git: {}", ended.stderr);
            let said = String::from_utf8_lossy(&ended.stdout).into_owned();
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

/// Returns a commit's entry at a path.
fn entry(commit: &ObjectId, path: &[u8]) -> Result<Option<Entry>> {
    use std::os::unix::ffi::OsStrExt;
    let words = ["ls-tree", "-z", "--full-tree", commit.as_str(), "--"];
    let said = Git::in_hook().args(words).args([std::ffi::OsStr::from_bytes(path)]).output()?;
    let Some(said) = said.split(|byte| *byte == 0).next().filter(|said| !said.is_empty()) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(said);
    let words: Vec<&str> = text.split(['\t', ' ']).take(3).collect();
    let [mode, _kind, id] = words.as_slice() else { bail!("git ls-tree printed {text:?}") };
    Ok(Some(Entry { mode: u32::from_str_radix(mode, 8)?, id: id.parse()? }))
}
