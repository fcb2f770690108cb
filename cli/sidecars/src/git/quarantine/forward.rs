//! Forwards a push to the upstream.

use super::{Change, HEADS, OURS, Quarantine, SENT, UPSTREAM, Waiting};
use crate::git::child::{Finished, Git};
use crate::git::outgoing::Outgoing;
use crate::git::pin::{self, Pin};
use anyhow::{Context, Result, ensure};
use bottle_core::git::name::ObjectId;
use bottle_core::git::url;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::state::Folder;
use std::path::Path;

impl Quarantine {
    /// Forwards a push to the recorded upstream, with the credentials of the user who runs this. It sends
    /// exactly this commit, and only if the upstream still has the commit that the push was compared with.
    ///
    /// # Errors
    /// Returns git's own message if the upstream refuses the push, which then keeps waiting.
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
        if !ended.status.success() && String::from_utf8_lossy(&ended.stdout).contains("(stale info)") {
            let has = self.upstream_has(&url, waiting)?;
            // Commits that you have not pushed yet are sent along with the commits that build on them.
            let yours = match (&has, &waiting.old) {
                (None, Some(_)) => true,
                (Some(has), Some(old)) => self.is_ancestor(has, old).unwrap_or(false),
                (Some(has), None) => waiting.new.as_ref() == Some(has),
                (None, None) => false,
            };
            ensure!(
                yours,
                "the upstream of {} has {} for {}, which is not what you were shown: fetch it into {}, and `bottle restart`",
                repo.name,
                has.as_ref().map_or("nothing", ObjectId::as_str),
                Line(&waiting.branch),
                repo.path
            );
            ended = self.push(&url, waiting, has.as_ref())?;
        }
        let text = ended.stderr.trim().to_owned();
        ensure!(
            ended.status.success(),
            "the upstream of {} did not take {}: {text}",
            repo.name,
            Line(&waiting.branch)
        );
        let name = waiting
            .name
            .strip_prefix(OURS)
            .with_context(|| format!("{} is not a ref's full name", waiting.name))?;
        let sent = waiting.new.iter().map(|new| Change(format!("{SENT}{name}"), Some(new.clone())));
        let there = Change(format!("{UPSTREAM}{name}"), waiting.new.clone());
        self.change(&sent.chain([there]).collect::<Vec<_>>())?;
        let mut pin = Pin::read(folder, Path::new(&repo.path))?;
        match &waiting.new {
            Some(new) => _ = pin.refs.insert(name.to_owned(), new.clone()),
            None => _ = pin.refs.remove(name),
        }
        pin.write(folder, repo)?;
        Ok(text)
    }

    fn push(&self, url: &str, waiting: &Waiting, has: Option<&ObjectId>) -> Result<Finished> {
        let lease = has.map_or("", ObjectId::as_str);
        let lease = format!("--force-with-lease={}:{lease}", waiting.name);
        let new = waiting.new.as_ref().map_or("", ObjectId::as_str);
        let words = ["push", "--porcelain", "--no-verify", "--no-follow-tags", &lease, "--", url];
        let outgoing = self.outgoing(waiting)?;
        outgoing.git().interactive().args(words).args([format!("{new}:{}", waiting.name)]).finish()
    }

    fn outgoing(&self, waiting: &Waiting) -> Result<Outgoing> {
        let any = waiting.new.as_ref().or(waiting.old.as_ref());
        Outgoing::of(&self.dir, any.map_or("sha1", ObjectId::format))
    }

    fn upstream_has(&self, url: &str, waiting: &Waiting) -> Result<Option<ObjectId>> {
        let (name, outgoing) = (waiting.name.as_str(), self.outgoing(waiting)?);
        let git = outgoing.git().interactive().args(["ls-remote", "--refs", "--", url, name]);
        let said = git.text()?;
        let lines = said.lines().filter_map(|line| line.split_once('\t'));
        Ok(lines.filter(|(_, known)| *known == name).find_map(|(id, _)| id.parse().ok()))
    }
}

/// Returns where a push goes: to the recorded upstream, and never to a folder that a guest can write to.
fn upstream(folder: &Folder, repo: &Repo) -> Result<String> {
    if !Defence::GitUpstream.stands() {
        return configured_upstream(repo);
    }
    let url = repo.url.clone().with_context(|| {
        format!(
            "{} has no remote {:?}: name its upstream in bottle.toml, or fetch the push from the quarantine yourself",
            repo.path,
            repo.upstream
        )
    })?;
    if let Some(path) = url::local(&url) {
        let path = Path::new(path);
        ensure!(
            !pin::is_writable_by_guest(folder, path)?,
            "{} is in a folder that a guest can write: git would run its hooks on this machine",
            path.display()
        );
    }
    Ok(url)
}

/// Returns the upstream according to the repository's current configuration.
fn configured_upstream(repo: &Repo) -> Result<String> {
    let words = ["remote", "get-url", "--push", "--", &repo.upstream];
    let said = Git::operator(&Path::new(&repo.path).join(".git")).args(words).text()?;
    Ok(url::local(&said)
        .map_or_else(|| said.clone(), |path| Path::new(&repo.path).join(path).display().to_string()))
}
