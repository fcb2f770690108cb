//! git-gate, with a stand-in guest and real git at both ends.

use bottle_harness::place::Place;
use bottle_tests::World;
use predicates::prelude::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project with a repository, its upstream beside it, and a bottle that is up.
struct Gated(World);

fn git(dir: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let output = Command::new("git").args(identity).args(words).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Gated {
    fn new(policy: &str) -> Self {
        Self::with(policy, &[])
    }

    /// The same, with tools that the keeper finds before others.
    fn with(policy: &str, tools: &[&Path]) -> Self {
        let world = World::with(&format!(
            "slug = \"gated\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n{policy}"
        ));
        let project = world.path("project");
        git(&project, &["init", "-q", "-b", "main"]);
        world.write(".gitignore", "bottle.toml\n");
        world.write("file", "one\n");
        git(&project, &["add", "."]);
        git(&project, &["commit", "-q", "-m", "first"]);
        git(world.path(".").as_path(), &["clone", "-q", "--bare", "project", "upstream.git"]);
        git(&project, &["remote", "add", "origin", "../upstream.git"]);
        let mut up = world.bottle(&["-q", "up"]);
        let path = up
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .and_then(|(_, value)| value.map(ToOwned::to_owned));
        let path = path.unwrap().into_string().unwrap();
        let path = tools.iter().fold(path, |path, dir| format!("{}:{path}", dir.display()));
        up.env("PATH", path).assert().success();
        let gated = Self(world);
        let said = gated.guest(
            "git config --global user.name agent; git config --global user.email agent@example.com; \
             git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work && cat /tmp/work/file",
        );
        assert_eq!(said, "one\n");
        gated
    }

    /// What a script prints in the guest, both streams.
    fn guest(&self, script: &str) -> String {
        let words = [
            "-q",
            "exec",
            "--",
            "sh",
            "-c",
            &format!("export HOME=/root; cd /tmp/work 2>/dev/null; ({script}) 2>&1"),
        ];
        String::from_utf8(self.0.bottle(&words).output().unwrap().stdout).unwrap()
    }

    fn waiting(&self) -> Vec<Value> {
        let output = self.0.bottle(&["git", "gated", "list", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What waits on the only branch, as `approve` and `reject` take it: `BRANCH@COMMIT`.
    fn seen(&self) -> String {
        let waiting = self.waiting();
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        let push = &waiting[0]["push"];
        format!("{}@{}", push["branch"].as_str().unwrap(), push["new"].as_str().unwrap_or("deleted"))
    }

    fn upstream(&self) -> PathBuf {
        self.0.path("upstream.git")
    }

    fn has(&self, branch: &str) -> bool {
        let words = ["rev-parse", "--verify", "--quiet", branch];
        Command::new("git").args(words).current_dir(self.upstream()).output().unwrap().status.success()
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force"]).output();
    }
}

#[test]
fn a_push_waits_for_a_person_who_looks_and_approves() {
    let gated = Gated::new("");
    let (project, before) = (gated.0.path("project"), git(&gated.0.path("project"), &["for-each-ref"]));
    let said = gated.guest(
        "git checkout -q -b work; echo two >> file; git commit -qam 'second \x1b[31m'; git push origin work",
    );
    assert!(
        said.contains("remote: bottle: refs/heads/work: waits for your operator: bottle git gated approve"),
        "{said}"
    );
    assert!(said.contains("[new branch]      work -> work"), "{said}");
    // It is in quarantine, and nowhere else.
    assert!(!gated.has("work"));
    assert_eq!(git(&project, &["for-each-ref"]), before);
    let waiting = gated.waiting();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(
        (&waiting[0]["push"]["branch"], &waiting[0]["push"]["commits"]),
        (&Value::from("work"), &Value::from(1))
    );
    let list = gated.0.bottle(&["git", "gated", "list"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
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
        .stderr(predicate::str::contains("nothing of that name waits"));

    // The next one is taken back: the agent's branch is again what the upstream has.
    gated.guest("echo three >> file; git commit -qam third; git push -q origin work");
    gated.0.bottle(&["-q", "git", "gated", "reject", &gated.seen()]).assert().success();
    assert!(gated.waiting().is_empty());
    assert_eq!(gated.guest("git fetch -q && git log -1 --format=%an origin/work"), "agent\n");
    assert_eq!(git(&gated.upstream(), &["rev-list", "--count", "work"]), "2");

    let log = gated.0.bottle(&["logs"]).output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    for event in ["git-gate  waiting", "git-gate  approved", "git-gate  rejected"] {
        assert!(log.contains(event), "{event}: {log}");
    }
}

#[test]
fn what_the_policy_refuses_changes_nothing_and_says_why() {
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
        // A commit in the middle, whose change a later one takes back.
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
    let log = gated.0.bottle(&["logs", "--denied"]).output().unwrap();
    assert!(String::from_utf8_lossy(&log.stdout).matches("git-gate").count() >= 9);
}

#[test]
fn what_a_rule_allows_goes_on_at_once() {
    let gated = Gated::new(
        "[git-gate.repo.policy]\nrules = [{ ref = \"refs/heads/agent/*\", verdict = \"allow\" }]\n",
    );
    let said = gated.guest(
        "git checkout -q -b agent/one; echo two >> file; git commit -qam second; git push origin agent/one",
    );
    assert!(said.contains("remote: bottle: refs/heads/agent/one: the upstream has it"), "{said}");
    assert!(gated.has("agent/one") && gated.waiting().is_empty());
    // An upstream that does not take it: the agent is told, and it waits.
    git(&gated.upstream(), &["config", "receive.denyCurrentBranch", "refuse"]);
    fs::rename(gated.upstream(), gated.0.path("gone.git")).unwrap();
    let said = gated.guest("echo three >> file; git commit -qam third; git push origin agent/one");
    assert!(said.contains("the upstream of project did not take agent/one"), "{said}");
    assert_eq!(gated.waiting().len(), 1);
}

/// Pushes a branch, changes the operator's repository, and starts again. Returns what waits then.
fn restarted(gated: &Gated) -> Vec<Value> {
    gated.guest("git checkout -q -b mine; echo two >> file; git commit -qam second; git push -q origin mine");
    let project = gated.0.path("project");
    gated.0.write("file", "changed by the user\n");
    git(&project, &["commit", "-qam", "the user's"]);
    git(&project, &["branch", "theirs"]);
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
fn a_restart_brings_what_is_new_and_keeps_what_waits() {
    let gated = Gated::new("[workspace]\nmode = \"copy\"\n");
    let waiting = restarted(&gated);
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["push"]["branch"], "mine");
}

#[test]
fn what_a_guest_could_have_committed_itself_waits_too() {
    // The project is mounted writable: whose commits are in its `.git`, nobody can tell.
    let gated = Gated::new("");
    let waiting = restarted(&gated);
    let named: Vec<_> = waiting
        .iter()
        .map(|push| (push["push"]["branch"].as_str().unwrap(), &push["push"]["pushed"]))
        .collect();
    assert_eq!(
        named,
        [("main", &Value::from(false)), ("mine", &Value::from(true)), ("theirs", &Value::from(false))]
    );
    let list = gated.0.bottle(&["git", "gated", "list"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&list.stdout).contains("(in your repository, which the guest can write)")
    );
    // What builds on it is shown from where the upstream is for sure.
    gated.guest("git config --global user.name a; git config --global user.email a@example.com; git checkout -q -b work origin/main; echo more > more; git add .; git commit -qm more; git push -q origin work");
    let shown = gated.0.bottle(&["git", "gated", "diff", "work"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("+changed by the user") && shown.contains("A more"), "{shown}");
    let main = waiting[0]["push"]["new"].as_str().unwrap();
    gated.0.bottle(&["-q", "git", "gated", "approve", &format!("main@{main}")]).assert().success();
    assert_eq!(git(&gated.upstream(), &["rev-parse", "main"]), main);
    let shown = gated.0.bottle(&["git", "gated", "diff", "work"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(!shown.contains("+changed by the user") && shown.contains("A more"), "{shown}");
}

#[test]
fn a_decision_names_the_commit_that_was_seen() {
    let gated = Gated::new("");
    gated.guest("git checkout -q -b work; echo two >> file; git commit -qam second; git push -q origin work");
    let seen = gated.seen();
    let commit = seen.rsplit('@').next().unwrap();
    for verb in ["approve", "reject"] {
        // Nobody is there to be shown it: the hint is the command to run after a look.
        for words in [vec![verb], vec![verb, "work"]] {
            let words = [vec!["git", "gated"], words].concat();
            let hint = format!("`bottle git gated {verb} {seen}`");
            gated.0.bottle(&words).assert().code(2).stderr(predicate::str::contains(hint));
        }
        for (named, said) in [
            (&commit[..12], "is no whole commit id"),
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
    // The witness: what is there now is taken, and it is exactly that.
    let seen = gated.seen();
    gated.0.bottle(&["-q", "git", "gated", "approve", &seen]).assert().success();
    assert_eq!(format!("work@{}", git(&gated.upstream(), &["rev-parse", "work"])), seen);
}

#[test]
fn no_guest_gets_the_quarantine_or_an_upstream_with_hooks() {
    let gated = Gated::new("");
    let state = gated.0.path("state");
    let volume = format!("[[guest.volumes]]\nhost = \"{}\"\nguest = \"/s\"\n", state.display());
    let config = "slug = \"gated\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n";
    gated.0.write("bottle.toml", &format!("{config}{volume}"));
    let refused = predicate::str::contains("holds git-gate's quarantine");
    gated.0.bottle(&["--i-know", "plan"]).assert().code(2).stderr(refused);
    git(&gated.0.path("project"), &["clone", "-q", "--bare", ".", "inner.git"]);
    gated.0.write("bottle.toml", &format!("{config}upstream = \"./inner.git\"\n"));
    let refused = predicate::str::contains("is in a folder that the guest can write");
    gated.0.bottle(&["plan"]).assert().code(2).stderr(refused);
    // The witness: outside of it, it is said where the upstream is.
    gated.0.write("bottle.toml", config);
    let shown = predicate::str::contains(format!("-> origin ({})", gated.upstream().display()));
    gated.0.bottle(&["plan"]).assert().success().stdout(shown);
}

#[test]
fn a_repository_that_was_a_guests_before_the_gate_has_the_upstream_that_a_person_names() {
    let world = World::with("slug = \"gated\"\n");
    let project = world.path("project");
    git(&project, &["init", "-q", "-b", "main"]);
    world.write("file", "one\n");
    git(&project, &["add", "file"]);
    git(&project, &["commit", "-q", "-m", "first"]);
    git(&project, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(&project, &["remote", "add", "origin", "../upstream.git"]);
    world.bottle(&["-q", "up"]).assert().success();
    // What the guest commits is none of the upstream's.
    git(&project, &["commit", "-q", "--allow-empty", "-m", "as if it were yours"]);
    world.bottle(&["-q", "rm", "--force", "gated"]).assert().success();
    let config = "slug = \"gated\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n";
    world.write("bottle.toml", config);
    let noted = predicate::str::contains("a guest could have written that");
    world.bottle(&["plan"]).assert().stderr(noted);
    world.write("bottle.toml", &format!("{config}upstream = \"../upstream.git\"\n"));
    world.bottle(&["-q", "up", "--trust"]).assert().success();
    let gated = Gated(world);
    gated.guest(
        "git config --global user.name agent; git config --global user.email agent@example.com; \
         git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work",
    );
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
fn a_repository_with_sha_256_works_alike() {
    let world = World::with("slug = \"gated\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n");
    let project = world.path("project");
    git(&project, &["init", "-q", "-b", "main", "--object-format=sha256"]);
    world.write("file", "one\n");
    git(&project, &["add", "file"]);
    git(&project, &["commit", "-q", "-m", "first"]);
    git(&project, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(&project, &["remote", "add", "origin", "../upstream.git"]);
    world.bottle(&["-q", "up"]).assert().success();
    let gated = Gated(world);
    gated.guest(
        "git config --global user.name agent; git config --global user.email agent@example.com; \
         git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work; cd /tmp/work; git checkout -q -b work; \
         echo two >> file; git commit -qam second; git push -q origin work",
    );
    let seen = gated.seen();
    assert_eq!(seen.len(), "work@".len() + 64, "{seen}");
    gated.0.bottle(&["-q", "git", "gated", "reject", &seen]).assert().success();
    assert!(gated.waiting().is_empty());
    gated.guest("git push -q origin work");
    gated.0.bottle(&["-q", "git", "gated", "approve", &seen]).assert().success();
    assert!(gated.has("work") && gated.waiting().is_empty());
}

#[test]
fn only_gits_own_services_of_known_repositories_are_served() {
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
    // What the agent does not see: where the upstream is.
    let said = gated.guest("git ls-remote origin");
    assert!(said.contains("refs/heads/main") && !said.contains("refs/bottle"), "{said}");
}

#[test]
fn a_bad_git_gate_is_refused_with_file_and_line() {
    for (config, wanted) in [
        ("[git-gate]\n", "bottle.toml:1:1: "),
        (
            "[git-gate]\naddress = \"127.0.0.1:1\"\n[[git-gate.repo]]\n",
            "repositories belong to the built-in git-gate",
        ),
        ("[[git-gate.repo]]\npath = \"nowhere\"\n", "nowhere is not there"),
        ("[[git-gate.repo]]\nname = \"A B\"\n", "a slug holds only"),
        (
            "[[git-gate.repo]]\npolicy = { rules = [{ ref = \"main\", verdict = \"ask\" }] }\n",
            "\"main\" is not a ref such as",
        ),
        (
            "[[git-gate.repo]]\npolicy = { rules = [{ ref = \"refs/heads/x\", verdict = \"maybe\" }] }\n",
            "unknown variant `maybe`",
        ),
        ("[[git-gate.repo]]\npolicy = { forse = true }\n", "unknown field `forse`"),
    ] {
        let world = World::with(config);
        world.bottle(&["plan"]).assert().code(2).stderr(predicate::str::contains(wanted));
    }
}

/// gitleaks knows more kinds of secrets than the patterns that are built in.
#[test]
fn gitleaks_is_asked_where_it_is_installed() {
    let tools = Place::find().unwrap().tools().join("gitleaks");
    let gated = Gated::with("", &[&tools]);
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

    // One that fails says nothing about a push: it is refused.
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path();
    fs::write(broken.join("gitleaks"), "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(broken.join("gitleaks"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    drop(gated);
    let gated = Gated::with("", &[broken]);
    let said =
        gated.guest("git checkout -q -b y; echo fine > fine; git add .; git commit -qm y; git push origin y");
    assert!(said.contains("gitleaks failed") && gated.waiting().is_empty(), "{said}");
}
