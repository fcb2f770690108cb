//! Attacks on git: on the operator's repository in the workspace, on what a push brings, and on what a
//! person sees of it.

use crate::ways_back::field::{Ended, Field, Verdict};
use crate::ways_back::{Attack, Needs};
use anyhow::{Context, Result, bail};
use bottle_host::defence::Defence;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A git-gate for the project, whose folder is the workspace.
const GATE: &str = "[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n";
/// What no guest may read.
const PRIVATE: &str = "the operator's private words";
/// What git and its hooks may have in memory together, with the keeper and the guest, in bytes.
const MEMORY: u64 = 1200 << 20;

/// How long a push of a few kilobytes may keep this machine at work, with a guest that makes it.
const WORK: Duration = Duration::from_secs(45);

/// Every attack of this file.
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

/// Brings up a bottle with the project's repository behind git-gate, an upstream beside it, and
/// another repository of the operator's that is nobody's business.
fn up(field: &mut Field, policy: &str) -> Result<()> {
    repositories(field)?;
    field.up(&format!("{GATE}{policy}"))
}

fn repositories(field: &Field) -> Result<()> {
    let project = field.path("project");
    git(&project, &["init", "-q"])?;
    field.put("project/.gitignore", "bottle.toml\n")?;
    for build in ["one", "two"] {
        field.put("project/.github/ci.yml", build)?;
        git(&project, &["add", "."])?;
        git(&project, &["commit", "-qm", build])?;
    }
    git(&project, &["clone", "-q", "--bare", ".", "../upstream.git"])?;
    git(&project, &["remote", "add", "origin", "../upstream.git"])?;
    let private = field.path("outside/private");
    field.put("outside/private/words", PRIVATE)?;
    git(&private, &["init", "-q"])?;
    git(&private, &["add", "."])?;
    git(&private, &["commit", "-qm", "private"])?;
    Ok(())
}

/// A script in the guest's own clone. That it fails is no news.
fn in_clone(field: &Field, script: &str) -> Result<Ended> {
    let script = format!(
        "export HOME=/root; git config --global user.name a; git config --global user.email a@example.com; \
         rm -rf /tmp/w; git clone -q $BOTTLE_GIT_GATE/project.git /tmp/w && cd /tmp/w && {{ {script}\n}}"
    );
    field.operator(&["exec", "--", "sh", "-c", &script])
}

/// What waits, as `BRANCH@COMMIT`.
fn waiting(field: &Field) -> Result<Vec<String>> {
    let output = field.command(&["git", "t", "list", "--json"]).output()?;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).context("bottle git list")?;
    let named = |row: &serde_json::Value| {
        Some(format!("{}@{}", row["push"]["branch"].as_str()?, row["push"]["new"].as_str()?))
    };
    Ok(rows.iter().filter(|row| row["push"]["pushed"] == true).filter_map(named).collect())
}

/// Whether a push that a policy forbids was taken.
fn taken(field: &Field, script: &str) -> Result<Verdict> {
    let ended = in_clone(field, &format!("{script}\ngit push origin HEAD:refs/heads/x"))?;
    if !ended.text().contains("remote: bottle:") {
        bail!("the push did not come to the hook: {}", ended.text());
    }
    Ok(Verdict::succeeded_if(!waiting(field)?.is_empty(), "the push was taken"))
}

/// Whether the gate gives out what it must not, after the operator has restarted.
fn stolen(field: &Field, script: &str) -> Result<Verdict> {
    field.guest(&format!("cd /workspace; {script}"))?;
    field.operator(&["restart"])?;
    let ended = in_clone(field, "git grep -h . $(git for-each-ref --format='%(refname)') -- words")?;
    Ok(Verdict::succeeded_if(ended.text().contains(PRIVATE), "the guest reads another repository"))
}

/// `.git` becomes a file that names another repository.
fn gitdir(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    let private = field.path("outside/private/.git");
    stolen(field, &format!("rm -rf .git; echo 'gitdir: {}' > .git", private.display()))
}

/// The workspace's repository borrows another one's objects, and a branch is a link to the other's.
fn alternates(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    let private = field.path("outside/private/.git");
    let private = private.display();
    stolen(
        field,
        &format!(
            "echo {private}/objects > .git/objects/info/alternates; \
             ln -s {private}/refs/heads/main .git/refs/heads/stolen"
        ),
    )
}

/// Objects and branches are links to another repository's.
fn linked(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    let private = field.path("outside/private/.git");
    let private = private.display();
    stolen(
        field,
        &format!(
            "rm -rf .git/objects .git/refs .git/packed-refs; ln -s {private}/objects {private}/refs .git/"
        ),
    )
}

/// A repository of the guest's, with a hook that leaves a proof on whatever machine runs it.
fn trap(field: &Field) -> String {
    format!(
        "git init -q --bare /workspace/trap.git; \
         printf '#!/bin/sh\\ntouch {}\\n' > /workspace/trap.git/hooks/pre-receive; \
         chmod 755 /workspace/trap.git/hooks/pre-receive; ",
        field.proof().display()
    )
}

fn push_and_approve(field: &Field) -> Result<Verdict> {
    in_clone(field, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    let seen = waiting(field)?.pop().context("nothing waits")?;
    field.operator(&["git", "t", "approve", &seen])?;
    Ok(Verdict::Held)
}

/// The workspace's repository says that its upstream is one of the guest's.
fn pushurl(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    field.guest(&format!("{} git -C /workspace config remote.origin.pushurl ./trap.git", trap(field)))?;
    push_and_approve(field)
}

/// The same, and the bottle is made anew.
fn outlives(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    field.guest(&format!("{} git -C /workspace config remote.origin.url ./trap.git", trap(field)))?;
    field.operator(&["rm", "--force", "t"])?;
    field.operator(&["up"])?;
    push_and_approve(field)
}

/// It is a guest's already when the operator puts the gate before it.
fn before_the_gate(field: &mut Field) -> Result<Verdict> {
    repositories(field)?;
    field.up("")?;
    field.guest(&format!("{} git -C /workspace config remote.origin.url ./trap.git", trap(field)))?;
    field.operator(&["rm", "--force", "t"])?;
    let config = field.config(GATE);
    field.put("project/bottle.toml", config)?;
    field.operator(&["up", "--trust"])?;
    in_clone(field, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    // Where nothing is known of an upstream, all of the history is the push's, and a rule may refuse it.
    if let Some(seen) = waiting(field)?.pop() {
        field.operator(&["git", "t", "approve", &seen])?;
    }
    Ok(Verdict::Held)
}

/// Whether the diff of the branch, which shows this, leaves out the evil that goes along.
fn diff_hides_evil(field: &Field, shows: &str, why: &str) -> Result<Verdict> {
    let shown = field.operator(&["git", "t", "diff", "x"])?;
    if !shown.text().contains(shows) {
        bail!("{}", shown.text());
    }
    Ok(Verdict::succeeded_if(!shown.text().contains("+evil"), why))
}

/// What the guest commits in the workspace passes for the upstream's, so that nobody is shown it.
fn committed(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    field.guest(
        "cd /workspace; echo evil > evil; git add evil; \
         git -c user.name=o -c user.email=o@example.com commit -qm 'as if it were yours'",
    )?;
    field.operator(&["restart"])?;
    in_clone(field, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    diff_hides_evil(field, "+x", "the diff leaves out what goes along")
}

/// The operator looks at one commit, and the branch is another when they approve.
fn swapped(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    in_clone(field, "echo x > x; git add x; git commit -qm x; git push -q origin HEAD:refs/heads/x")?;
    let seen = waiting(field)?.pop().context("nothing waits")?;
    in_clone(
        field,
        "git checkout -q x; echo evil > evil; git add evil; git commit -qm y; git push -q origin x",
    )?;
    field.operator(&["git", "t", "approve", &seen])?;
    let has = git(&field.path("upstream.git"), &["ls-tree", "-r", "--name-only", "--full-tree", "x"]);
    Ok(Verdict::succeeded_if(has.is_ok_and(|has| has.contains("evil")), "the upstream has what nobody saw"))
}

fn key() -> String {
    format!("AKIA{}", "A1B2".repeat(4))
}

/// A line that a patch shows as a file's name.
fn plus_lines(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    taken(field, &format!("echo '++ {}' > x; git add x; git commit -qm x", key()))
}

/// A key that is in no file.
fn message(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    taken(field, &format!("git commit -q --allow-empty -m 'x {}'", key()))
}

/// A key that no pattern of bytes matches.
fn utf16(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    let wide: String = key().chars().map(|c| format!("{c}\\000")).collect();
    taken(field, &format!("printf '{wide}' > x; git add x; git commit -qm x"))
}

/// A merge that drops what the upstream changed below `.github`, with no content of its own.
fn by_merge(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    taken(
        field,
        "git checkout -q -b old HEAD~1; echo x > x; git add x; git commit -qm x; \
         git merge -q -s ours -m merged origin/main",
    )
}

/// A folder above a guarded one becomes a link, and what is guarded is somewhere else.
fn by_link(field: &mut Field) -> Result<Verdict> {
    up(field, "[git-gate.repo.policy]\ndeny_paths = [\"ci/run/\"]\n")?;
    taken(field, "mkdir -p other/run; echo x > other/run/x; ln -s other ci; git add .; git commit -qm x")
}

/// `.github` with a character that some file systems leave out.
fn by_spelling(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    taken(
        field,
        "d=$(printf '.git\\342\\200\\214hub'); mkdir -p $d/workflows; echo x > $d/workflows/x.yml; \
         git add .; git commit -qm x",
    )
}

/// Content that only a merge's own resolution has.
fn hidden_merge(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    in_clone(
        field,
        "git checkout -q -b a; echo a > a; git add a; git commit -qm a; \
         git checkout -q -b x origin/main; echo b > b; git add b; git commit -qm b; \
         git merge -q --no-commit a; echo evil > evil; git add evil; git commit -qm merged; \
         git push -q origin x",
    )?;
    diff_hides_evil(field, "+b", "the diff leaves out what the merge brings")
}

/// Twenty-two folders that hold the one below them twice: four million files in three kilobytes.
fn bomb(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    let ended = in_clone(
        field,
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
        bail!("the push did not come to the hook: {} MiB, {}", ended.peak >> 20, ended.text());
    }
    // The gate is usable afterwards.
    in_clone(field, "echo x > y; git add y; git commit -qm y; git push -q origin HEAD:refs/heads/y")?;
    Ok(Verdict::succeeded_if(waiting(field)?.len() != 1, "the gate is not usable any more"))
}

/// As many branches as fit into one push.
fn many_refs(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    in_clone(
        field,
        "git commit -q --allow-empty -m x; \
         git push -q origin $(for i in $(seq 150); do echo HEAD:refs/heads/x$i; done)",
    )?;
    let count = waiting(field)?.len();
    Ok(Verdict::succeeded_if(count > 100, format!("{count} branches wait")))
}

/// A pushed branch where the operator's repository has a folder of branches.
fn collide(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    in_clone(field, "git commit -q --allow-empty -m x; git push -q origin HEAD:refs/heads/topic")?;
    git(&field.path("project"), &["branch", "topic/one"])?;
    let ended = field.operator(&["restart"])?;
    let usable = in_clone(field, "git rev-parse origin/topic")?.is_well();
    Ok(Verdict::succeeded_if(!ended.is_well() || !usable, "the bottle does not start any more"))
}

/// A branch whose name turns a line around.
fn steering_name(field: &mut Field) -> Result<Verdict> {
    up(field, "")?;
    in_clone(
        field,
        "git commit -q --allow-empty -m x; git push origin \"HEAD:refs/heads/$(printf 'x\\342\\200\\256y')\"",
    )?;
    Ok(Verdict::succeeded_if(!waiting(field)?.is_empty(), "the branch waits"))
}
