//! Quarantine repositories: they hold what the agent has pushed until a person has looked at it.
//!
//! There are three sets of branches and tags, with the same names in each:
//! - `refs/heads/*`, `refs/tags/*` ([`OURS`]): what the agent sees and changes.
//! - `refs/bottle/upstream/*`: what the upstream has, as far as that is known for certain. A ref that differs
//!   from it is a waiting push. Pushes are judged against it, and shown to people as a difference from it.
//! - `refs/bottle/seen/*`: what the operator's own repository had when it was last read. Branches that the
//!   agent has not touched follow it. It counts as the upstream's only as long as no guest could write to it
//!   ([`super::pin`]).
//!
//! A fourth set, `refs/bottle/published/*`, is what the upstream itself had when the operator's repository
//! last heard from it, and what was sent to it from here. Commits that count as the upstream's and are not in
//! this set are the operator's own work, which a push that builds on them would publish.

mod bundle;
mod forward;
mod refresh;
mod store;

use super::child::Git;
use anyhow::{Context, Result, bail};
use bottle_core::git::name::ObjectId;
use bottle_core::specification::Repo;
use bottle_host::defence::Defence;
use bottle_host::state::Folder;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const HEADS: &str = "refs/heads/";
const OURS: &str = "refs/";
/// The refs of the upstream.
pub const UPSTREAM: &str = "refs/bottle/upstream/";
const SEEN: &str = "refs/bottle/seen/";
const PUBLISHED: &str = "refs/bottle/published/";
/// The refs below [`PUBLISHED`] that were sent from here. Only these outlive a refresh.
const SENT: &str = "refs/bottle/published/sent/";
/// How many branches and tags a list describes in full.
const MAX_COUNTED: usize = 100;

/// Refs by name, without their common prefix.
type Named = BTreeMap<String, ObjectId>;

/// A quarantine repository.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// Its folder.
    pub dir: PathBuf,
}

/// A push that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, rmcp::schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Waiting {
    /// The ref's full name.
    pub name: String,
    /// The branch without `refs/heads/`, or a tag's full name.
    pub branch: String,
    /// The upstream's commit, unless the branch is new.
    pub old: Option<ObjectId>,
    /// The pushed commit, unless the branch was deleted.
    pub new: Option<ObjectId>,
    /// The number of commits that the upstream does not have.
    pub commits: usize,
    /// The number of the operator's own commits that would be published with it, because the upstream does
    /// not have them yet. It is 0 if the operator's repository does not know what the upstream has.
    pub own_commits: usize,
    /// The last commit's subject.
    pub subject: String,
    /// Whether the agent pushed it. If not, the operator's repository has it, and a guest could
    /// have written it there.
    pub pushed: bool,
}

impl Waiting {
    /// Creates the waiting push of a ref.
    pub fn of(name: &str, old: Option<ObjectId>, new: Option<ObjectId>) -> Self {
        // A branch may have a name like `refs/tags/x`.
        let short = name.strip_prefix(HEADS).filter(|short| !short.starts_with(OURS));
        let branch = short.unwrap_or(name).to_owned();
        Self {
            name: name.to_owned(),
            branch,
            old,
            new,
            commits: 0,
            own_commits: 0,
            subject: String::new(),
            pushed: true,
        }
    }

    /// Returns the text with which a person confirms what they saw: the commit, or `deleted`.
    pub fn state(&self) -> &str {
        self.new.as_ref().map_or("deleted", ObjectId::as_str)
    }
}

/// A change of one ref: its full name, and its new commit, or `None` to delete it.
struct Change(String, Option<ObjectId>);

impl Quarantine {
    /// Returns the quarantine of a repository.
    pub fn of(folder: &Folder, repo: &Repo) -> Self {
        Self { dir: folder.git().join(format!("{}.git", repo.name)) }
    }

    pub(super) fn git(&self) -> Git {
        Git::store(&self.dir)
    }

    /// Changes refs. A change that git refuses (`a` beside `a/b`, or a name that differs only by case from
    /// another on a case-insensitive file system) does not stop the others. Returns a message for each ref
    /// that did not change.
    fn change(&self, changes: &[Change]) -> Result<Vec<String>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        for Change(name, to) in changes {
            let line = match to {
                Some(id) => format!("update {name}\0{id}\0\0"),
                None => format!("delete {name}\0\0"),
            };
            lines.extend_from_slice(line.as_bytes());
        }
        let changed = self.git().args(["update-ref", "-z", "--stdin"]).input(lines).run();
        match (changed, changes) {
            (Ok(()), _) => Ok(Vec::new()),
            (Err(error), _) if !Defence::GitRefNames.stands() => Err(error),
            (Err(error), [Change(name, _)]) => Ok(vec![format!(
                "{} of your repository is not followed: {error:#}",
                name.trim_start_matches(UPSTREAM)
            )]),
            (Err(_), several) => {
                // Deletions created first, to make room for new names.
                let (deleted, created): (Vec<_>, Vec<_>) = several
                    .iter()
                    .map(|Change(n, i)| Change(n.clone(), i.clone()))
                    .partition(|c| c.1.is_none());
                if !deleted.is_empty() && !created.is_empty() {
                    return Ok([self.change(&deleted)?, self.change(&created)?].concat());
                }
                let (first, second) = several.split_at(several.len() / 2);
                Ok([self.change(first)?, self.change(second)?].concat())
            }
        }
    }

    fn refs(&self, below: &str) -> Result<Named> {
        let patterns = ["heads", "tags"].map(|kind| format!("{below}{kind}"));
        let said =
            self.git().args(["for-each-ref", "--format=%(objectname) %(refname)"]).args(patterns).text()?;
        let named = |line: &str| {
            let (id, name) = line.split_once(' ')?;
            Some((name.strip_prefix(below)?.to_owned(), id.parse().ok()?))
        };
        Ok(said.lines().filter_map(named).collect())
    }

    /// Returns the commit that the upstream has for a ref, given by its full name.
    ///
    /// # Errors
    /// Returns an error if the quarantine cannot be read.
    pub fn upstream_of(&self, name: &str) -> Result<Option<ObjectId>> {
        Ok(self
            .refs(UPSTREAM)?
            .remove(name.strip_prefix(OURS).with_context(|| format!("{name} is not a ref's full name"))?))
    }

    /// Returns the pushes that wait for a person.
    ///
    /// # Errors
    /// Returns an error if the quarantine cannot be read.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        if !self.dir.join("HEAD").exists() {
            return Ok(Vec::new());
        }
        let (upstream, ours, seen) = (self.refs(UPSTREAM)?, self.refs(OURS)?, self.refs(SEEN)?);
        let names: BTreeSet<&String> = upstream.keys().chain(ours.keys()).collect();
        let mut waiting = Vec::new();
        for name in names {
            let (old, new) = (upstream.get(name).cloned(), ours.get(name).cloned());
            if old == new {
                continue;
            }
            let mut push = Waiting::of(&format!("{OURS}{name}"), old, new);
            push.pushed = ours.get(name) != seen.get(name);
            "deleted".clone_into(&mut push.subject);
            if let Some(new) = push.new.as_ref().filter(|_| waiting.len() < MAX_COUNTED) {
                let list =
                    ["rev-list", "--count", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
                push.commits = self.git().args(list).text()?.parse()?;
                push.own_commits = self.own_commits(new)?.len();
                push.subject = self.git().args(["log", "-1", "--format=%s", new.as_str(), "--"]).text()?;
            }
            waiting.push(push);
        }
        Ok(waiting)
    }

    /// Returns the operator's own commits that pushing this commit would publish, each with its subject, the
    /// newest first.
    ///
    /// # Errors
    /// Returns an error if the quarantine cannot be read.
    pub fn own_commits(&self, new: &ObjectId) -> Result<Vec<String>> {
        let known = self.git().args(["for-each-ref", "--count=1", PUBLISHED]).text()?;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let not_there = |more: &[String]| {
            let words = ["log", "--encoding=UTF-8", "--format=%H %s", new.as_str(), "--not"];
            let published = format!("--glob={PUBLISHED}*");
            self.git().args(words).args([published]).args(more).args(["--"]).text()
        };
        let (all, pushed) = (not_there(&[])?, not_there(&[format!("--glob={UPSTREAM}*")])?);
        let pushed: BTreeSet<&str> = pushed.lines().collect();
        Ok(all.lines().filter(|line| !pushed.contains(line)).map(str::to_owned).collect())
    }

    /// Returns whether `old` is an ancestor of `new`, or the same commit.
    ///
    /// # Errors
    /// Returns an error if one of them is missing here.
    pub fn is_ancestor(&self, old: &ObjectId, new: &ObjectId) -> Result<bool> {
        let words = ["merge-base", "--is-ancestor", old.as_str(), new.as_str()];
        let ended = self.git().args(words).finish()?;
        match ended.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => bail!("git: {}", ended.stderr),
        }
    }

    /// Rejects a push by resetting the branch to the upstream's commit.
    ///
    /// # Errors
    /// Returns an error if the branch has changed in the meantime.
    pub fn reject(&self, waiting: &Waiting) -> Result<()> {
        // git's null id means "must not exist".
        let null = waiting.old.as_ref().or(waiting.new.as_ref()).map_or("", ObjectId::null);
        let has = waiting.new.as_ref().map_or(null, ObjectId::as_str);
        match &waiting.old {
            Some(old) => self.git().args(["update-ref", &waiting.name, old.as_str(), has]).run(),
            None => self.git().args(["update-ref", "-d", &waiting.name, has]).run(),
        }
    }
}
