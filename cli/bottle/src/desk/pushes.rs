//! Pushes that wait, and decisions about them.

use super::key::key;
use crate::operator::who;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::audit;
use bottle_host::control::{self, GitEvent, Request};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::services;
use bottle_host::state::Folder;
use bottle_sidecars::git::quarantine::{Quarantine, Waiting};
use bottle_sidecars::git::show::{Extent, Part, as_seen};
use bottle_sidecars::git::{SCANNED, scanned_kinds};
use bottle_ui::desk::{Compared, Push, PushDecision, PushName};
use serde_json::json;

/// Returns the pushes of a bottle that wait.
///
/// # Errors
/// Returns an error if a quarantine cannot be read.
pub fn list(folder: &Folder) -> Outcome<Vec<Push>> {
    let mut found = Vec::new();
    for repo in repos(folder)? {
        let waiting = Quarantine::of(folder, &repo).waiting()?;
        found.extend(waiting.iter().map(|waiting| shown(&repo, waiting)));
    }
    Ok(found)
}

/// Returns what a push would change at its upstream.
///
/// # Errors
/// Returns [`Kind::Usage`] if it does not wait, and an error if git fails.
pub fn compare(folder: &Folder, name: &PushName) -> Outcome<Compared> {
    let (repo, waiting) = find(folder, name)?;
    let mut compared = Compared { commit: waiting.state().to_owned(), ..Compared::default() };
    let searched =
        format!("Every new object was searched for {}.", scanned_kinds().collect::<Vec<_>>().join(", "));
    compared.scanned = if waiting.pushed {
        vec![searched, SCANNED.to_owned()]
    } else {
        vec!["It is in your own repository, which the guest can write, and was not searched.".to_owned()]
    };
    Quarantine::of(folder, &repo).compare(&waiting, Extent::USUAL, &mut |part| {
        match part {
            Part::Note(note) => compared.notes.extend(note.lines().map(|line| line.trim_end().to_owned())),
            Part::File(file) => compared.files.push(file),
        }
        Ok(())
    })?;
    compared.notes.retain(|line| !line.is_empty());
    Ok(compared)
}

/// Carries out a decision about the push that a person saw, and returns what was done.
///
/// # Errors
/// Returns [`Kind::Usage`] if it has changed since, and the upstream's own message if it does not take it.
pub fn decide(folder: &Folder, decision: &PushDecision) -> Outcome<String> {
    let (repo, waiting) = find(folder, &decision.name())?;
    as_seen(&waiting, &decision.commit).map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
    if decision.approved { approve(folder, &repo, &waiting) } else { reject(folder, &repo, &waiting) }
}

/// Sends a push to its upstream, and returns what was done.
///
/// # Errors
/// Returns git's own message if the upstream does not take it.
pub fn approve(folder: &Folder, repo: &Repo, waiting: &Waiting) -> Outcome<String> {
    let said = Quarantine::of(folder, repo).forward(folder, repo, waiting)?;
    if !said.is_empty() {
        bottle_host::out::note(said);
    }
    record(folder, repo, GitEvent::Approved, waiting)?;
    Ok(format!("{} of {} is at its upstream", Line(&waiting.branch), repo.name))
}

/// Rejects a push, and returns what was done.
///
/// # Errors
/// Returns an error if the branch has changed in the meantime.
pub fn reject(folder: &Folder, repo: &Repo, waiting: &Waiting) -> Outcome<String> {
    Quarantine::of(folder, repo).reject(waiting)?;
    record(folder, repo, GitEvent::Rejected, waiting)?;
    Ok(format!("{} of {} is back to what its upstream has", Line(&waiting.branch), repo.name))
}

fn repos(folder: &Folder) -> Outcome<Vec<Repo>> {
    if !folder.services().exists() {
        return Ok(Vec::new());
    }
    Ok(services::read(folder)?.git)
}

fn find(folder: &Folder, name: &PushName) -> Outcome<(Repo, Waiting)> {
    let none = || Failure::new(Kind::Usage, "this push does not wait any more").help("look again");
    let repo = repos(folder)?.into_iter().find(|repo| repo.name == name.repo).ok_or_else(none)?;
    let waiting = Quarantine::of(folder, &repo).waiting()?;
    let found = waiting.into_iter().find(|waiting| key(waiting.name.as_bytes()) == name.key);
    Ok((repo, found.ok_or_else(none)?))
}

fn shown(repo: &Repo, waiting: &Waiting) -> Push {
    Push {
        repo: repo.name.clone(),
        key: key(waiting.name.as_bytes()),
        branch: Line(&waiting.branch).to_string(),
        commit: waiting.state().to_owned(),
        commits: waiting.commits,
        own_commits: waiting.own_commits,
        subject: Line(&waiting.subject.chars().take(200).collect::<String>()).to_string(),
        pushed: waiting.pushed,
    }
}

/// Records a decision in the log. The keeper writes it, if one lives.
fn record(folder: &Folder, repo: &Repo, event: GitEvent, waiting: &Waiting) -> Outcome {
    let (name, commit) = (waiting.branch.clone(), waiting.new.clone().map(String::from));
    if folder.has_keeper() {
        let request = Request::Git { repo: repo.name.clone(), event, name, commit, why: Some(who()) };
        return control::demand(folder, &request, Kind::Internal);
    }
    let details = json!({ "repo": repo.name, "ref": name, "commit": commit, "why": who() });
    Ok(audit::decided(folder, "git-gate", event.name(), details)?)
}
