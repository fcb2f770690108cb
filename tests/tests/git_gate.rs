//! git-gate, with a stand-in guest and real git at both ends.

use bottle_tests::{
    Project, ProjectExt, RunningBottle, RunningBottleExt, checkout, git, project_with, up_with,
};
use predicates::prelude::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const CONFIG: &str = "slug = \"gated\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n";
/// Lets the guest write to the project itself.
const WRITABLE: &str = "[workspace]\nmode = \"read-write\"\n";

/// Returns the configuration with which the guest can write to the project itself.
fn writable() -> String {
    CONFIG.replace("[git-gate]", &format!("{WRITABLE}[git-gate]"))
}

/// A running bottle whose project has a repository with an upstream.
struct Gated(RunningBottle);

/// Makes a project with a repository and an upstream.
fn repository(config: &str, options: &[&str]) -> Project {
    let project = project_with(config);
    let folder = project.folder();
    git(folder, &[&["init", "-q", "-b", "main"], options].concat());
    project.put(".gitignore", "bottle.toml\n");
    project.put("file", "one\n");
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(folder, &["remote", "add", "origin", "../upstream.git"]);
    project
}

impl Gated {
    /// Brings a bottle up, with a policy for its repository, and clones the repository in the guest.
    fn new(policy: &str) -> Self {
        Self::with_tools(policy, &[])
    }

    /// Does the same, with folders that the keeper searches before the rest of `PATH`.
    fn with_tools(policy: &str, tools: &[&Path]) -> Self {
        let project = repository(&format!("{CONFIG}{policy}"), &[]);
        let path =
            project.environment().checkout().search_path(&[tools, &[&project.on_host("bin")]].concat());
        Self::cloned(up_with(project, &[("PATH", path.unwrap().to_str().unwrap())]))
    }

    fn cloned(running: RunningBottle) -> Self {
        let gated = Self(running);
        let said = gated.guest(
            "git config --global user.name agent; git config --global user.email agent@example.com; \
             git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work && cat /tmp/work/file",
        );
        assert_eq!(said, "one\n");
        gated
    }

    /// Runs a script in the guest's clone, and returns both of its output streams.
    fn guest(&self, script: &str) -> String {
        self.0.guest(&format!("export HOME=/root; cd /tmp/work 2>/dev/null; ({script}) 2>&1"))
    }

    fn waiting(&self) -> Vec<Value> {
        serde_json::from_value(self.0.json(&["git", "gated", "list", "--json"])).unwrap()
    }

    /// Returns the only waiting push as `approve` and `reject` take it: `BRANCH@COMMIT`.
    fn seen(&self) -> String {
        let waiting = self.waiting();
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        let push = &waiting[0]["push"];
        format!("{}@{}", push["branch"].as_str().unwrap(), push["new"].as_str().unwrap_or("deleted"))
    }

    fn upstream(&self) -> PathBuf {
        self.0.on_host("upstream.git")
    }

    /// Returns whether the upstream has a branch.
    fn has(&self, branch: &str) -> bool {
        let words = ["rev-parse", "--verify", "--quiet", branch];
        Command::new("git").args(words).current_dir(self.upstream()).output().unwrap().status.success()
    }
}

#[test]
fn a_push_waits_until_a_person_approves_or_rejects_it() {
    let gated = Gated::new("");
    let before = git(gated.0.folder(), &["for-each-ref"]);
    let said = gated.guest(
        "git checkout -q -b work; echo two >> file; git commit -qam 'second \x1b[31m'; git push origin work",
    );
    assert!(
        said.contains("remote: bottle: refs/heads/work: waits for your operator: bottle git gated approve"),
        "{said}"
    );
    assert!(said.contains("[new branch]      work -> work"), "{said}");
    // It is only in quarantine.
    assert!(!gated.has("work"));
    assert_eq!(git(gated.0.folder(), &["for-each-ref"]), before);
    let waiting = gated.waiting();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(
        (&waiting[0]["push"]["branch"], &waiting[0]["push"]["commits"]),
        (&Value::from("work"), &Value::from(1))
    );
    let list = gated.0.said(&["git", "gated", "list"]);
    assert!(
        list.contains("project") && list.contains("second \\u{1b}[31m") && !list.contains('\x1b'),
        "{list:?}"
    );
    gated.0.bottle(&["git", "gated", "diff"]).assert().success().stdout(predicate::str::contains("+two"));

    gated.0.bottle(&["-q", "git", "gated", "approve", &gated.seen()]).assert().success();
    assert!(gated.has("work") && gated.waiting().is_empty());
    gated
        .0
        .bottle(&["git", "gated", "approve"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("no push of that name is waiting"));

    // The next push is rejected: the agent's branch is again the upstream's.
    gated.guest("echo three >> file; git commit -qam third; git push -q origin work");
    gated.0.bottle(&["-q", "git", "gated", "reject", &gated.seen()]).assert().success();
    assert!(gated.waiting().is_empty());
    assert_eq!(gated.guest("git fetch -q && git log -1 --format=%an origin/work"), "agent\n");
    assert_eq!(git(gated.upstream(), &["rev-list", "--count", "work"]), "2");

    let log = gated.0.said(&["logs"]);
    for event in ["git-gate  waiting", "git-gate  approved", "git-gate  rejected"] {
        assert!(log.contains(event), "{event}: {log}");
    }
}

/// An agent often goes on where its operator is, and what was never pushed would be published with it.
#[test]
fn commits_of_the_operators_own_that_go_along_with_a_push_are_named() {
    let project = repository(CONFIG, &[]);
    let folder = project.folder().to_owned();
    git(&folder, &["fetch", "-q", "origin"]);
    git(&folder, &["switch", "-q", "-c", "mine"]);
    git(&folder, &["commit", "-q", "--allow-empty", "-m", "my own idea"]);
    git(&folder, &["commit", "-q", "--allow-empty", "-m", "and another"]);
    git(&folder, &["switch", "-q", "main"]);
    let seen = predicate::str::contains("no remote has these branches yet, and the agent sees them: mine");
    project.bottle(&["plan"]).assert().success().stderr(seen);
    let gated = Gated::cloned(up_with(project, &[]));
    let own = |gated: &Gated| -> Vec<(String, u64, u64)> {
        let of = |push: &Value| {
            let number = |key: &str| push["push"][key].as_u64().unwrap();
            (push["push"]["branch"].as_str().unwrap().to_owned(), number("commits"), number("own_commits"))
        };
        gated.waiting().iter().map(of).collect()
    };
    gated.guest("git checkout -q -b on-main origin/main; echo a > a; git add a; git commit -qm a; git push -q origin on-main");
    gated.guest("git checkout -q -b on-mine origin/mine; echo b > b; git add b; git commit -qm b; git push -q origin on-mine");
    assert_eq!(own(&gated), [("on-main".to_owned(), 1, 0), ("on-mine".to_owned(), 1, 2)]);
    assert!(
        gated
            .0
            .said(&["git", "gated", "list"])
            .contains("(and 2 of yours that the upstream does not have yet)")
    );
    let shown = gated.0.said(&["git", "gated", "diff", "on-mine"]);
    assert!(shown.contains("with it go 2 commits of yours") && shown.contains("my own idea"), "{shown}");
    let shown = gated.0.said(&["git", "gated", "diff", "on-main"]);
    assert!(!shown.contains("of yours"), "{shown}");

    // What was sent from here, or pushed by the operator, is published.
    let commit = gated.waiting()[1]["push"]["new"].as_str().unwrap().to_owned();
    gated.0.bottle(&["-q", "git", "gated", "approve", &format!("on-mine@{commit}")]).assert().success();
    gated.guest("echo c > c; git add c; git commit -qm c; git push -q origin on-mine");
    assert_eq!(own(&gated), [("on-main".to_owned(), 1, 0), ("on-mine".to_owned(), 1, 0)]);
    gated.0.bottle(&["-q", "restart"]).assert().success();
    assert_eq!(own(&gated), [("on-main".to_owned(), 1, 0), ("on-mine".to_owned(), 1, 0)]);
}

/// git refuses such a push before it has read all of it.
#[test]
fn a_push_that_git_refuses_ends_at_once_whatever_its_size() {
    const BOUND: Duration = Duration::from_secs(30);
    let gated = Gated::new("");
    let bad = "c=$(printf \"tree $(git rev-parse HEAD^{tree})\\nparent $(git rev-parse HEAD)\\nauthor a<a@example.com> 1 +0000\\ncommitter a <a@example.com> 1 +0000\\n\\nx\\n\" \
        | git hash-object -t commit -w --stdin --literally)";
    for bytes in [0, 60_000, 900_000, 3_000_000, 30_000_000] {
        gated.guest(&format!("head -c {bytes} /dev/urandom > big; git add big; git commit -q -m {bytes}"));
        let since = Instant::now();
        let said = gated.guest(&format!("{bad}; timeout 120 git push origin $c:refs/heads/bad-{bytes}"));
        let took = since.elapsed();
        println!("{bytes}: {took:?}");
        assert!(took < BOUND, "{bytes}: {took:?}: {said}");
        assert!(said.contains("missingSpaceBeforeEmail"), "{bytes}: {said}");
        assert!(gated.waiting().is_empty());
    }
    // The same objects, without the bad commit, are a push that waits.
    let said = gated.guest("git push origin HEAD:refs/heads/good");
    assert!(said.contains("refs/heads/good: waits for your operator"), "{said}");
}

#[test]
fn a_push_that_the_policy_refuses_changes_nothing_and_is_explained() {
    let gated = Gated::new(
        "[git-gate.repo.policy]\nmax_mib = 1\nrules = [{ ref = \"refs/heads/closed\", verdict = \"deny\" }]\n",
    );
    let key = format!("AKIA{}", "A1B2".repeat(4));
    let commit = |what: &str| {
        format!(
            "git checkout -q -B x origin/main; {what}; git add -A; git commit -q -m x; git push origin HEAD:x"
        )
    };
    for (script, wanted) in [
        ("git push origin main:closed".to_owned(), "refused: no rule lets this ref be pushed"),
        ("git tag v1; git push origin v1".to_owned(), "refused: tags are not pushed"),
        ("git push origin HEAD:refs/notes/x".to_owned(), "refused: no rule lets this ref be pushed"),
        ("git push origin :main".to_owned(), "refused: branches are not deleted"),
        (
            "git checkout -q -B x origin/main; git commit -q --amend -m other; git push -f origin HEAD:main"
                .to_owned(),
            "no force push",
        ),
        (
            commit("mkdir -p .github/workflows; echo x > .github/workflows/x.yml"),
            "refused: .github/workflows/x.yml must not be changed",
        ),
        (commit("mkdir -p .GitHub; echo x > .GitHub/x"), "must not be changed"),
        // A commit whose change a later one reverts.
        (
            commit(
                "mkdir -p .github; echo x > .github/x; git add -A; git commit -q -m y; rm -r .github; echo z > z",
            ),
            "refused: .github/x must not be changed",
        ),
        (commit(&format!("echo id={key} > config.ini")), "a secret: an AWS access key in config.ini:1"),
        (
            commit(&format!("echo {key} > k; git add -A; git commit -q -m y; rm k; echo z > z2")),
            "an AWS access key in k:1",
        ),
        (commit("head -c 3000000 /dev/urandom > big"), "pack exceeds maximum allowed size"),
    ] {
        let said = gated.guest(&script);
        assert!(said.contains(wanted), "{script}: {said}");
        assert!(
            said.contains("rejected") || said.contains("error:") || said.contains("fatal:"),
            "{script}: {said}"
        );
        assert!(!said.contains(&key), "{said}");
        assert!(gated.waiting().is_empty(), "{script}: {:?}", gated.waiting());
    }
    // The witness: an ordinary push passes.
    let said = gated.guest(&commit("echo fine > fine"));
    assert!(said.contains("waits for your operator"), "{said}");
    assert_eq!(gated.waiting().len(), 1);
    assert!(gated.0.said(&["logs", "--denied"]).matches("git-gate").count() >= 9);
}

#[test]
fn a_push_that_a_rule_allows_reaches_the_upstream_at_once() {
    let gated = Gated::new(
        "[git-gate.repo.policy]\nrules = [{ ref = \"refs/heads/agent/*\", verdict = \"allow\" }]\n",
    );
    let said = gated.guest(
        "git checkout -q -b agent/one; echo two >> file; git commit -qam second; git push origin agent/one",
    );
    assert!(said.contains("remote: bottle: refs/heads/agent/one: the upstream has it"), "{said}");
    assert!(gated.has("agent/one") && gated.waiting().is_empty());
    // If the upstream does not accept the push, the agent is told, and the push waits.
    git(gated.upstream(), &["config", "receive.denyCurrentBranch", "refuse"]);
    fs::rename(gated.upstream(), gated.0.on_host("gone.git")).unwrap();
    let said = gated.guest("echo three >> file; git commit -qam third; git push origin agent/one");
    assert!(said.contains("the upstream of project did not take agent/one"), "{said}");
    assert_eq!(gated.waiting().len(), 1);
}

/// Pushes a branch, changes the operator's repository, and restarts. Returns the pushes that wait then.
fn restarted(gated: &Gated) -> Vec<Value> {
    gated.guest("git checkout -q -b mine; echo two >> file; git commit -qam second; git push -q origin mine");
    let folder = gated.0.folder();
    gated.0.put("file", "changed by the user\n");
    git(folder, &["commit", "-qam", "the user's"]);
    git(folder, &["branch", "theirs"]);
    gated.0.bottle(&["-q", "restart"]).assert().success();
    let said = gated.guest(
        "rm -rf /tmp/work; git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work && cd /tmp/work && cat file && git branch -r",
    );
    assert!(
        said.starts_with("changed by the user\n")
            && said.contains("origin/mine")
            && said.contains("origin/theirs"),
        "{said}"
    );
    gated.waiting()
}

#[test]
fn a_restart_brings_new_commits_and_keeps_waiting_pushes() {
    let gated = Gated::new("[workspace]\nmode = \"copy\"\n");
    let waiting = restarted(&gated);
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["push"]["branch"], "mine");
}

#[test]
fn commits_that_a_guest_could_have_made_itself_wait_too() {
    // The project is mounted writable, so nobody can tell who made the commits in its `.git`.
    let gated = Gated::new(WRITABLE);
    let waiting = restarted(&gated);
    let named: Vec<_> = waiting
        .iter()
        .map(|push| (push["push"]["branch"].as_str().unwrap(), &push["push"]["pushed"]))
        .collect();
    assert_eq!(
        named,
        [("main", &Value::from(false)), ("mine", &Value::from(true)), ("theirs", &Value::from(false))]
    );
    let list = gated.0.said(&["git", "gated", "list"]);
    assert!(list.contains("(in your repository, which the guest can write)"), "{list}");
    // A branch that builds on it is shown from the last commit that the upstream is known to have.
    gated.guest("git config --global user.name a; git config --global user.email a@example.com; git checkout -q -b work origin/main; echo more > more; git add .; git commit -qm more; git push -q origin work");
    let shown = gated.0.said(&["git", "gated", "diff", "work"]);
    assert!(shown.contains("+changed by the user") && shown.contains("A more"), "{shown}");
    let main = waiting[0]["push"]["new"].as_str().unwrap();
    gated.0.bottle(&["-q", "git", "gated", "approve", &format!("main@{main}")]).assert().success();
    assert_eq!(git(gated.upstream(), &["rev-parse", "main"]), main);
    let shown = gated.0.said(&["git", "gated", "diff", "work"]);
    assert!(!shown.contains("+changed by the user") && shown.contains("A more"), "{shown}");
}

#[test]
fn a_decision_must_name_the_commit_that_was_seen() {
    let gated = Gated::new("");
    gated.guest("git checkout -q -b work; echo two >> file; git commit -qam second; git push -q origin work");
    let seen = gated.seen();
    let commit = seen.rsplit('@').next().unwrap();
    for verb in ["approve", "reject"] {
        // Without a terminal to show the commit on, the hint is the command to run after a look.
        for words in [vec![verb], vec![verb, "work"]] {
            let words = [vec!["git", "gated"], words].concat();
            let hint = format!("`bottle git gated {verb} {seen}`");
            gated.0.bottle(&words).assert().code(2).stderr(predicate::str::contains(hint));
        }
        for (named, said) in [
            (&commit[..12], "is not a full commit ID"),
            (&"1".repeat(40), "it changed since; look again"),
            ("deleted", "it changed since; look again"),
        ] {
            let words = ["git", "gated", verb, "work", "--commit", named];
            gated.0.bottle(&words).assert().code(2).stderr(predicate::str::contains(said));
        }
    }
    gated.guest("echo three >> file; git commit -qam third; git push -q origin work");
    let changed = predicate::str::contains("it changed since; look again");
    gated.0.bottle(&["git", "gated", "approve", &seen]).assert().code(2).stderr(changed);
    assert!(!gated.has("work"));
    // The witness: the current commit is accepted, and exactly that one.
    let seen = gated.seen();
    gated.0.bottle(&["-q", "git", "gated", "approve", &seen]).assert().success();
    assert_eq!(format!("work@{}", git(gated.upstream(), &["rev-parse", "work"])), seen);
}

#[test]
fn no_guest_can_reach_the_quarantine_or_an_upstreams_hooks() {
    let gated = Gated::new("");
    let state = gated.0.on_host("state");
    let volume = format!("[[guest.volumes]]\nhost = \"{}\"\nguest = \"/s\"\n", state.display());
    gated.0.put("bottle.toml", &format!("{CONFIG}{volume}"));
    let refused = predicate::str::contains("holds git-gate's quarantine");
    gated.0.bottle(&["--i-know", "plan"]).assert().code(2).stderr(refused);
    git(gated.0.folder(), &["clone", "-q", "--bare", ".", "inner.git"]);
    gated.0.put("bottle.toml", &format!("{}upstream = \"./inner.git\"\n", writable()));
    let refused = predicate::str::contains("is in a folder that the guest can write");
    gated.0.bottle(&["plan"]).assert().code(2).stderr(refused);
    // The witness: the plan shows an upstream outside the project.
    gated.0.put("bottle.toml", CONFIG);
    let shown = predicate::str::contains(format!("-> origin ({})", gated.upstream().display()));
    gated.0.bottle(&["plan"]).assert().success().stdout(shown);
}

#[test]
fn the_operator_names_the_upstream_of_a_repository_that_a_guest_had_before_the_gate() {
    let project = repository(&format!("slug = \"gated\"\n{WRITABLE}"), &[]);
    project.bottle(&["-q", "up"]).assert().success();
    // The upstream does not have the guest's commit.
    git(project.folder(), &["commit", "-q", "--allow-empty", "-m", "as if it were yours"]);
    project.bottle(&["-q", "rm", "--force", "gated"]).assert().success();
    project.put("bottle.toml", &writable());
    let noted = predicate::str::contains("a guest could have written that");
    project.bottle(&["plan"]).assert().stderr(noted);
    project.put("bottle.toml", &format!("{}upstream = \"../upstream.git\"\n", writable()));
    project.bottle(&["-q", "up", "--trust"]).assert().success();
    let gated = Gated::cloned(RunningBottle::new(project).unwrap());
    gated.guest("git checkout -qb work; echo two >> file; git commit -qam second; git push -q origin work");
    let waiting = gated.waiting();
    let work = waiting.iter().find(|push| push["push"]["branch"] == "work").unwrap();
    assert_eq!(work["push"]["commits"], 2, "{work}");
    let seen = format!("work@{}", work["push"]["new"].as_str().unwrap());
    gated.0.bottle(&["git", "gated", "diff", &seen]).assert().success();
    gated.0.bottle(&["-q", "git", "gated", "approve", &seen]).assert().success();
    assert!(gated.has("work"));
}

#[test]
fn a_repository_with_sha_256_works_the_same_way() {
    let gated = Gated::cloned(up_with(repository(CONFIG, &["--object-format=sha256"]), &[]));
    gated.guest("git checkout -q -b work; echo two >> file; git commit -qam second; git push -q origin work");
    let seen = gated.seen();
    assert_eq!(seen.len(), "work@".len() + 64, "{seen}");
    gated.0.bottle(&["-q", "git", "gated", "reject", &seen]).assert().success();
    assert!(gated.waiting().is_empty());
    gated.guest("git push -q origin work");
    gated.0.bottle(&["-q", "git", "gated", "approve", &seen]).assert().success();
    assert!(gated.has("work") && gated.waiting().is_empty());
}

#[test]
fn only_gits_own_services_for_known_repositories_are_served() {
    let gated = Gated::new("");
    for (path, code) in [
        ("/project.git/info/refs?service=git-upload-pack", "200"),
        ("/project.git/info/refs", "403"),
        ("/project.git/info/refs?service=git-upload-archive", "403"),
        ("/project.git/HEAD", "404"),
        ("/project.git/config", "404"),
        ("/project.git/objects/info/packs", "404"),
        ("/other.git/info/refs?service=git-upload-pack", "404"),
        ("/../project.git/info/refs?service=git-upload-pack", "404"),
        ("/project.git/../project.git/config", "404"),
        ("/", "404"),
    ] {
        let said = gated.guest(&format!(
            "curl -sS -o /dev/null -w '%{{http_code}}' --path-as-is \"$BOTTLE_GIT_GATE{path}\""
        ));
        assert_eq!(said, code, "{path}");
    }
    // The agent does not see the quarantine's refs.
    let said = gated.guest("git ls-remote origin");
    assert!(said.contains("refs/heads/main") && !said.contains("refs/bottle"), "{said}");
}

/// gitleaks knows more kinds of secrets than the built-in patterns.
#[test]
fn gitleaks_is_used_if_it_is_installed() {
    let tools = checkout().tools().join("gitleaks");
    let gated = Gated::with_tools("", &[&tools]);
    let secret = "hooks.slack.com/services/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";
    let said = gated.guest(&format!("git checkout -q -b x; echo url=https://{secret} > hook.ini; git add .; git commit -qm x; git push origin x"));
    assert!(said.contains("a secret: slack-web-hook in hook.ini:1"), "{said}");
    assert!(
        said.contains("refused: it contains what looks like a secret") && !said.contains(secret),
        "{said}"
    );
    assert!(gated.waiting().is_empty());
    let said = gated.guest(
        "git checkout -q -b y origin/main; echo fine > fine; git add .; git commit -qm y; git push origin y",
    );
    assert!(said.contains("waits for your operator"), "{said}");

    // If gitleaks fails, the push is refused.
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path();
    fs::write(broken.join("gitleaks"), "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(broken.join("gitleaks"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    drop(gated);
    let gated = Gated::with_tools("", &[broken]);
    let said =
        gated.guest("git checkout -q -b y; echo fine > fine; git add .; git commit -qm y; git push origin y");
    assert!(said.contains("gitleaks failed") && gated.waiting().is_empty(), "{said}");
}
