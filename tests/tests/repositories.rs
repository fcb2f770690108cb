//! git-gate with repositories as people have them. Each row of a table is served as a whole: a guest
//! clones it, commits and pushes, its operator looks and approves, and the upstream has it. Those that are
//! refused are in `tests/cases/gate-*`.

use bottle_tests::{
    ProjectExt, RunningBottle, RunningBottleExt, checkout, empty_project, git, project_with, up_with,
};
use predicates::prelude::*;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What every script begins with. `$R` is the folder of the repository, and `$U` that of its upstream.
const PRELUDE: &str = r#"
set -e
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.com GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.com
first() { echo one > file; git add file; git commit -q -m first; }
upstream() { git clone -q --bare . "$U"; git remote add origin "$U"; }
new() { git init -q -b main "$@" "$R"; cd "$R"; first; upstream; }
raw() { git hash-object -t "$1" -w --stdin --literally; }
"#;

/// A repository that is served.
struct Served {
    name: &'static str,
    /// How it is made.
    script: &'static str,
    /// What `plan` says about it.
    note: &'static str,
    /// A command in the guest's clone, and a part of its output.
    look: (&'static str, &'static str),
}

const ONE: (&str, &str) = ("cat file", "one\n");

const SERVED: &[Served] = &[
    Served { name: "plain", script: "new", note: "", look: ONE },
    Served { name: "packed", script: "new; git pack-refs --all; git gc -q", note: "", look: ONE },
    Served {
        name: "bare",
        script: "new; cd ..; mv \"$R\" \"$R.old\"; git clone -q --bare \"$R.old\" \"$R\"; git -C \"$R\" remote set-url origin \"$U\"",
        note: "",
        look: ONE,
    },
    Served {
        name: "worktree",
        script: "R=\"$R.main\"; new; git worktree add -q -b side \"${R%.main}\"",
        note: "",
        look: ("git branch --show-current", "side\n"),
    },
    Served {
        name: "borrows",
        script: "new; git repack -q -a -d; cp -r \"$R\" \"$R.one\"; rm -r .git; \
                 git clone -q --shared \"$R.one\" \"$R.two\"; (cd \"$R.two\"; echo two > two; git add two; git commit -q -m second); \
                 git clone -q --shared \"$R.two\" \"$R.three\"; mv \"$R.three/.git\" .; git remote set-url origin \"$U\"; \
                 echo ../../../borrows.two/.git/objects > .git/objects/info/alternates",
        note: "",
        look: ("cat file two", "one\ntwo\n"),
    },
    Served {
        name: "sha256",
        script: "new --object-format=sha256",
        note: "",
        look: ("git rev-parse --show-object-format", "sha256\n"),
    },
    Served {
        name: "detached",
        script: "new; git switch -q --detach; git commit -q --allow-empty -m lost",
        note: "its HEAD is detached",
        look: ("git branch --show-current; cat file", "main\none\n"),
    },
    Served {
        name: "unborn",
        script: "new; git switch -q --orphan next",
        note: "its branch next has no commit yet",
        look: ("git branch --show-current; cat file", "main\none\n"),
    },
    Served {
        name: "empty",
        script: "git init -q -b trunk \"$R\"; cd \"$R\"; upstream",
        note: "it has no commit yet",
        look: ("git branch --show-current; ls -A", "trunk\n.git\n"),
    },
    Served {
        name: "empty256",
        script: "git init -q -b trunk --object-format=sha256 \"$R\"; cd \"$R\"; upstream",
        note: "it has no commit yet",
        look: ("git rev-parse --show-object-format", "sha256\n"),
    },
    Served {
        // A name without a space before the address, a mode with a zero in front, and a file twice.
        name: "malformed",
        script: r#"new; b=$(git rev-parse HEAD:file); e() { printf "$1 $2\0"; printf "$b" | sed 's/../\\x&/g' | xargs -0 env printf; }
            t=$( (e 0100644 file; e 100644 file) | raw tree)
            c=$(printf "tree $t\nauthor t<t@example.com> 1000000000 +0000\ncommitter t <t@example.com> 1000000000 +0000\n\nold\n" | raw commit)
            c=$(git commit-tree -p $c -m now HEAD^{tree}); git update-ref refs/heads/main $c; git push -q --force origin main"#,
        note: "",
        look: ("git log --format=%s", "now\nold\n"),
    },
    Served {
        name: "submodules",
        script: r#"new; printf '[submodule "s"]\n\tpath = lib/s\n\turl = ../s.git\n' > .gitmodules; git add .gitmodules
            git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),lib/s; git commit -q -m modules; git push -q origin main"#,
        note: "its submodules are not served with it (lib/s)",
        look: ("git ls-tree HEAD lib/s", "160000 commit"),
    },
    Served {
        name: "lfs",
        script: r#"new; echo '*.bin filter=lfs' > .gitattributes
            printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 1\n' 1 > a.bin; git add .; git commit -q -m lfs; git push -q origin main"#,
        note: "files in Git LFS are served as pointers",
        look: ("cat a.bin", "oid sha256:"),
    },
    Served {
        name: "odd-refs",
        script: "new; git update-ref refs/pull/1/head HEAD; git notes add -m note; git tag v1; git tag -a -m two v2; git branch Main; \
                 git symbolic-ref refs/heads/trunk refs/heads/main; : > .git/refs/heads/torn; : > .git/index.lock",
        note: "not served: refs/heads/torn",
        look: (
            "git ls-remote --refs origin | cut -f 2",
            "refs/heads/Main\nrefs/heads/main\nrefs/heads/trunk\nrefs/tags/v1\nrefs/tags/v2\n",
        ),
    },
    Served {
        name: "replaced",
        script: "new; git commit -q --allow-empty -m second; git push -q origin main; git replace --graft HEAD",
        note: "its grafts and replacements are not applied",
        look: ("git log --format=%s", "second\nfirst\n"),
    },
    Served { name: "spaces", script: "R=\"${R%/*}/ein Ort für’s\"; new", note: "", look: ONE },
    Served {
        name: "unshallowed",
        script: "new; git commit -q --allow-empty -m second; git push -q origin main; rm -r .git; \
                 git clone -q --depth 1 \"file://$U\" \"$R.c\"; mv \"$R.c/.git\" .; git fetch -q --unshallow",
        note: "",
        look: ("git log --format=%s", "second\nfirst\n"),
    },
    Served {
        name: "completed",
        script: "new; echo two > file; git commit -qam second; git push -q origin main; rm -r .git; git -C \"$U\" config uploadpack.allowFilter true; \
                 git clone -q --filter=blob:none --no-checkout \"file://$U\" \"$R.c\"; mv \"$R.c/.git\" .; git fetch -q --refetch --no-filter; \
                 git config --unset remote.origin.promisor; git config --unset remote.origin.partialclonefilter",
        note: "",
        look: ("git show HEAD~1:file HEAD:file", "one\ntwo\n"),
    },
    Served {
        name: "many-refs",
        script: "git init -q -b main \"$R\"; cd \"$R\"; first; c=$(git rev-parse HEAD); git pack-refs --all; seq 10000 | sed \"s,.*,$c refs/heads/many/&,\" >> .git/packed-refs; sed -i /^#/d .git/packed-refs; upstream",
        note: "",
        look: ("git branch -r | wc -l", "10002\n"),
    },
];

/// Runs a script that makes a repository.
fn make(folder: &Path, name: &str, script: &str) {
    let output = Command::new("sh")
        .args(["-c", &format!("{PRELUDE}{script}")])
        .env("R", folder.join("repositories").join(name))
        .env("U", folder.join("upstreams").join(format!("{name}.git")))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Clones a repository in the guest, changes it, and pushes a branch. Returns what was said.
fn change(running: &RunningBottle, served: &Served) -> String {
    running.guest(&format!(
        "exec 2>&1; export HOME=/root; cd /tmp; git clone -q $BOTTLE_GIT_GATE/{name}.git {name} && cd {name} && \
         {{ {look}; }} && git checkout -q -b work && echo new > new && git add new && git commit -q -m new && git push origin work",
        name = served.name,
        look = served.look.0
    ))
}

#[test]
fn repositories_as_people_have_them_work_through_the_gate() {
    let begin = Instant::now();
    let project = empty_project();
    let folder = project.environment().folder().to_owned();
    for name in ["repositories", "upstreams"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let mut config = "slug = \"gated\"\n[workspace]\nmode = \"none\"\n".to_owned();
    for Served { name, script, .. } in SERVED {
        make(&folder, name, script);
        let path = if *name == "spaces" { "ein Ort für’s" } else { name };
        writeln!(config, "[[git-gate.repo]]\nname = \"{name}\"\npath = \"../repositories/{path}\"").unwrap();
    }
    project.put("bottle.toml", &config);
    println!("made: {:?}", begin.elapsed());
    let planned = project.bottle(&["plan"]).assert().success();
    let said = String::from_utf8_lossy(&planned.get_output().stderr).into_owned();
    let mut faults = Vec::new();
    for Served { name, note, .. } in SERVED {
        let noted: Vec<&str> = said.lines().filter(|line| line.contains(&format!("{name}: "))).collect();
        if noted.is_empty() != note.is_empty() || !noted.iter().all(|line| line.contains(note)) {
            faults.push(format!("{name}: `plan` says {noted:?}"));
        }
    }
    println!("planned: {:?}", begin.elapsed());
    let start = Instant::now();
    let running = up_with(project, &[]);
    println!("up: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(40), "`up` took {:?}", start.elapsed());
    running.guest(
        "export HOME=/root; git config --global user.name a; git config --global user.email a@example.com",
    );
    for served in SERVED {
        let name = served.name;
        let start = Instant::now();
        let said = change(&running, served);
        if !said.starts_with(served.look.1) && !said.contains(served.look.1) {
            faults.push(format!("{name}: the clone is not as it should be: {said}"));
        }
        if !said.contains("remote: bottle: refs/heads/work: waits for your operator") {
            faults.push(format!("{name}: the push does not wait: {said}"));
            continue;
        }
        let rows: Vec<Value> =
            serde_json::from_value(running.json(&["git", "gated", "list", "--json"])).unwrap();
        let row = rows.iter().find(|row| row["repo"] == name && row["push"]["branch"] == "work");
        let Some(commit) = row.and_then(|row| row["push"]["new"].as_str()) else {
            faults.push(format!("{name}: it is not in the list: {rows:?}"));
            continue;
        };
        let seen = format!("work@{commit}");
        let shown = running.said(&["git", "gated", "diff", "--repo", name, &seen]);
        if !shown.contains("+new") {
            faults.push(format!("{name}: `diff` shows {shown}"));
        }
        let approved =
            running.bottle(&["-q", "git", "gated", "approve", "--repo", name, &seen]).output().unwrap();
        let upstream = folder.join("upstreams").join(format!("{name}.git"));
        let has = Command::new("git").args(["rev-parse", "work"]).current_dir(upstream).output().unwrap();
        if String::from_utf8_lossy(&has.stdout).trim() != commit {
            faults.push(format!(
                "{name}: the upstream does not have it: {}",
                String::from_utf8_lossy(&approved.stderr)
            ));
        }
        println!("{name}: {:?}", start.elapsed());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // Objects that a guest pushes are still checked.
    let said = running.guest(
        "exec 2>&1; export HOME=/root; cd /tmp/malformed; \
         c=$(printf \"tree $(git rev-parse HEAD^{tree})\\nauthor a<a@example.com> 1 +0000\\ncommitter a <a@example.com> 1 +0000\\n\\nx\\n\" \
         | git hash-object -t commit -w --stdin --literally); git push origin $c:refs/heads/malformed",
    );
    assert!(said.contains("missingSpaceBeforeEmail") && !said.contains("waits"), "{said}");
    println!("tried: {:?}", begin.elapsed());
    // Git LFS is told in its own form, at once.
    let said = running.guest(
        "exec 2>&1; cd /tmp; head -c 300000 /dev/zero > body; for path in objects/batch locks/verify; do \
         curl -sS -m 5 -w '%{http_code} %{content_type}\\n' -H 'content-type: application/vnd.git-lfs+json' \
         --data-binary @body $BOTTLE_GIT_GATE/lfs.git/info/lfs/$path; done",
    );
    for part in [
        "does not carry the contents of Git LFS files",
        "403 application/vnd.git-lfs+json",
        "404 application/vnd.git-lfs+json",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

/// The client that people have says why it gets no contents, and does not wait, retry or leave pointers without
/// a word.
#[test]
fn git_lfs_itself_is_refused_at_once_and_says_why() {
    const WHY: &str = "git-gate does not carry the contents of Git LFS files";
    let lfs = checkout().tools().join("git-lfs");
    assert!(lfs.join("git-lfs").exists(), "`make setup` fetches it");
    let project = empty_project();
    let folder = project.environment().folder().to_owned();
    for name in ["repositories", "upstreams"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let served = SERVED.iter().find(|served| served.name == "lfs").unwrap();
    make(&folder, "lfs", served.script);
    project.put(
        "bottle.toml",
        &format!(
            "slug = \"t\"\n[workspace]\nmode = \"none\"\n[[guest.volumes]]\nhost = \"{}\"\nguest = \"/lfs\"\n[[git-gate.repo]]\npath = \"../repositories/lfs\"\n",
            lfs.display()
        ),
    );
    let running = up_with(project, &[]);
    let guest = |script: &str| {
        let since = Instant::now();
        let said = running.guest(&format!(
            "exec 2>&1; export HOME=/root PATH=/lfs:$PATH; git lfs install --skip-repo > /tmp/lfs; git config --global user.name a; \
             git config --global user.email a@example.com; cd /tmp; {script}"
        ));
        assert!(since.elapsed() < Duration::from_secs(20), "{script}: {:?}: {said}", since.elapsed());
        said
    };
    let said = guest("timeout 60 git clone -q $BOTTLE_GIT_GATE/lfs.git one && echo cloned");
    assert!(
        said.contains(WHY) && said.contains("GIT_LFS_SKIP_SMUDGE=1") && !said.contains("cloned"),
        "{said}"
    );
    // As the reason says: the pointers, and everything else, are there without the contents.
    let said =
        guest("GIT_LFS_SKIP_SMUDGE=1 git clone -q $BOTTLE_GIT_GATE/lfs.git two && cat two/a.bin two/file");
    assert!(said.contains("oid sha256:") && said.contains("one") && !said.contains(WHY), "{said}");
    // A push of new contents would leave the upstream with a pointer to nothing.
    let said = guest(
        "cd two && git checkout -q -b contents && head -c 100000 /dev/zero > b.bin && git add b.bin && \
         git commit -q -m contents && timeout 60 git push origin contents",
    );
    assert!(said.contains(WHY) && !said.contains("waits for your operator"), "{said}");
    let said = guest(
        "cd two && git checkout -q -b text origin/main && echo more > more && git add more && git commit -q -m more && \
         timeout 60 git push origin text",
    );
    assert!(said.contains("refs/heads/text: waits for your operator"), "{said}");
}

/// A history that git would refuse in a push, and that a guest had in its reach in the meantime.
#[test]
fn an_old_history_is_still_served_after_a_guest_could_write_to_it() {
    let config =
        "slug = \"gated\"\n[workspace]\nmode = \"read-write\"\n[[git-gate.repo]]\nname = \"project\"\n";
    let project = project_with("");
    let folder = project.environment().folder().to_owned();
    for name in ["repositories", "upstreams"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let malformed = SERVED.iter().find(|served| served.name == "malformed").unwrap();
    make(&folder, malformed.name, malformed.script);
    fs::rename(folder.join("repositories/malformed/.git"), project.path(".git")).unwrap();
    fs::rename(folder.join("repositories/malformed/file"), project.path("file")).unwrap();
    project.put("bottle.toml", config);
    let running = up_with(project, &[]);
    git(running.folder(), &["checkout", "-q", "-f", "main"]);
    git(running.folder(), &["commit", "-q", "--allow-empty", "-m", "mine"]);
    for words in [&["-q", "rm", "--force", "gated"][..], &["-q", "up", "--trust"]] {
        running.bottle(words).assert().success();
    }
    let clone = "exec 2>&1; export HOME=/root; cd /tmp; rm -rf c; git clone -q $BOTTLE_GIT_GATE/project.git c && git -C c log --format=%s";
    assert_eq!(running.guest(clone), "mine\nnow\nold\n");
    // What was not known before a guest could write is checked like a push.
    let bad = "new_bad() { c=$(printf \"tree $(git rev-parse HEAD^{tree})\\nparent $(git rev-parse HEAD)\\nauthor a <a@example.com> 1 +0000\\n\\nx\\n\" | git hash-object -t commit -w --stdin --literally); git update-ref refs/heads/bad $c; }; cd /workspace && new_bad";
    running.guest(&format!("export HOME=/root; git config --global safe.directory '*'; {bad}"));
    running.bottle(&["-q", "restart"]).assert().success();
    let list = running.bottle(&["git", "gated", "list"]).assert().success();
    list.stderr(predicate::str::contains("missingCommitter"));
    assert!(!running.guest(&clone.replace("log --format=%s", "branch -r")).contains("origin/bad"));
}

/// A start that could not read everything must not leave a repository behind that is served as empty.
#[test]
fn a_repository_with_missing_objects_is_never_served() {
    let project = empty_project();
    let folder = project.environment().folder().to_owned();
    for name in ["repositories", "upstreams"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    make(&folder, "torn", "new; b=$(git rev-parse HEAD:file); d=${b#??}; rm -f .git/objects/${b%$d}/$d");
    project.put(
        "bottle.toml",
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n[[git-gate.repo]]\npath = \"../repositories/torn\"\n",
    );
    for _ in 0..2 {
        project
            .bottle(&["-q", "up"])
            .assert()
            .failure()
            .stderr(predicate::str::contains("cannot copy the objects"));
    }
    assert!(!project.on_host("state/t/git/torn.git/bottle-size").exists());
}
