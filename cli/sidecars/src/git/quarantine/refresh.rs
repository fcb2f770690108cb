//! Brings a quarantine up to date with the operator's own repository.

use super::{Change, Named, OURS, Quarantine, SEEN, UPSTREAM};
use crate::git::child::{CONFIG, Git, Limits, MEMORY_LIMITS};
use crate::git::outgoing::Outgoing;
use crate::git::pin::Pin;
use crate::git::source::{Refs, Source};
use anyhow::{Context, Result};
use bottle_core::git::name::ObjectId;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::state::{Folder, private_dir, remove_dir, write_private};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The file that lists what a refresh could not follow, one a line.
const UNFOLLOWED: &str = "bottle-unfollowed";

impl Quarantine {
    /// Creates the quarantine if necessary, and brings it up to date with the operator's own
    /// repository. What cannot be followed is recorded ([`Quarantine::unfollowed`]) and does not
    /// affect the rest.
    ///
    /// # Errors
    /// Returns an error if there is no quarantine yet and the repository cannot be read.
    pub fn refresh(&self, folder: &Folder, repo: &Repo) -> Result<()> {
        let there = self.dir.join("HEAD").exists();
        let cannot = || format!("git-gate cannot read {}", repo.path);
        let mut unfollowed = Vec::new();
        if there {
            self.configure(repo)?;
        }
        match self.follow(folder, repo) {
            Ok(found) => unfollowed = found,
            // The quarantine is complete without it, and a person may still want to see what waits
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
        let mut pin = Pin::read(folder, Path::new(&repo.path))?;
        let source = Defence::GitConfig.stands().then(|| Source::open(Path::new(&repo.path))).transpose()?;
        let mut refs = source.as_ref().map(Source::refs).transpose()?.unwrap_or_default();
        let format = refs.named.values().next().map_or("sha1", ObjectId::format);
        self.make(format, repo)?;
        let upstream = self.refs(UPSTREAM)?;
        let mut before = self.refs(SEEN)?;
        match &source {
            Some(_) if before == refs.named => {}
            Some(source) => self.import(source, &refs)?,
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
            match self.upstream_refs(url, format) {
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
            // A branch that waits stays as it is; the others follow.
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
        if let Some(head) = &refs.head {
            self.git().args(["symbolic-ref", "HEAD", head]).run()?;
        }
        if !exposed {
            pin.refs = self.refs(UPSTREAM)?;
        }
        pin.write(folder, repo)?;
        Ok(refs.unfollowed)
    }

    /// Copies the objects of the operator's repository, and fetches from the copy what its refs
    /// need.
    fn import(&self, source: &Source, refs: &Refs) -> Result<()> {
        let copy = self.dir.with_extension("source");
        remove_dir(&copy)?;
        let imported =
            self.copy(source, refs, &copy).and_then(|()| Self::fetch(self.git().allow_read(&copy), &copy));
        remove_dir(&copy)?;
        imported
    }

    fn copy(&self, source: &Source, refs: &Refs, into: &Path) -> Result<()> {
        private_dir(into)?;
        fs::create_dir(into.join("refs"))?;
        fs::write(into.join("HEAD"), "ref: refs/heads/none\n")?;
        let format = refs.named.values().next().map_or("sha1", ObjectId::format);
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
