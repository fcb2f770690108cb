//! Quarantine repositories: what the agent has pushed, until a person has looked at it.
//!
//! `refs/heads/*` is what the agent sees and changes. `refs/bottle/upstream/heads/*`, which it does
//! not see, is what the user's own repository has, or what was approved since. Where the two
//! differ, a push waits.

use super::{Repo, git};
use crate::out;
use crate::state::{Folder, private_dir};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HEADS: &str = "refs/heads/";
const UPSTREAM: &str = "refs/bottle/upstream/heads/";
/// The hooks. Git runs them for every push; which bottle and which repository, its environment says.
const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];

/// A quarantine repository.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// Where it is.
    pub dir: PathBuf,
}

/// A push that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// What the upstream has, unless the branch is new.
    pub old: Option<String>,
    /// What was pushed, unless it was deleted.
    pub new: Option<String>,
    /// How many commits there are that the upstream does not have.
    pub commits: usize,
    /// The last one's subject.
    pub subject: String,
}

/// Where the hooks of a store are: beside it, where a confined git may run them and change nothing.
pub fn hooks(store: &Path) -> PathBuf {
    store.with_file_name(".hooks")
}

impl Quarantine {
    /// The one of a repository.
    pub fn of(folder: &Folder, repo: &Repo) -> Self {
        Self { dir: folder.git().join(format!("{}.git", repo.name)) }
    }

    /// Makes it where it is not there, and brings what the user's own repository has.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn refresh(&self, repo: &Repo) -> Result<()> {
        if !self.dir.join("HEAD").exists() {
            private_dir(&self.dir)?;
            run(git(&self.dir).args(["init", "--quiet", "--bare"]))?;
        }
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
            ("transfer.hideRefs", "refs/bottle"),
            ("receive.autogc", "false"),
            ("gc.auto", "0"),
        ] {
            run(git(&self.dir).args(["config", key, value]))?;
        }
        self.fetch(repo)
    }

    fn fetch(&self, repo: &Repo) -> Result<()> {
        let before = self.refs(UPSTREAM)?;
        // The user's own git reads the user's own repository; what comes is checked like a push.
        let mut fetch = Command::new("git");
        fetch.arg("--git-dir").arg(&self.dir).args(["-c", "fetch.fsckObjects=true"]);
        fetch.args(["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head"]).arg(&repo.path);
        fetch.args([&format!("+{HEADS}*:{UPSTREAM}*"), "+refs/tags/*:refs/tags/*"]);
        run(&mut fetch).with_context(|| format!("git-gate cannot read {}", repo.path.display()))?;
        let (after, ours) = (self.refs(UPSTREAM)?, self.refs(HEADS)?);
        for (branch, new) in &after {
            // What waits stays; what does not follows.
            if ours.get(branch).is_none_or(|has| before.get(branch) == Some(has))
                && ours.get(branch) != Some(new)
            {
                run(git(&self.dir).args(["update-ref", &format!("{HEADS}{branch}"), new]))?;
            }
        }
        for (branch, has) in ours
            .iter()
            .filter(|(branch, has)| !after.contains_key(*branch) && before.get(*branch) == Some(has))
        {
            run(git(&self.dir).args(["update-ref", "-d", &format!("{HEADS}{branch}"), has]))?;
        }
        let head = Command::new("git")
            .arg("-C")
            .arg(&repo.path)
            .args(["symbolic-ref", "--quiet", "HEAD"])
            .output()?;
        let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
        if head.starts_with(HEADS) {
            run(git(&self.dir).args(["symbolic-ref", "HEAD", &head]))?;
        }
        Ok(())
    }

    fn refs(&self, below: &str) -> Result<BTreeMap<String, String>> {
        let said = said(git(&self.dir).args(["for-each-ref", "--format=%(objectname) %(refname)", below]))?;
        let named = |line: &str| {
            let (commit, name) = line.split_once(' ')?;
            Some((name.strip_prefix(below)?.to_owned(), commit.to_owned()))
        };
        Ok(said.lines().filter_map(named).collect())
    }

    /// Everything that waits for a person.
    ///
    /// # Errors
    /// Where the repository cannot be read.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        if !self.dir.join("HEAD").exists() {
            return Ok(Vec::new());
        }
        let (upstream, ours) = (self.refs(UPSTREAM)?, self.refs(HEADS)?);
        let mut branches: Vec<&String> = upstream.keys().chain(ours.keys()).collect();
        branches.sort();
        branches.dedup();
        let mut waiting = Vec::new();
        for branch in branches {
            let (old, new) = (upstream.get(branch).cloned(), ours.get(branch).cloned());
            if old == new {
                continue;
            }
            let (mut commits, mut subject) = (0, "deleted".to_owned());
            if let Some(new) = &new {
                let exclude = format!("--exclude={HEADS}*");
                let range = [new.as_str(), "--not", &exclude, "--all"];
                commits = said(git(&self.dir).args(["rev-list", "--count"]).args(range))?.trim().parse()?;
                subject = said(git(&self.dir).args(["log", "-1", "--format=%s", new]))?.trim().to_owned();
            }
            waiting.push(Waiting { branch: branch.clone(), old, new, commits, subject });
        }
        Ok(waiting)
    }

    /// The one push to a branch that waits.
    ///
    /// # Errors
    /// Where none does.
    pub fn waiting_for(&self, branch: &str) -> Result<Waiting> {
        let branch = branch.strip_prefix(HEADS).unwrap_or(branch);
        self.waiting()?
            .into_iter()
            .find(|waiting| waiting.branch == branch)
            .with_context(|| format!("nothing waits on {branch}"))
    }

    /// Shows what a push changes, as git shows it.
    ///
    /// # Errors
    /// Where git cannot.
    pub fn show(&self, waiting: &Waiting) -> Result<()> {
        let Some(new) = &waiting.new else {
            bail!("{} was deleted: there is nothing to show", waiting.branch)
        };
        let mut show = git(&self.dir);
        match &waiting.old {
            Some(old) => show.args(["diff", "--stat", "--patch", &format!("{old}...{new}")]),
            None => show.args([
                "log",
                "--stat",
                "--patch",
                "--reverse",
                new,
                "--not",
                &format!("--exclude={HEADS}*"),
                "--all",
            ]),
        };
        let output = show.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "git ended with {}", output.status);
        out::text(String::from_utf8_lossy(&output.stdout)).map_err(Into::into)
    }

    /// Sends a push on to the upstream, with the credentials of whoever runs this.
    ///
    /// # Errors
    /// With git's own words where the upstream does not take it. It goes on waiting then.
    pub fn forward(&self, repo: &Repo, waiting: &Waiting) -> Result<String> {
        let target = format!("{HEADS}{}", waiting.branch);
        let lease = format!("--force-with-lease={target}:{}", waiting.old.as_deref().unwrap_or_default());
        let mut push = Command::new("git");
        push.current_dir(&repo.path).arg("--git-dir").arg(&self.dir).args(["push", "--porcelain"]);
        if repo.policy.force {
            push.arg(&lease);
        }
        push.arg("--")
            .arg(upstream(repo)?)
            .arg(format!("{}:{target}", waiting.new.as_deref().unwrap_or_default()));
        let output = push.stdin(Stdio::inherit()).output().context("git")?;
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(
            output.status.success(),
            "the upstream of {} did not take {}: {text}",
            repo.name,
            waiting.branch
        );
        let known = format!("{UPSTREAM}{}", waiting.branch);
        match &waiting.new {
            Some(new) => run(git(&self.dir).args(["update-ref", &known, new]))?,
            None => run(git(&self.dir).args(["update-ref", "-d", &known]))?,
        }
        Ok(text)
    }

    /// Takes a push back: the branch is again what the upstream has.
    ///
    /// # Errors
    /// Where it has changed meanwhile.
    pub fn reject(&self, waiting: &Waiting) -> Result<()> {
        let name = format!("{HEADS}{}", waiting.branch);
        // git's own null id: "must not exist".
        let has = waiting.new.clone().unwrap_or_else(|| "0".repeat(40));
        match &waiting.old {
            Some(old) => run(git(&self.dir).args(["update-ref", &name, old, &has])),
            None => run(git(&self.dir).args(["update-ref", "-d", &name, &has])),
        }
    }
}

/// Where an upstream is: a remote of the user's repository, or a URL.
fn upstream(repo: &Repo) -> Result<String> {
    let mut remote = Command::new("git");
    remote.arg("-C").arg(&repo.path).args(["remote", "get-url", "--push", "--", &repo.upstream]);
    if let Ok(url) = said(&mut remote) {
        return Ok(url.trim().to_owned());
    }
    ensure!(
        repo.upstream.contains(['/', ':']) && !repo.upstream.starts_with('-'),
        "{} has no remote {:?}: name its upstream in bottle.toml, or fetch what waits from the quarantine yourself",
        repo.path.display(),
        repo.upstream
    );
    Ok(repo.upstream.clone())
}

fn run(command: &mut Command) -> Result<()> {
    said(command).map(|_| ())
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("git is not installed")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
