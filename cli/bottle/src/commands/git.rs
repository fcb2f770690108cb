//! `bottle git`: a person looks at what the agent pushed, and decides.

use super::context::Context;
use crate::args::{GitAction, Push, Seen};
use crate::desk::pushes;
use crate::output::Pushed;
use crate::suggest;
use bottle_core::git::name::ObjectId;
use bottle_core::slug::Slug;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::services;
use bottle_host::state::Folder;
use bottle_host::{out, outln};
use bottle_sidecars::git::quarantine::{Quarantine, Waiting};
use bottle_sidecars::git::show::{Extent, as_seen};
use std::io::{self, IsTerminal};

pub fn git(context: &Context, slug: &Slug, action: &GitAction) -> Outcome {
    let folder = context.folder(Some(slug.clone()))?;
    if !folder.services().exists() {
        return Err(suggest::no_such(slug));
    }
    let repos = services::read(&folder)?.git;
    if repos.is_empty() {
        return Err(Failure::new(Kind::NoBottle, format!("bottle {slug} has no built-in git-gate"))
            .help("add [git-gate] to bottle.toml, and `bottle restart`"));
    }
    match action {
        GitAction::List { json } => list(&folder, &repos, *json),
        GitAction::Diff { push, all } => {
            let (branch, commit) = split(push.branch.as_deref(), None);
            let (repo, waiting) = the_one(&folder, &repos, &Push { branch, repo: push.repo.clone() })?;
            if let Some(commit) = commit {
                is_still(&folder, &waiting, &commit)?;
            }
            Quarantine::of(&folder, repo).show(&waiting, if *all { Extent::ALL } else { Extent::USUAL })?;
            outln!("\nthis is {}", named(&folder, repo, &repos, "approve", &waiting))
        }
        GitAction::Approve(seen) => {
            let (repo, waiting) = decided(&folder, &repos, seen, "approve")?;
            context.say(&pushes::approve(&folder, repo, &waiting)?);
            Ok(())
        }
        GitAction::Reject(seen) => {
            let (repo, waiting) = decided(&folder, &repos, seen, "reject")?;
            context.say(&pushes::reject(&folder, repo, &waiting)?);
            Ok(())
        }
    }
}

fn list(folder: &Folder, repos: &[Repo], json: bool) -> Outcome {
    let mut rows = Vec::new();
    for repo in repos {
        let quarantine = Quarantine::of(folder, repo);
        for what in quarantine.unfollowed() {
            out::note(format_args!("{}: {}", repo.name, Line(&what)));
        }
        for waiting in quarantine.waiting()? {
            rows.push((repo, waiting));
        }
    }
    if json {
        let rows: Vec<_> = rows.iter().map(|(repo, push)| Pushed { push, repo: &repo.name }).collect();
        out::json(&rows)?;
        return Ok(());
    }
    for (repo, waiting) in rows {
        // Text from the agent must not control the terminal that shows it.
        let subject: String = waiting.subject.chars().take(120).collect();
        let name = format!("{}@{}", Line(&waiting.branch), waiting.state());
        let from = if waiting.pushed { "" } else { "  (in your repository, which the guest can write)" };
        let own = match waiting.own_commits {
            0 => String::new(),
            own => format!("  (and {own} of yours that the upstream does not have yet)"),
        };
        outln!("{:<20} {name} {:>3} commits  {}{from}{own}", repo.name, waiting.commits, Line(&subject))?;
    }
    Ok(())
}

/// Returns the push that a person named, or the only one that waits.
fn the_one<'r>(folder: &Folder, repos: &'r [Repo], push: &Push) -> Outcome<(&'r Repo, Waiting)> {
    let usage = |what: String| {
        Failure::new(Kind::Usage, what).help(format!("`bottle git {} list` shows what waits", folder.slug()))
    };
    let mut found = Vec::new();
    for repo in repos.iter().filter(|repo| push.repo.as_ref().is_none_or(|name| repo.name == *name)) {
        for waiting in Quarantine::of(folder, repo).waiting()? {
            let named = |branch: &String| {
                *branch == waiting.branch
                    || *branch == waiting.name
                    || format!("refs/heads/{branch}") == waiting.name
            };
            if push.branch.as_ref().is_none_or(named) {
                found.push((repo, waiting));
            }
        }
    }
    let only = found.pop().ok_or_else(|| usage("no push of that name is waiting".to_owned()))?;
    if found.is_empty() { Ok(only) } else { Err(usage("several pushes are waiting: name one".to_owned())) }
}

/// Returns the push to decide on as it is now: the one that the person saw, or sees here.
fn decided<'r>(folder: &Folder, repos: &'r [Repo], seen: &Seen, verb: &str) -> Outcome<(&'r Repo, Waiting)> {
    let usage = |what: String| Failure::new(Kind::Usage, what);
    let (branch, commit) = split(seen.branch.as_deref(), seen.commit.as_deref());
    let (repo, waiting) = the_one(folder, repos, &Push { branch, repo: seen.repo.clone() })?;
    if let Some(commit) = commit {
        if commit != "deleted" && commit.parse::<ObjectId>().is_err() {
            return Err(usage(format!("{} is not a full commit ID", Line(&commit)))
                .help("an abbreviated one can be forged; `list` and `diff` show the full one"));
        }
        is_still(folder, &waiting, &commit)?;
    } else if Defence::ShownIsApproved.stands() {
        if !io::stdin().is_terminal() {
            return Err(usage(format!("which commit of {} did you look at?", Line(&waiting.branch)))
                .help(format!("what waits now is {}", named(folder, repo, repos, verb, &waiting))));
        }
        Quarantine::of(folder, repo).show(&waiting, Extent::USUAL)?;
        if !out::confirmed(&format!("{verb} {} at {}?", Line(&waiting.branch), waiting.state())) {
            return Err(usage("nothing was done".to_owned()));
        }
    }
    Ok((repo, waiting))
}

/// Splits `BRANCH@COMMIT`. A branch may itself have such a name.
fn split(branch: Option<&str>, commit: Option<&str>) -> (Option<String>, Option<String>) {
    if let (Some(named), None) = (branch, commit)
        && let Some((branch, commit)) = named.rsplit_once('@')
        && (commit == "deleted" || commit.parse::<ObjectId>().is_ok())
    {
        return (Some(branch.to_owned()).filter(|branch| !branch.is_empty()), Some(commit.to_owned()));
    }
    (branch.map(str::to_owned), commit.map(str::to_owned))
}

/// Checks that the push that waits is the one that the person saw.
fn is_still(folder: &Folder, waiting: &Waiting, commit: &str) -> Outcome {
    as_seen(waiting, commit).map_err(|error| {
        Failure::new(Kind::Usage, error.to_string())
            .help(format!("`bottle git {} diff` shows what is there now", folder.slug()))
    })
}

/// Returns the command that decides on exactly this push.
fn named(folder: &Folder, repo: &Repo, repos: &[Repo], verb: &str, waiting: &Waiting) -> String {
    let of = if repos.len() > 1 { format!(" --repo {}", repo.name) } else { String::new() };
    let branch = Line(&waiting.branch).to_string();
    // A name that a shell would read differently comes from the operator: the agent cannot push one.
    let plain = branch.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+/#@=,%".contains(c));
    let quote = if plain { "" } else { "'" };
    let branch = branch.replace('\'', "'\\''");
    format!("`bottle git {} {verb} {quote}{branch}@{}{quote}{of}`", folder.slug(), waiting.state())
}
