//! Attacks on git: on the operator's repository in the workspace, on what a push contains, and on what a
//! person sees of it.

use crate::environment::answer;
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{Ended, Target, Verdict};
use anyhow::{Context, Result, bail};
use bottle_host::defence::Defence;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A git-gate for the project, whose folder is the workspace.
const GATE: &str = "[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n";
/// Text that no guest may read.
const PRIVATE: &str = "the operator's private words";
/// How much memory git, its hooks, the keeper and the guest may use together, in bytes.
const MEMORY: u64 = 1200 << 20;

/// How long a push of a few kilobytes may keep this machine busy, including the guest's own work.
const WORK: Duration = Duration::from_secs(45);

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("git-gitdir-elsewhere", Defence::GitConfig, gitdir),
        Attack::new("git-alternates", Defence::GitConfig, alternates),
        Attack::new("git-linked-objects", Defence::GitConfig, linked),
        Attack::new("git-pushurl-hook", Defence::GitUpstream, pushurl),
        Attack::new("git-url-outlives-rm", Defence::GitUpstream, outlives),
        Attack::new("git-url-before-the-gate", Defence::GitUpstream, before_the_gate),
        Attack::new("git-commit-in-workspace", Defence::GitUpstream, committed),
        Attack::new("git-approve-swapped", Defence::ShownIsApproved, swapped),
        Attack::new("git-secret-plus-lines", Defence::GitTrees, plus_lines),
        Attack::new("git-secret-in-message", Defence::GitTrees, message),
        Attack::new("git-secret-in-utf16", Defence::GitTrees, utf16),
        Attack::new("git-denied-by-merge", Defence::GitTrees, by_merge),
        Attack::new("git-denied-by-link", Defence::GitTrees, by_link),
        Attack::new("git-denied-by-spelling", Defence::GitTrees, by_spelling),
        Attack::new("git-diff-hides-merge", Defence::GitTrees, hidden_merge),
        Attack { name: "git-tree-bomb", defence: Defence::GitLimits, needs: Needs::Long, run: bomb },
        Attack::new("git-many-refs", Defence::GitLimits, many_refs),
        Attack::new("git-refs-collide", Defence::GitRefNames, collide),
        Attack::new("git-ref-name-steers", Defence::GitRefNames, steering_name),
    ]
}

fn git(dir: &Path, words: &[&str]) -> Result<String> {
    let identity = ["-c", "user.name=o", "-c", "user.email=o@example.com", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(identity).args(words).current_dir(dir).output()?;
    if !output.status.success() {
        bail!("git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Brings up a bottle with the project's repository behind git-gate, an upstream, and a private repository of
/// the operator's elsewhere.
fn up(target: &mut Target, policy: &str) -> Result<()> {
    repositories(target)?;
    target.up(&format!("{GATE}{policy}"))
}

fn repositories(target: &Target) -> Result<()> {
    let project = target.path("project");
    git(&project, &["init", "-q"])?;
    target.put("project/.gitignore", "bottle.toml\n")?;
    for build in ["one", "two"] {
        target.put("project/.github/ci.yml", build)?;
        git(&project, &["add", "."])?;
        git(&project, &["commit", "-qm", build])?;
    }
    git(&project, &["clone", "-q", "--bare", ".", "../upstream.git"])?;
    git(&project, &["remote", "add", "origin", "../upstream.git"])?;
    let private = target.path("outside/private");
    target.put("outside/private/words", PRIVATE)?;
    git(&private, &["init", "-q"])?;
    git(&private, &["add", "."])?;
    git(&private, &["commit", "-qm", "private"])?;
    Ok(())
}

/// Runs a script in a fresh clone in the guest. It may fail.
fn in_clone(target: &Target, script: &str) -> Result<Ended> {
    let script = format!(
        "export HOME=/root; git config --global user.name a; git config --global user.email a@example.com; \
         rm -rf /tmp/w; git clone -q $BOTTLE_GIT_GATE/project.git /tmp/w && cd /tmp/w && {{ {script}\n}}"
    );
    target.operator(&["exec", "--", "sh", "-c", &script])
}

/// Returns the waiting pushes, as `BRANCH@COMMIT`.
fn waiting(target: &Target) -> Result<Vec<String>> {
    let output = target.command(&["git", "t", "list", "--json"]).output()?;
    let rows: Vec<serde_json::Value> = serde_json::from_value(answer(&output.stdout)?)?;
    let named = |row: &serde_json::Value| {
        Some(format!("{}@{}", row["push"]["branch"].as_str()?, row["push"]["new"].as_str()?))
    };
    Ok(rows.iter().filter(|row| row["push"]["pushed"] == true).filter_map(named).collect())
}

/// Pushes what the script commits. The attack succeeds if the forbidden push is accepted.
fn taken(target: &Target, script: &str) -> Result<Verdict> {
    let ended = in_clone(target, &format!("{script}\ngit push origin HEAD:refs/heads/x"))?;
    if !ended.text().contains("remote: bottle:") {
        bail!("the push did not reach the hook: {}", ended.text());
    }
    Ok(Verdict::succeeded_if(!waiting(target)?.is_empty(), "the push was accepted"))
}

/// Runs the script in the workspace, and restarts. The attack succeeds if the gate then serves the private
/// repository.
fn stolen(target: &Target, script: &str) -> Result<Verdict> {
    target.guest(&format!("cd /workspace; {script}"))?;
    target.operator(&["restart"])?;
    let ended = in_clone(target, "git grep -h . $(git for-each-ref --format='%(refname)') -- words")?;
    Ok(Verdict::succeeded_if(ended.text().contains(PRIVATE), "the guest reads another repository"))
}

/// `.git` becomes a file that names another repository.
fn gitdir(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    let private = target.path("outside/private/.git");
    stolen(target, &format!("rm -rf .git; echo 'gitdir: {}' > .git", private.display()))
}

/// The workspace's repository borrows another one's objects, and has a branch that links to the other's.
fn alternates(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    let private = target.path("outside/private/.git");
    let private = private.display();
    stolen(
        target,
        &format!(
            "echo {private}/objects > .git/objects/info/alternates; \
             ln -s {private}/refs/heads/main .git/refs/heads/stolen"
        ),
    )
}

/// The folders of objects and branches are links to those of another repository.
fn linked(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    let private = target.path("outside/private/.git");
    let private = private.display();
    stolen(
        target,
        &format!(
            "rm -rf .git/objects .git/refs .git/packed-refs; ln -s {private}/objects {private}/refs .git/"
        ),
    )
}

/// Returns a script that creates a repository with a hook that leaves a proof wherever it runs.
fn trap(target: &Target) -> String {
    format!(
        "git init -q --bare /workspace/trap.git; \
         printf '#!/bin/sh\\ntouch {}\\n' > /workspace/trap.git/hooks/pre-receive; \
         chmod 755 /workspace/trap.git/hooks/pre-receive; ",
        target.proof().display()
    )
}

fn push_and_approve(target: &Target) -> Result<Verdict> {
    in_clone(target, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    let seen = waiting(target)?.pop().context("nothing waits")?;
    target.operator(&["git", "t", "approve", &seen])?;
    Ok(Verdict::Held)
}

/// The workspace's repository names one of the guest's as its upstream.
fn pushurl(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    target.guest(&format!("{} git -C /workspace config remote.origin.pushurl ./trap.git", trap(target)))?;
    push_and_approve(target)
}

/// The same, but the bottle is removed and created again.
fn outlives(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    target.guest(&format!("{} git -C /workspace config remote.origin.url ./trap.git", trap(target)))?;
    target.operator(&["rm", "--force", "t"])?;
    target.operator(&["up"])?;
    push_and_approve(target)
}

/// The guest could write to the repository before the operator put the gate in front of it.
fn before_the_gate(target: &mut Target) -> Result<Verdict> {
    repositories(target)?;
    target.up("")?;
    target.guest(&format!("{} git -C /workspace config remote.origin.url ./trap.git", trap(target)))?;
    target.operator(&["rm", "--force", "t"])?;
    let config = target.config(GATE);
    target.put("project/bottle.toml", config)?;
    // If the start is refused, the gate never serves it. Without the defence it starts, as the witness shows.
    if !target.operator(&["up", "--trust"])?.is_success() {
        return Ok(Verdict::Held);
    }
    in_clone(target, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    // If the upstream is unknown, the push consists of the whole history, and a rule may refuse it.
    if let Some(seen) = waiting(target)?.pop() {
        target.operator(&["git", "t", "approve", &seen])?;
    }
    Ok(Verdict::Held)
}

/// The attack succeeds if the branch's diff shows the given text, but not the evil that goes with it.
fn diff_hides_evil(target: &Target, shows: &str, why: &str) -> Result<Verdict> {
    let shown = target.operator(&["git", "t", "diff", "x"])?;
    if !shown.text().contains(shows) {
        bail!("{}", shown.text());
    }
    Ok(Verdict::succeeded_if(!shown.text().contains("+evil"), why))
}

/// The guest commits in the workspace, so that its commit passes for the upstream's and nobody sees it.
fn committed(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    target.guest(
        "cd /workspace; echo evil > evil; git add evil; \
         git -c user.name=o -c user.email=o@example.com commit -qm 'as if it were yours'",
    )?;
    target.operator(&["restart"])?;
    in_clone(target, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    diff_hides_evil(target, "+x", "the diff leaves out the guest's commit")
}

/// The operator looks at one commit, but when they approve, the branch has another.
fn swapped(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    in_clone(target, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    let seen = waiting(target)?.pop().context("nothing waits")?;
    in_clone(
        target,
        "git checkout -q x; echo evil > evil; git add evil; git commit -qm y; git push -q origin x",
    )?;
    target.operator(&["git", "t", "approve", &seen])?;
    let has = git(&target.path("upstream.git"), &["ls-tree", "-r", "--name-only", "--full-tree", "x"]);
    Ok(Verdict::succeeded_if(has.is_ok_and(|has| has.contains("evil")), "the upstream has what nobody saw"))
}

fn key() -> String {
    format!("AKIA{}", "A1B2".repeat(4))
}

/// A line that looks like a file name in a patch.
fn plus_lines(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    taken(target, &format!("echo '++ {}' > x; git add x; git commit -qm x", key()))
}

/// A key in a commit message.
fn message(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    taken(target, &format!("git commit -q --allow-empty -m 'x {}'", key()))
}

/// A key in UTF-16, which no pattern of bytes matches.
fn utf16(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    let wide: String = key().chars().map(|c| format!("{c}\\000")).collect();
    taken(target, &format!("printf '{wide}' > x; git add x; git commit -qm x"))
}

/// A merge that drops the upstream's change below `.github`, without any content of its own.
fn by_merge(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    taken(
        target,
        "git checkout -q -b old HEAD~1; echo x > x; git add x; git commit -qm x; \
         git merge -q -s ours -m merged origin/main",
    )
}

/// A folder above a guarded one becomes a link, so that the guarded files are somewhere else.
fn by_link(target: &mut Target) -> Result<Verdict> {
    up(target, "[git-gate.repo.policy]\ndeny_paths = [\"ci/run/\"]\n")?;
    taken(target, "mkdir -p other/run; echo x > other/run/x; ln -s other ci; git add .; git commit -qm x")
}

/// `.github` with a character that some file systems ignore.
fn by_spelling(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    taken(
        target,
        "d=$(printf '.git\\342\\200\\214hub'); mkdir -p $d/workflows; echo x > $d/workflows/x.yml; \
         git add .; git commit -qm x",
    )
}

/// Content that only a merge's resolution has.
fn hidden_merge(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    in_clone(
        target,
        "git checkout -q -b a; echo a > a; git add a; git commit -qm a; \
         git checkout -q -b x origin/main; echo b > b; git add b; git commit -qm b; \
         git merge -q --no-commit a; echo evil > evil; git add evil; git commit -qm merged; \
         git push -q origin x",
    )?;
    diff_hides_evil(target, "+b", "the diff leaves out the merge's own content")
}

/// Twenty-two nested folders, each containing the next one twice: four million files in three kilobytes.
fn bomb(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    let ended = in_clone(
        target,
        "t=$(echo x | git hash-object -w --stdin); k=blob; m=100644; \
         for i in $(seq 22); do \
           t=$(printf \"$m $k $t\\ta\\n$m $k $t\\tb\\n\" | git mktree); k=tree; m=040000; \
         done; \
         c=$(git commit-tree -p HEAD -m x $t); git push origin $c:refs/heads/x",
    )?;
    if ended.peak > MEMORY || ended.took > WORK {
        let (mib, seconds) = (ended.peak >> 20, ended.took.as_secs());
        return Ok(Verdict::Succeeded(format!("git took {mib} MiB and {seconds} s")));
    }
    if !ended.text().contains("remote: bottle:") {
        bail!("the push did not reach the hook: {} MiB, {}", ended.peak >> 20, ended.text());
    }
    // The gate must still work afterwards.
    in_clone(target, "echo x > y; git add y; git commit -qm y; git push -q origin HEAD:refs/heads/y")?;
    Ok(Verdict::succeeded_if(waiting(target)?.len() != 1, "the gate no longer works"))
}

/// A great many branches in one push.
fn many_refs(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    in_clone(
        target,
        "git commit -q --allow-empty -m x; \
         git push -q origin $(for i in $(seq 150); do echo HEAD:refs/heads/x$i; done)",
    )?;
    let count = waiting(target)?.len();
    Ok(Verdict::succeeded_if(count > 100, format!("{count} branches wait")))
}

/// A pushed branch with the name of a folder of branches in the operator's repository.
fn collide(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    in_clone(target, "git commit -q --allow-empty -m x; git push -q origin HEAD:refs/heads/topic")?;
    git(&target.path("project"), &["branch", "topic/one"])?;
    let ended = target.operator(&["restart"])?;
    let usable = in_clone(target, "git rev-parse origin/topic")?.is_success();
    Ok(Verdict::succeeded_if(!ended.is_success() || !usable, "the bottle no longer starts"))
}

/// A branch whose name reverses the text of its line.
fn steering_name(target: &mut Target) -> Result<Verdict> {
    up(target, "")?;
    in_clone(
        target,
        "git commit -q --allow-empty -m x; git push origin \"HEAD:refs/heads/$(printf 'x\\342\\200\\256y')\"",
    )?;
    Ok(Verdict::succeeded_if(!waiting(target)?.is_empty(), "the branch waits"))
}
