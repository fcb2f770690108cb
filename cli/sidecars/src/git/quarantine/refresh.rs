//! Brings a quarantine up to date with the operator's own repository.

use super::{Change, Named, OURS, PUBLISHED, Quarantine, SEEN, UPSTREAM};
use crate::git::child::{CONFIG, Git, Limits, MEMORY_LIMITS};
use crate::git::outgoing::Outgoing;
use crate::git::pin::{Pin, is_writable_by_guest};
use crate::git::source::{Reach, Refs, Served, Source};
use anyhow::{Context, Result, ensure};
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::state::{Folder, private_dir, remove_dir, write_private};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The file that lists what a refresh could not follow, one message per line.
const UNFOLLOWED: &str = "bottle-unfollowed";

/// The refs that lead to the operator's own history while it is fetched: here, and in the copy.
const TRUSTED: &str = "refs/bottle/trusted/";
const TRUSTED_THERE: &str = "refs/trusted/";
/// The refs in the copy that lead to what the upstream had.
const PUBLISHED_THERE: &str = "refs/published/";

/// Mistakes that old programs made in names, dates and modes. The histories of many projects contain them,
/// and they are harmless.
const OLD_MISTAKES: [&str; 14] = [
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badFilemode",
    "badName",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingTaggerEntry",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
];

/// What is known about a repository, apart from its own refs.
#[derive(Clone, Copy)]
struct Known<'k> {
    /// Refs that lead to the operator's own history, if a guest could have written to the repository.
    trusted: Option<&'k Named>,
    /// What the upstream had when the repository last heard from it.
    published: &'k Named,
}

impl Quarantine {
    /// Brings the quarantine up to date with the operator's own repository, and creates it if necessary.
    /// Anything that cannot be followed is recorded ([`Quarantine::unfollowed`]) and does not affect the
    /// rest.
    ///
    /// # Errors
    /// Returns an error if there is no quarantine yet and the repository cannot be read.
    pub fn refresh(&self, folder: &Folder, repo: &Repo) -> Result<()> {
        let there = self.is_complete();
        let cannot = || format!("git-gate cannot read {}", repo.path);
        let mut unfollowed = Vec::new();
        if there {
            self.configure(repo)?;
        } else if self.dir.join("HEAD").exists() {
            // A start that failed or was killed left it behind.
            remove_dir(&self.dir)?;
        }
        match self.follow(folder, repo) {
            Ok(found) => unfollowed = found,
            // The quarantine is complete without it, and a person may still want to see the pushes waiting
            // there.
            Err(error) if there && Defence::GitRefNames.stands() => {
                unfollowed.push(format!("{:#}", error.context(cannot())));
            }
            Err(error) => return Err(error.context(cannot())),
        }
        self.tidy()?;
        unfollowed.iter().for_each(|what| out::note(format_args!("git-gate: {}", Line(what))));
        write_private(&self.dir.join(UNFOLLOWED), unfollowed.join("\n").as_bytes())
    }

    /// Returns what the last refresh could not follow.
    pub fn unfollowed(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(UNFOLLOWED)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn follow(&self, folder: &Folder, repo: &Repo) -> Result<Vec<String>> {
        let path = Path::new(&repo.path);
        let mut pin = Pin::read(folder, path)?;
        let exposed = (pin.exposed || repo.exposed) && Defence::GitUpstream.stands();
        let source = Defence::GitConfig.stands().then(|| Source::open(path)).transpose()?;
        let own_reach = pin.exposed || repo.exposed || repo.writable;
        let reach = |place: &Path| {
            let own = own_reach && source.as_ref().is_some_and(|source| source.path() == place);
            Ok(own || is_writable_by_guest(folder, place)?)
        };
        let checked = source.as_ref().map(|source| source.check(path, &source.configuration()?, &reach));
        let mut served = checked.transpose()?.unwrap_or_default();
        if served.format.is_empty() {
            "sha1".clone_into(&mut served.format);
        }
        self.make(&served.format, repo)?;
        let upstream = self.refs(UPSTREAM)?;
        let mut before = self.refs(SEEN)?;
        ensure!(
            source.is_none() || before.is_empty() || !served.refs.named.is_empty(),
            "it has no branch any more, so a clone would be empty"
        );
        // A guest could have written what an exposed repository says about its upstream.
        let published = if exposed { Named::new() } else { served.refs.known_at(&repo.upstream) };
        match &source {
            Some(_) if before == served.refs.named && self.refs(PUBLISHED)? == published => {}
            Some(source) => {
                let known = Known { trusted: exposed.then_some(&pin.refs), published: &published };
                self.import(source, &served, known, &reach)?;
                self.check_imported(&mut served.refs)?;
            }
            None => Self::fetch(self.git().unconfined(), path, OURS, SEEN)?,
        }
        let (format, mut refs) = (served.format, served.refs);
        if before.is_empty() {
            before.clone_from(&upstream);
        }
        let after = self.refs(SEEN)?;
        let ours = self.refs(OURS)?;
        if exposed
            && pin.refs.is_empty()
            && let Some(url) = &repo.url
        {
            match self.upstream_refs(url, &format) {
                Ok(there) => pin.refs = there,
                Err(error) => {
                    refs.unfollowed.push(format!("cannot list the branches of its upstream: {error:#}"));
                }
            }
        }

        let mut changes = Vec::new();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in &names {
            let (was, is, has) = (before.get(*name), after.get(*name), ours.get(*name));
            // A branch with a waiting push stays as it is, and the others follow.
            if has != is && (has == was || has == upstream.get(*name)) {
                changes.push(Change(format!("{OURS}{name}"), is.cloned()));
            }
            if !exposed && upstream.get(*name) != is && (was != is || !upstream.contains_key(*name)) {
                changes.push(Change(format!("{UPSTREAM}{name}"), is.cloned()));
            }
        }
        if exposed && upstream.is_empty() {
            for (name, id) in self.present(&pin.refs)? {
                changes.push(Change(format!("{UPSTREAM}{name}"), Some(id)));
            }
        }
        refs.unfollowed.extend(self.change(&changes)?);
        if let Some(head) = &refs.default {
            self.git().args(["symbolic-ref", "HEAD", head]).run()?;
        }
        if !exposed {
            pin.refs = self.refs(UPSTREAM)?;
        }
        pin.write(folder, repo)?;
        Ok(refs.unfollowed)
    }

    /// Copies the objects of the operator's repository, and fetches what its refs need from the copy.
    ///
    /// Objects that a guest could have put there are checked like a push, except for the mistakes of old
    /// programs ([`OLD_MISTAKES`]). The operator's own history is not checked: that is everything if
    /// `known.trusted` is `None`, and what the trusted refs lead to otherwise.
    fn import(&self, source: &Source, served: &Served, known: Known<'_>, reach: Reach) -> Result<()> {
        let copy = self.dir.with_extension("source");
        remove_dir(&copy)?;
        let copied = Self::copy(source, served, known, &copy, reach);
        let imported = copied.and_then(|()| self.fetch_from(&copy, known.trusted));
        remove_dir(&copy)?;
        imported.with_context(|| format!("cannot copy the objects of {}", source.path().display()))
    }

    fn fetch_from(&self, copy: &Path, trusted: Option<&Named>) -> Result<()> {
        let unchecked = || self.git().allow_read(copy).args(["-c", "fetch.fsckObjects=false"]);
        let Some(trusted) = trusted else {
            Self::fetch(unchecked(), copy, OURS, SEEN)?;
            return Self::fetch(unchecked(), copy, PUBLISHED_THERE, PUBLISHED);
        };
        if !trusted.is_empty() {
            Self::fetch(unchecked(), copy, TRUSTED_THERE, TRUSTED)?;
        }
        let git = OLD_MISTAKES.iter().fold(self.git().allow_read(copy), |git, mistake| {
            git.args(["-c".to_owned(), format!("fetch.fsck.{mistake}=warn")])
        });
        let fetched = Self::fetch(git, copy, OURS, SEEN);
        let left = self.refs(TRUSTED)?.into_keys();
        self.change(&left.map(|name| Change(format!("{TRUSTED}{name}"), None)).collect::<Vec<_>>())?;
        fetched
    }

    /// Checks that everything has arrived. git leaves out a branch whose commit is missing.
    fn check_imported(&self, refs: &mut Refs) -> Result<()> {
        let here = self.refs(SEEN)?;
        let missing: Vec<&String> = refs.named.keys().filter(|name| !here.contains_key(*name)).collect();
        ensure!(
            refs.named.is_empty() || missing.len() < refs.named.len(),
            "the objects of all its branches are missing: `git fsck` there says more"
        );
        let lost = |name: &&String| format!("the object of refs/{name} is missing in the repository");
        refs.unfollowed.extend(missing.iter().map(lost));
        Ok(())
    }

    fn copy(source: &Source, served: &Served, known: Known<'_>, into: &Path, reach: Reach) -> Result<()> {
        private_dir(into)?;
        fs::create_dir(into.join("refs"))?;
        fs::write(into.join("HEAD"), "ref: refs/heads/none\n")?;
        let format = &served.format;
        let mut config = format!(
            "[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\nobjectformat = {format}\n"
        );
        // git drops our settings for the repository that it fetches from, so the copy has its own.
        for (key, value) in CONFIG.iter().chain(MEMORY_LIMITS) {
            let (section, key) = key.rsplit_once('.').context("a setting has no section")?;
            let section =
                section.split_once('.').map_or(section.to_owned(), |(name, of)| format!("{name} \"{of}\""));
            writeln!(config, "[{section}]\n{key} = {value}")?;
        }
        fs::write(into.join("config"), config)?;
        let mut packed = "# pack-refs with: sorted \n".to_owned();
        let all = served.refs.named.iter().map(|(name, id)| (format!("{OURS}{name}"), id));
        let trusted = known.trusted.into_iter().flatten().map(|named| (TRUSTED_THERE, named));
        let others = trusted.chain(known.published.iter().map(|named| (PUBLISHED_THERE, named)));
        let others = others.filter(|(_, (_, id))| id.format() == format);
        let all: BTreeMap<_, _> =
            all.chain(others.map(|(prefix, (name, id))| (format!("{prefix}{name}"), id))).collect();
        all.iter().try_for_each(|(name, id)| writeln!(packed, "{id} {name}"))?;
        fs::write(into.join("packed-refs"), packed)?;
        source.copy(&into.join("objects"), reach)
    }

    fn fetch(git: Git, from: &Path, theirs: &str, here: &str) -> Result<()> {
        let words =
            ["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let git = git.limits(Limits::READ).args(words).args([from]);
        git.args(["heads", "tags"].map(|kind| format!("+{theirs}{kind}/*:{here}{kind}/*"))).run()
    }

    /// Asks an upstream for its branches and tags.
    fn upstream_refs(&self, url: &str, format: &str) -> Result<Named> {
        let outgoing = Outgoing::of(&self.dir, format)?;
        let said = outgoing.git().args(["ls-remote", "--refs", "--heads", "--tags", "--", url]).text()?;
        let named = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            Some((name.strip_prefix("refs/")?.to_owned(), id.parse().ok()?))
        };
        Ok(said.lines().filter_map(named).collect())
    }

    /// Returns the refs whose objects are present here.
    fn present(&self, refs: &Named) -> Result<Named> {
        let ids: String = refs.values().map(|id| format!("{id}\n")).collect();
        let said = self.git().args(["cat-file", "--batch-check=%(objectname)"]).input(ids).text()?;
        let here: BTreeSet<&str> = said.lines().collect();
        Ok(refs
            .iter()
            .filter(|(_, id)| here.contains(id.as_str()))
            .map(|(n, i)| (n.clone(), i.clone()))
            .collect())
    }
}
