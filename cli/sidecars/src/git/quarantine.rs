//! Quarantine repositories: what the agent has pushed, until a person has looked at it.
//!
//! Three sets of branches and tags, each by the same names:
//! - `refs/heads/*`, `refs/tags/*` ([`OURS`]): what the agent sees and changes;
//! - `refs/bottle/upstream/*`: what the upstream has, as far as that is known for sure. Where the two
//!   differ, a push waits, and against it every push is judged and shown;
//! - `refs/bottle/seen/*`: what the operator's own repository had when it was last read. What the
//!   agent has not touched follows it. It counts as the upstream's only as long as no guest could
//!   write to it ([`super::pin`]).

use super::child::{CONFIG, FRUGAL, Git, Limits};
use super::confine::hooks;
use super::outgoing::Outgoing;
use super::pin::{self, Pin};
use super::source::{Refs, Source};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::name::ObjectId;
use bottle_core::git::url;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::state::{Folder, private_dir, remove_dir, write_private};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const HEADS: &str = "refs/heads/";
const OURS: &str = "refs/";
/// What the upstream has.
pub const UPSTREAM: &str = "refs/bottle/upstream/";
const SEEN: &str = "refs/bottle/seen/";
/// The hooks. Git runs them for every push; which bottle and which repository, its environment says.
const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];
/// What a refresh could not follow, a line each.
const UNFOLLOWED: &str = "bottle-unfollowed";
/// How large the packs were when the bottle started.
const SIZE: &str = "bottle-size";
/// How many bytes pushes may bring until the bottle is started again, at least.
const MIN_ROOM: u64 = 1 << 30;
/// How many files of packs are kept apart. Each push that was taken is three.
const MAX_PACK_FILES: usize = 60;
/// How many branches and tags a list looks into.
const MAX_COUNTED: usize = 100;

/// What refs there are, by their names without what all of them begin with.
type Named = BTreeMap<String, ObjectId>;

/// A quarantine repository.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// Where it is.
    pub dir: PathBuf,
}

/// A push that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The ref's whole name.
    pub name: String,
    /// The branch, without `refs/heads/`; a tag's whole name.
    pub branch: String,
    /// What the upstream has, unless the branch is new.
    pub old: Option<ObjectId>,
    /// What was pushed, unless it was deleted.
    pub new: Option<ObjectId>,
    /// How many commits there are that the upstream does not have.
    pub commits: usize,
    /// The last one's subject.
    pub subject: String,
    /// Whether the agent pushed it. Otherwise the operator's repository has it, and a guest could
    /// have written it there.
    pub pushed: bool,
}

impl Waiting {
    /// One of this name.
    pub fn of(name: &str, old: Option<ObjectId>, new: Option<ObjectId>) -> Self {
        // A branch may be called `refs/tags/x`, too.
        let short = name.strip_prefix(HEADS).filter(|short| !short.starts_with(OURS));
        let branch = short.unwrap_or(name).to_owned();
        Self { name: name.to_owned(), branch, old, new, commits: 0, subject: String::new(), pushed: true }
    }

    /// What a person names to say that it was this that they saw: the commit, or that it is gone.
    pub fn state(&self) -> &str {
        self.new.as_ref().map_or("deleted", ObjectId::as_str)
    }
}

/// One ref that should change: its whole name, and what it should be then.
struct Change(String, Option<ObjectId>);

impl Quarantine {
    /// The one of a repository.
    pub fn of(folder: &Folder, repo: &Repo) -> Self {
        Self { dir: folder.git().join(format!("{}.git", repo.name)) }
    }

    pub(super) fn git(&self) -> Git {
        Git::store(&self.dir)
    }

    /// Makes it where it is not there, and brings what the operator's own repository has. What cannot
    /// be followed is written down ([`Quarantine::unfollowed`]), and does no harm to the rest.
    ///
    /// # Errors
    /// Where there is no quarantine yet, and the repository cannot be read.
    pub fn refresh(&self, folder: &Folder, repo: &Repo) -> Result<()> {
        let there = self.dir.join("HEAD").exists();
        let cannot = || format!("git-gate cannot read {}", repo.path);
        let mut odd = Vec::new();
        if there {
            self.configure(repo)?;
        }
        match self.follow(folder, repo) {
            Ok(unfollowed) => odd = unfollowed,
            // The quarantine is whole without it, and what waits there is a person's to see.
            Err(error) if there && Defence::GitRefNames.stands() => {
                odd.push(format!("{:#}", error.context(cannot())));
            }
            Err(error) => return Err(error.context(cannot())),
        }
        self.tidy()?;
        odd.iter().for_each(|what| out::note(format_args!("git-gate: {}", Line(what))));
        write_private(&self.dir.join(UNFOLLOWED), odd.join("\n").as_bytes())
    }

    /// Removes what a push left that was killed, makes one pack of many, and remembers how large that
    /// is. No push runs meanwhile: the door is not open yet.
    fn tidy(&self) -> Result<()> {
        let objects = self.dir.join("objects");
        for entry in fs::read_dir(&objects)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("tmp_objdir") || name.starts_with("incoming-") {
                remove_dir(&entry.path())?;
            }
        }
        let packs = fs::read_dir(objects.join("pack"))?.flatten().map(|entry| entry.file_name());
        let (left, packs): (Vec<_>, Vec<_>) =
            packs.partition(|name| name.to_string_lossy().starts_with("tmp_"));
        for name in left {
            fs::remove_file(objects.join("pack").join(name))?;
        }
        if packs.len() > MAX_PACK_FILES {
            self.git().limits(Limits::READ).args(["repack", "-a", "-d", "-q"]).run()?;
        }
        write_private(&self.dir.join(SIZE), self.size()?.to_string().as_bytes())
    }

    fn size(&self) -> Result<u64> {
        let packs = fs::read_dir(self.dir.join("objects/pack"))?.flatten();
        Ok(packs.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum())
    }

    /// Whether pushes have brought more than there is room for, since the bottle started.
    ///
    /// # Errors
    /// Where the repository cannot be read.
    pub fn is_full(&self, repo: &Repo) -> Result<bool> {
        let before: u64 = fs::read_to_string(self.dir.join(SIZE))?.trim().parse()?;
        let room = MIN_ROOM.max(8 * (u64::from(repo.policy.max_mib) << 20));
        Ok(self.size()? > before + room && Defence::GitLimits.stands())
    }

    /// What the last refresh could not follow.
    pub fn unfollowed(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(UNFOLLOWED)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn follow(&self, folder: &Folder, repo: &Repo) -> Result<Vec<String>> {
        let mut pin = Pin::read(folder, Path::new(&repo.path))?;
        let source = Defence::GitConfig.stands().then(|| Source::open(Path::new(&repo.path))).transpose()?;
        let mut refs = source.as_ref().map(Source::refs).transpose()?.unwrap_or_default();
        let format = refs.named.values().next().map_or("sha1", ObjectId::format);
        self.make(format, repo)?;
        let upstream = self.refs(UPSTREAM)?;
        let mut before = self.refs(SEEN)?;
        match &source {
            Some(_) if before == refs.named => {}
            Some(source) => self.bring(source, &refs)?,
            None => Self::fetch(self.git().unconfined(), Path::new(&repo.path))?,
        }
        if before.is_empty() {
            before.clone_from(&upstream);
        }
        let after = self.refs(SEEN)?;
        let ours = self.refs(OURS)?;
        let exposed = (pin.exposed || repo.exposed) && Defence::GitUpstream.stands();
        if exposed
            && pin.refs.is_empty()
            && let Some(url) = &repo.url
        {
            match self.those_of(url, format) {
                Ok(there) => pin.refs = there,
                Err(error) => refs.odd.push(format!("what its upstream has is not known: {error:#}")),
            }
        }

        let mut changes = Vec::new();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in &names {
            let (was, is, has) = (before.get(*name), after.get(*name), ours.get(*name));
            // What waits stays; what does not follows.
            if has != is && (has == was || has == upstream.get(*name)) {
                changes.push(Change(format!("{OURS}{name}"), is.cloned()));
            }
            if !exposed && upstream.get(*name) != is && (was != is || !upstream.contains_key(*name)) {
                changes.push(Change(format!("{UPSTREAM}{name}"), is.cloned()));
            }
        }
        if exposed && upstream.is_empty() {
            for (name, id) in self.those_here(&pin.refs)? {
                changes.push(Change(format!("{UPSTREAM}{name}"), Some(id)));
            }
        }
        refs.odd.extend(self.change(&changes)?);
        if let Some(head) = &refs.head {
            self.git().args(["symbolic-ref", "HEAD", head]).run()?;
        }
        if !exposed {
            pin.refs = self.refs(UPSTREAM)?;
        }
        pin.write(folder, repo)?;
        Ok(refs.odd)
    }

    /// Makes the repository, or sees that it is one of this kind.
    fn make(&self, format: &str, repo: &Repo) -> Result<()> {
        if self.dir.join("HEAD").exists() {
            let has = self.git().args(["rev-parse", "--show-object-format"]).text()?;
            ensure!(
                has == format || self.refs(SEEN)?.is_empty(),
                "it is {format} now, and its quarantine is {has}: `bottle rm` removes that"
            );
            return Ok(());
        }
        private_dir(&self.dir)?;
        let init = ["init", "--quiet", "--bare", "--template=", "--object-format"];
        self.git().args(init).args([format]).run()?;
        self.configure(repo)
    }

    fn configure(&self, repo: &Repo) -> Result<()> {
        let hooks = hooks(&self.dir);
        private_dir(&hooks)?;
        for hook in HOOKS {
            let path = hooks.join(hook);
            fs::write(&path, format!("#!/bin/sh\nexec \"$BOTTLE_EXE\" git-hook {hook}\n"))?;
            fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        }
        let yes_or_no = |yes: bool| if yes { "true" } else { "false" };
        let rewritten = yes_or_no(!repo.policy.force);
        for (key, value) in [
            ("core.hooksPath", hooks.to_str().context("a path that is UTF-8")?),
            ("http.receivepack", "true"),
            ("receive.maxInputSize", &format!("{}m", repo.policy.max_mib)),
            ("receive.fsckObjects", "true"),
            // A second wall behind the policy's.
            ("receive.denyDeletes", rewritten),
            ("receive.denyNonFastForwards", rewritten),
            ("receive.denyDeleteCurrent", "refuse"),
            ("receive.advertisePushOptions", "false"),
            ("transfer.hideRefs", "refs/bottle"),
        ] {
            self.git().args(["config", key, value]).run()?;
        }
        Ok(())
    }

    /// Copies the objects of the operator's repository, and takes from the copy what its refs need.
    fn bring(&self, source: &Source, refs: &Refs) -> Result<()> {
        let copy = self.dir.with_extension("source");
        remove_dir(&copy)?;
        let brought =
            self.copy(source, refs, &copy).and_then(|()| Self::fetch(self.git().reading(&copy), &copy));
        remove_dir(&copy)?;
        brought
    }

    fn copy(&self, source: &Source, refs: &Refs, into: &Path) -> Result<()> {
        private_dir(into)?;
        fs::create_dir(into.join("refs"))?;
        fs::write(into.join("HEAD"), "ref: refs/heads/none\n")?;
        let format = refs.named.values().next().map_or("sha1", ObjectId::format);
        let mut config = format!(
            "[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\nobjectformat = {format}\n"
        );
        // Git clears its own settings for the one that it fetches from.
        for (key, value) in CONFIG.iter().chain(FRUGAL) {
            let (section, key) = key.rsplit_once('.').context("a key")?;
            let section =
                section.split_once('.').map_or(section.to_owned(), |(name, of)| format!("{name} \"{of}\""));
            writeln!(config, "[{section}]\n{key} = {value}")?;
        }
        fs::write(into.join("config"), config)?;
        let mut packed = "# pack-refs with: sorted \n".to_owned();
        refs.named.iter().try_for_each(|(name, id)| writeln!(packed, "{id} {OURS}{name}"))?;
        fs::write(into.join("packed-refs"), packed)?;
        source.copy(&into.join("objects"))
    }

    fn fetch(git: Git, from: &Path) -> Result<()> {
        let words =
            ["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let git = git.limits(Limits::READ).args(words).args([from]);
        git.args(["heads", "tags"].map(|kind| format!("+{OURS}{kind}/*:{SEEN}{kind}/*"))).run()
    }

    /// The branches and tags of an upstream, as it says itself.
    fn those_of(&self, url: &str, format: &str) -> Result<Named> {
        let outgoing = Outgoing::of(&self.dir, format)?;
        let said = outgoing.git().args(["ls-remote", "--refs", "--heads", "--tags", "--", url]).text()?;
        let named = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            Some((name.strip_prefix("refs/")?.to_owned(), id.parse().ok()?))
        };
        Ok(said.lines().filter_map(named).collect())
    }

    /// Those of some refs whose objects are here.
    fn those_here(&self, refs: &Named) -> Result<Named> {
        let ids: String = refs.values().map(|id| format!("{id}\n")).collect();
        let said = self.git().args(["cat-file", "--batch-check=%(objectname)"]).input(ids).text()?;
        let here: BTreeSet<&str> = said.lines().collect();
        Ok(refs
            .iter()
            .filter(|(_, id)| here.contains(id.as_str()))
            .map(|(n, i)| (n.clone(), i.clone()))
            .collect())
    }

    /// Changes refs. One that git does not take (`a` beside `a/b`, or a name that differs by case only
    /// from another's on a file system that folds case) keeps none of the others from changing.
    /// Returns those that did not, in words.
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
                // First what goes, so that what comes has room.
                let (gone, come): (Vec<_>, Vec<_>) = several
                    .iter()
                    .map(|Change(n, i)| Change(n.clone(), i.clone()))
                    .partition(|c| c.1.is_none());
                if !gone.is_empty() && !come.is_empty() {
                    return Ok([self.change(&gone)?, self.change(&come)?].concat());
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

    /// What the upstream has under a ref's whole name.
    ///
    /// # Errors
    /// Where the repository cannot be read.
    pub fn upstream_of(&self, name: &str) -> Result<Option<ObjectId>> {
        Ok(self.refs(UPSTREAM)?.remove(name.strip_prefix(OURS).context("a ref")?))
    }

    /// Everything that waits for a person.
    ///
    /// # Errors
    /// Where the repository cannot be read.
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
                push.subject = self.git().args(["log", "-1", "--format=%s", new.as_str(), "--"]).text()?;
            }
            waiting.push(push);
        }
        Ok(waiting)
    }

    /// Whether a commit is another's ancestor, or the same.
    ///
    /// # Errors
    /// Where one of them is not here.
    pub fn is_ancestor(&self, old: &ObjectId, new: &ObjectId) -> Result<bool> {
        let words = ["merge-base", "--is-ancestor", old.as_str(), new.as_str()];
        let ended = self.git().args(words).end()?;
        match ended.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => bail!("git: {}", ended.complaint),
        }
    }

    /// Sends a push on to the upstream that was recorded, with the credentials of whoever runs this:
    /// exactly this object, and only where the upstream has what was compared with it.
    ///
    /// # Errors
    /// With git's own words where the upstream does not take it. It goes on waiting then.
    pub fn forward(&self, folder: &Folder, repo: &Repo, waiting: &Waiting) -> Result<String> {
        let url = upstream(folder, repo)?;
        if let (Some(old), Some(new)) = (&waiting.old, &waiting.new)
            && !repo.policy.force
            && waiting.name.starts_with(HEADS)
        {
            ensure!(
                self.is_ancestor(old, new)?,
                "{} does not build on what the upstream has ({old}), and `force` is not set",
                Line(&waiting.branch)
            );
        }
        let mut ended = self.push(&url, waiting, waiting.old.as_ref())?;
        if !ended.status.success() && String::from_utf8_lossy(&ended.out).contains("(stale info)") {
            let has = self.upstream_has(&url, waiting)?;
            // What you have not pushed yet yourself goes along with what builds on it.
            let yours = match (&has, &waiting.old) {
                (None, Some(_)) => true,
                (Some(has), Some(old)) => self.is_ancestor(has, old).unwrap_or(false),
                (Some(has), None) => waiting.new.as_ref() == Some(has),
                (None, None) => false,
            };
            ensure!(
                yours,
                "the upstream of {} has {} for {}, and not what you were shown: fetch it into {}, and `bottle restart`",
                repo.name,
                has.as_ref().map_or("nothing", ObjectId::as_str),
                Line(&waiting.branch),
                repo.path
            );
            ended = self.push(&url, waiting, has.as_ref())?;
        }
        let text = ended.complaint.trim().to_owned();
        ensure!(
            ended.status.success(),
            "the upstream of {} did not take {}: {text}",
            repo.name,
            Line(&waiting.branch)
        );
        let name = waiting.name.strip_prefix(OURS).context("a ref")?;
        self.change(&[Change(format!("{UPSTREAM}{name}"), waiting.new.clone())])?;
        let mut pin = Pin::read(folder, Path::new(&repo.path))?;
        match &waiting.new {
            Some(new) => _ = pin.refs.insert(name.to_owned(), new.clone()),
            None => _ = pin.refs.remove(name),
        }
        pin.write(folder, repo)?;
        Ok(text)
    }

    fn push(&self, url: &str, waiting: &Waiting, has: Option<&ObjectId>) -> Result<super::child::Ended> {
        let lease = has.map_or("", ObjectId::as_str);
        let lease = format!("--force-with-lease={}:{lease}", waiting.name);
        let new = waiting.new.as_ref().map_or("", ObjectId::as_str);
        let words = ["push", "--porcelain", "--no-verify", "--no-follow-tags", &lease, "--", url];
        let outgoing = self.outgoing(waiting)?;
        outgoing.git().asking().args(words).args([format!("{new}:{}", waiting.name)]).end()
    }

    fn outgoing(&self, waiting: &Waiting) -> Result<Outgoing> {
        let any = waiting.new.as_ref().or(waiting.old.as_ref());
        Outgoing::of(&self.dir, any.map_or("sha1", ObjectId::format))
    }

    fn upstream_has(&self, url: &str, waiting: &Waiting) -> Result<Option<ObjectId>> {
        let (name, outgoing) = (waiting.name.as_str(), self.outgoing(waiting)?);
        let git = outgoing.git().asking().args(["ls-remote", "--refs", "--", url, name]);
        let said = git.text()?;
        let lines = said.lines().filter_map(|line| line.split_once('\t'));
        Ok(lines.filter(|(_, known)| *known == name).find_map(|(id, _)| id.parse().ok()))
    }

    /// Takes a push back: the branch is again what the upstream has.
    ///
    /// # Errors
    /// Where it has changed meanwhile.
    pub fn reject(&self, waiting: &Waiting) -> Result<()> {
        // git's own null id: "must not exist".
        let null = waiting.old.as_ref().or(waiting.new.as_ref()).map_or("", ObjectId::null);
        let has = waiting.new.as_ref().map_or(null, ObjectId::as_str);
        match &waiting.old {
            Some(old) => self.git().args(["update-ref", &waiting.name, old.as_str(), has]).run(),
            None => self.git().args(["update-ref", "-d", &waiting.name, has]).run(),
        }
    }
}

/// Where a push goes: as it was recorded at the start, and nowhere that a guest can write.
fn upstream(folder: &Folder, repo: &Repo) -> Result<String> {
    if !Defence::GitUpstream.stands() {
        return as_the_repository_says(repo);
    }
    let url = repo.url.clone().with_context(|| {
        format!(
            "{} has no remote {:?}: name its upstream in bottle.toml, or fetch what waits from the quarantine yourself",
            repo.path,
            repo.upstream
        )
    })?;
    if let Some(path) = url::local(&url) {
        let path = Path::new(path);
        ensure!(
            !pin::is_guests(folder, path)?,
            "{} is in a folder that a guest can write: git would run its hooks on this machine",
            path.display()
        );
    }
    Ok(url)
}

/// What the repository's own configuration says now.
fn as_the_repository_says(repo: &Repo) -> Result<String> {
    let words = ["remote", "get-url", "--push", "--", &repo.upstream];
    let said = Git::operators(&Path::new(&repo.path).join(".git")).args(words).text()?;
    Ok(url::local(&said)
        .map_or_else(|| said.clone(), |path| Path::new(&repo.path).join(path).display().to_string()))
}
