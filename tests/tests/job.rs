//! `bottle run --out`: what is kept of a run, and what is left of it, however it ends.

use bottle::args::Document;
use bottle_harness::processes::{descendants, naming};
use bottle_harness::schema::fits;
use bottle_tests::{
    Project, ProjectExt, alone, command_line, empty_project, eventually, git, kill, project_with,
};
use predicates::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const SLUG: &str = "slug = \"t\"\n";

/// Reads a run's result, which must have the form that its schema says.
fn result(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("result.json")).unwrap();
    let result: Value = serde_json::from_str(&text).unwrap();
    fits(Document::Result, &result).unwrap();
    result
}

/// Starts a run that changes something, says so, and sleeps. Returns once it sleeps.
fn sleeping(project: &Project, out: &str, id: &str) -> Child {
    let script = "echo changed >> file; echo up; exec sleep 4711";
    let mut command = project.command(&["-q", "run", "--out", out, "--id", id, "--", "sh", "-c", script]);
    let child = command.stdin(Stdio::null()).spawn().unwrap();
    let stdout = project.path(out).join("stdout");
    eventually("the guest is up", || fs::read(&stdout).is_ok_and(|said| said == b"up\n"));
    child
}

/// Checks that nothing of a run is left on this machine: no process, socket or folder.
fn nothing_is_left(project: &Project, slug: &str, within: Duration) {
    let folders = [format!("state/{slug}"), format!("run/{slug}"), format!("run/.copies/{slug}")];
    let left = || {
        let processes = naming(&project.on_host("state")).into_iter().map(|pid| command_line(pid.into()));
        let folders = folders.iter().map(|name| project.on_host(name)).filter(|path| path.exists());
        processes.chain(folders.map(|path| path.display().to_string())).collect::<Vec<_>>()
    };
    let end = Instant::now() + within;
    while !left().is_empty() {
        assert!(Instant::now() < end, "{:#?}", left());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn everything_that_came_of_a_run_is_kept_and_nothing_else() {
    let project = project_with(SLUG);
    project.put("file", "1\n");
    project.put("gone", "x\n");
    fs::create_dir(project.on_host("input")).unwrap();
    fs::write(project.on_host("input/data"), "given\n").unwrap();
    let script = r#"cat /in/data; echo oops >&2; (echo no > /in/data) 2> /dev/null || echo read-only
        echo 2 >> file; rm gone; mkdir -p deep/er; echo new > deep/er/made; head -c 3000 /dev/urandom > binary
        echo 'slug = "other"' > bottle.toml; ln -s file link; ln -s /etc/passwd out; mkfifo pipe
        printf 'a\033]52;c;x\007\n' > escapes; echo odd > "$(printf 'na\033[2Jme')"; ln -s nowhere dangling
        mkdir repo; echo 'ref: refs/heads/x' > repo/HEAD; mkdir repo/objects repo/refs; touch repo/objects/x repo/refs/x
        wget -q -T 5 -O- http://192.168.1.1/ 2> /dev/null; truncate -s 9G huge; exit 7"#;
    let input = project.on_host("input");
    let input = input.to_str().unwrap();
    let words = ["-q", "run", "--out", "kept", "--in", input, "--id", "a.1", "--", "sh", "-c", script];
    project.bottle(&words).assert().code(7).stdout("").stderr(predicate::str::contains("oops").not());
    let out = project.path("kept");
    let kept = result(&out);
    assert_eq!(
        (&kept["state"], &kept["reason"], &kept["status"]),
        (&"ended".into(), &"exited".into(), &7.into())
    );
    assert_eq!(kept["id"], "a.1");
    assert_eq!(kept["missing"], serde_json::json!([]), "{kept:#}");
    assert_eq!(fs::read_to_string(out.join("stdout")).unwrap(), "given\nread-only\n");
    assert_eq!(fs::read_to_string(out.join("stderr")).unwrap(), "oops\n");
    assert_eq!(kept["outputs"]["stdout"], serde_json::json!({ "written": 16, "kept": 16 }));
    assert_eq!(kept["walls"]["stand_in"], true);
    assert!(
        kept["resources"]["cpu_ms"].as_u64() > Some(0) && kept["digests"]["plan"].is_string(),
        "{kept:#}"
    );
    // The log, and in it a refusal.
    let log = fs::read_to_string(out.join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event"] == "refused"), "{log}");
    assert!(lines.iter().any(|line| line["event"] == "stopped"), "{log}");
    // The files: what `apply` would take, but no configuration of bottle's.
    let files = out.join("files");
    let read = |name: &str| fs::read_to_string(files.join(name)).unwrap();
    assert_eq!((read("file"), read("deep/er/made")), ("1\n2\n".to_owned(), "new\n".to_owned()));
    assert_eq!(fs::read_link(files.join("link")).unwrap(), Path::new("file"));
    for name in ["out", "pipe", "bottle.toml", "repo/HEAD", "huge", "gone"] {
        assert!(fs::symlink_metadata(files.join(name)).is_err(), "{name}");
    }
    let change =
        |path: &str| kept["changes"].as_array().unwrap().iter().find(|it| it["path"] == path).cloned();
    assert_eq!(change("out").unwrap()["kept"], "leads-out");
    assert_eq!(change("huge").unwrap()["kept"], "too-large");
    assert_eq!(change("repo/HEAD").unwrap()["kept"], "repository");
    assert_eq!(change("bottle.toml").unwrap()["patch"], true);
    assert_eq!(change("gone").unwrap()["what"], "deleted");
    // The project is as it was, and the patch makes of it what the guest had.
    assert_eq!(fs::read_to_string(project.path("file")).unwrap(), "1\n");
    let patch = fs::read_to_string(out.join("changes.patch")).unwrap();
    assert!(!patch.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{patch:?}");
    let again = project.on_host("again");
    fs::create_dir(&again).unwrap();
    for name in ["file", "gone", "bottle.toml"] {
        fs::copy(project.path(name), again.join(name)).unwrap();
    }
    git(&again, &["apply", out.join("changes.patch").to_str().unwrap()]);
    assert_eq!(fs::read(again.join("binary")).unwrap(), fs::read(files.join("binary")).unwrap());
    assert_eq!(fs::read(again.join("escapes")).unwrap(), b"a\x1b]52;c;x\x07\n");
    assert_eq!(fs::read_to_string(again.join("na\x1b[2Jme")).unwrap(), "odd\n");
    assert!(!again.join("gone").exists() && again.join("bottle.toml").exists());
    nothing_is_left(&project, "t-a-1-", Duration::from_secs(5));
    let state: Vec<_> = fs::read_dir(project.on_host("state")).unwrap().flatten().collect();
    assert!(state.iter().all(|entry| entry.file_name().to_string_lossy().starts_with('.')), "{state:?}");
}

#[test]
fn output_is_kept_up_to_a_limit_and_the_guest_is_not_held_up() {
    let project = project_with(SLUG);
    let words =
        ["-q", "run", "--out", "kept", "--max-output", "1K", "--", "sh", "-c", "yes | head -c 500000"];
    project.bottle(&words).assert().success();
    let kept = result(&project.path("kept"));
    assert_eq!(kept["outputs"]["stdout"], serde_json::json!({ "written": 500_000, "kept": 1024 }));
    assert_eq!(fs::metadata(project.path("kept/stdout")).unwrap().len(), 1024);
}

#[test]
fn a_run_that_fills_the_disk_of_its_results_says_how_it_ended() {
    if !alone(module_path!(), "a_run_that_fills_the_disk_of_its_results_says_how_it_ended") {
        return;
    }
    let project = project_with(SLUG);
    let disk = project.on_host("disk");
    fs::create_dir(&disk).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=400k", "tmpfs", disk.to_str().unwrap()];
    assert!(std::process::Command::new("mount").args(mount).status().unwrap().success());
    let (out, script) =
        (disk.join("kept"), "head -c 2000000 /dev/zero; head -c 2000000 /dev/urandom > big; exit 5");
    let words = ["-q", "run", "--out", out.to_str().unwrap(), "--", "sh", "-c", script];
    project.bottle(&words).assert().code(5);
    let kept = result(&out);
    assert_eq!(
        (&kept["state"], &kept["reason"], &kept["status"]),
        (&"ended".into(), &"exited".into(), &5.into())
    );
    assert_eq!(kept["outputs"]["stdout"]["written"], 2_000_000);
    assert!(kept["missing"].to_string().contains("No space left"), "{kept:#}");
    nothing_is_left(&project, "t-", Duration::from_secs(5));
    assert!(
        std::process::Command::new("umount").args(["-l", disk.to_str().unwrap()]).status().unwrap().success()
    );
}

#[test]
fn what_was_pushed_is_a_bundle_and_the_verdict_is_kept() {
    let project = project_with("slug = \"t\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n");
    let folder = project.folder();
    git(folder, &["init", "-q", "-b", "main"]);
    project.put("file", "one\n");
    git(folder, &["add", "file"]);
    git(folder, &["commit", "-q", "-m", "first"]);
    git(folder, &["clone", "-q", "--bare", ".", "../upstream.git"]);
    git(folder, &["remote", "add", "origin", "../upstream.git"]);
    let script = "git config --global user.name a; git config --global user.email a@example.com
        git clone -q $BOTTLE_GIT_GATE/project.git /tmp/work; cd /tmp/work; echo two > file
        git commit -qam second && git push -q origin HEAD:work";
    let words = ["-q", "run", "--out", "kept", "--verify", "--", "sh", "-c", script];
    let ran = project.bottle(&words).output().unwrap();
    let out = project.path("kept");
    let stderr = fs::read_to_string(out.join("stderr")).unwrap_or_default();
    assert!(ran.status.success(), "{ran:?} {stderr}");
    let kept = result(&out);
    assert_eq!(kept["missing"], serde_json::json!([]), "{kept:#}");
    assert_eq!(kept["verify"], "isolated");
    let verdict: Value = serde_json::from_slice(&fs::read(out.join("verify.json")).unwrap()).unwrap();
    assert_eq!(verdict["verdict"], "isolated");
    assert_eq!(kept["pushes"][0]["name"], "refs/heads/work");
    let bundle = out.join("pushes/project.bundle");
    git(folder, &["fetch", "-q", bundle.to_str().unwrap(), "refs/heads/work:work"]);
    assert_eq!(git(folder, &["show", "work:file"]), "two");
    assert_eq!(git(folder, &["rev-parse", "work"]), kept["pushes"][0]["commit"].as_str().unwrap());
}

#[test]
fn a_run_that_is_told_to_end_completes_its_results() {
    let project = project_with(SLUG);
    project.put("file", "1\n");
    let mut child = sleeping(&project, "kept", "j1");
    let since = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    let kept = result(&project.path("kept"));
    assert_eq!((&kept["reason"], &kept["status"]), (&"terminated".into(), &143.into()));
    assert_eq!(fs::read_to_string(project.path("kept/files/file")).unwrap(), "1\nchanged\n");
    nothing_is_left(&project, "t-j1", Duration::from_secs(5));
    let words = ["-q", "run", "--out", "late", "--timeout", "1", "--", "sleep", "4711"];
    project.bottle(&words).assert().code(124);
    assert_eq!(result(&project.path("late"))["reason"], "timed-out");
}

#[test]
fn a_run_whose_processes_are_told_to_end_before_it_was_terminated_too() {
    let project = project_with(SLUG);
    let mut child = sleeping(&project, "kept", "j1");
    let end = |pid: u32| _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::TERM);
    // As a scheduler does it that signals each process of a job, the last ones first.
    descendants(child.id()).into_iter().rev().for_each(end);
    std::thread::sleep(Duration::from_millis(100));
    end(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let kept = result(&project.path("kept"));
    assert_eq!((&kept["reason"], &kept["status"]), (&"terminated".into(), &143.into()));
    nothing_is_left(&project, "t-j1", Duration::from_secs(5));
    // A command that ends itself with that status was not terminated.
    let words = ["-q", "run", "--out", "own", "--", "sh", "-c", "exit 143"];
    project.bottle(&words).assert().code(143);
    assert_eq!(result(&project.path("own"))["reason"], "exited");
}

/// Returns the process that would finish a run of this project.
fn heirs(project: &Project) -> Vec<u64> {
    let named = naming(&project.on_host("state")).into_iter().map(u64::from);
    named.filter(|pid| command_line(*pid).contains(" heir ")).collect()
}

#[test]
fn a_run_that_is_killed_is_finished_by_its_heir_and_nothing_is_left() {
    let project = project_with(SLUG);
    project.put("file", "1\n");
    let mut child = sleeping(&project, "kept", "j1");
    assert_eq!(heirs(&project).len(), 1);
    assert_eq!(result(&project.path("kept"))["state"], "running");
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left(&project, "t-j1", Duration::from_secs(5));
    let kept = result(&project.path("kept"));
    assert_eq!(
        (&kept["state"], &kept["reason"], &kept["status"]),
        (&"ended".into(), &"killed".into(), &Value::Null)
    );
    assert_eq!(fs::read_to_string(project.path("kept/files/file")).unwrap(), "1\nchanged\n");
    assert_eq!(fs::read_to_string(project.path("kept/stdout")).unwrap(), "up\n");
    assert_eq!(kept["outputs"]["stdout"]["kept"], 3);
    assert!(kept["walls"]["keeper"].is_object(), "{kept:#}");
    let log = fs::read_to_string(project.path("kept/audit.jsonl")).unwrap();
    assert!(log.contains("\"stopped\""), "{log}");
}

#[test]
fn a_run_of_which_everything_was_killed_is_finished_by_the_next_and_no_other_is_touched() {
    let project = project_with(SLUG);
    project.put("file", "1\n");
    let mut dead = sleeping(&project, "dead", "j1");
    // As a control group does it: all of it at once.
    let all = naming(&project.on_host("state"));
    assert!(all.len() >= 4, "{all:?}");
    all.iter().for_each(|pid| _ = kill_process(Pid::from_raw((*pid).cast_signed()).unwrap(), Signal::KILL));
    dead.wait().unwrap();
    eventually("all are dead", || naming(&project.on_host("state")).is_empty());
    assert!(project.on_host("state/t-j1/run.json").exists());
    let mut alive = sleeping(&project, "alive", "j2");
    assert_eq!(result(&project.path("dead"))["reason"], "killed");
    assert_eq!(fs::read_to_string(project.path("dead/files/file")).unwrap(), "1\nchanged\n");
    assert!(!project.on_host("state/t-j1").exists() && !project.on_host("run/.copies/t-j1").exists());
    // The same ID again, and the one that runs is left alone.
    let words = ["-q", "run", "--out", "again", "--id", "j1", "--", "true"];
    project.bottle(&words).assert().success();
    assert_eq!(result(&project.path("alive"))["state"], "running");
    assert!(alive.try_wait().unwrap().is_none());
    kill(alive.id().into());
    alive.wait().unwrap();
    nothing_is_left(&project, "t-j2", Duration::from_secs(5));
}

#[test]
fn runs_of_one_project_go_on_beside_each_other_and_each_has_a_folder_of_its_own() {
    let project = project_with(SLUG);
    let run = |number: usize| {
        let out = format!("kept/{number}");
        let mut command =
            project.command(&["-q", "run", "--out", &out, "--", "sh", "-c", "echo $$ > made; cat"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{number}\n").as_bytes())
            .unwrap();
        child
    };
    let mut children: Vec<Child> = (0..6).map(run).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let mut names = std::collections::BTreeSet::new();
    for number in 0..6 {
        let out = project.path(format!("kept/{number}"));
        assert_eq!(fs::read_to_string(out.join("stdout")).unwrap(), format!("{number}\n"));
        assert!(out.join("files/made").exists());
        names.insert(result(&out)["bottle"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 6, "{names:?}");
    project
        .bottle(&["run", "--out", "kept/0", "--", "true"])
        .assert()
        .code(73)
        .stderr(predicate::str::contains("is not empty"));
}

/// Returns the files that a run's processes hold locks on, and whatever they opened to write to.
fn locked_and_written(run: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pid in descendants(run).into_iter().chain([run]) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(info) = fs::read_to_string(descriptor.path()) else { continue };
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default().trim();
            let is_written = flags.ends_with(['1', '2']);
            let number = descriptor.file_name();
            let place = fs::read_link(Path::new("/proc").join(pid.to_string()).join("fd").join(number));
            let Ok(place) = place else { continue };
            if (is_written || info.contains("lock:")) && fs::metadata(&place).is_ok_and(|meta| meta.is_file())
            {
                found.push(place);
            }
        }
    }
    found
}

#[test]
fn runs_on_two_nodes_have_no_lock_and_no_file_in_common_even_with_one_id() {
    let project = empty_project();
    let script = "echo up; exec sleep 4711";
    let start = |node: &str| {
        let folder = project.on_host(node);
        let words = ["-q", "--state-dir", folder.to_str().unwrap(), "run", "--out", node, "--id", "7", "--"];
        let mut command = project.command(&[&words[..], &["sh", "-c", script]].concat());
        // What this test itself writes to may be a file.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_remove("STAND_IN_STATE").spawn().unwrap()
    };
    let mut runs = ["node1", "node2"].map(|node| (node, start(node)));
    for (node, run) in &runs {
        let stdout = project.path(node).join("stdout");
        eventually("the guest is up", || fs::read(&stdout).is_ok_and(|said| said == b"up\n"));
        let found = locked_and_written(run.id());
        assert!(found.iter().any(|path| path.ends_with("operation.lock")), "{found:?}");
        let own = [project.on_host(node), project.path(node)];
        let others: Vec<_> =
            found.iter().filter(|path| !own.iter().any(|own| path.starts_with(own))).collect();
        assert!(others.is_empty(), "{others:?}");
    }
    for (node, run) in &mut runs {
        kill_process(Pid::from_child(run), Signal::TERM).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(143));
        assert_eq!(result(&project.path(node))["reason"], "terminated");
    }
}

#[test]
fn a_run_that_may_not_be_kept_is_refused_before_anything_starts() {
    let project = project_with("slug = \"t\"\n[workspace]\nmode = \"read-write\"\n");
    let refused = |words: &[&str], why: &str| {
        project.bottle(words).assert().code(2).stderr(predicate::str::contains(why));
        assert!(!project.path("kept").exists());
    };
    refused(&["run", "--out", "kept", "--", "true"], "the guest could write to the project");
    project.put("bottle.toml", SLUG);
    refused(&["run", "--out", "kept", "--in", "nowhere", "--", "true"], "is not there");
    refused(&["run", "--in", ".", "--", "true"], "--out");
    refused(&["run", "--out", "kept", "--id", "", "--", "true"], "cannot be empty");
    // A link that a guest could have made leads nowhere.
    fs::create_dir_all(project.on_host("run/.copies/x")).unwrap();
    fs::create_dir(project.on_host("elsewhere")).unwrap();
    symlink(project.on_host("elsewhere"), project.on_host("run/.copies/x/link")).unwrap();
    let through = project.on_host("run/.copies/x/link/kept");
    let words = ["run", "--out", through.to_str().unwrap(), "--", "true"];
    project.bottle(&words).assert().code(2).stderr(predicate::str::contains("could have made that link"));
    assert!(!project.on_host("elsewhere/kept/result.json").exists());
}

#[test]
fn with_one_folder_for_everything_nothing_is_anywhere_else() {
    let project = empty_project();
    project.put("file", "1\n");
    let here = project.on_host("node");
    let node = here.to_str().unwrap();
    let words = ["-q", "--state-dir", node, "run", "--out", "kept", "--", "sh", "-c", "echo 2 >> file"];
    project.bottle(&words).env_remove("STAND_IN_STATE").assert().success();
    // Without a bottle.toml, a run works on a copy of the folder that it was started in.
    assert_eq!(fs::read_to_string(project.path("kept/files/file")).unwrap(), "1\n2\n");
    for name in ["state", "run", "machines", "cache"] {
        assert!(!project.on_host(name).exists(), "{name}");
    }
    let names: Vec<PathBuf> = fs::read_dir(&here).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(names.iter().any(|path| path.ends_with("state")), "{names:?}");
    project.bottle(&["-q", "--state-dir", node, "up", "b"]).assert().success();
    assert!(here.join("smolvm/bottle-b.json").exists() && here.join("state/b/plan.json").exists());
    project.bottle(&["--state-dir", node, "exec", "b", "--", "true"]).assert().success();
    project.bottle(&["exec", "b", "--", "true"]).assert().code(66);
    project.bottle(&["-q", "--state-dir", node, "rm", "--force", "b"]).assert().success();
    let doctor = project.json(&["--state-dir", node, "doctor", "--json"]);
    let found = doctor["findings"].as_array().unwrap().iter().find(|it| it["name"] == "state").unwrap();
    assert_eq!(found["level"], "ok", "{found}");
    assert!(found["place"].as_str().unwrap().starts_with(node), "{found}");
}

#[test]
fn no_guest_sees_what_came_of_another_run_unless_the_project_says_so() {
    let project = empty_project();
    project.put("file", "1\n");
    let seen = |id: &str| {
        let out = format!("results/{id}");
        let words = ["-q", "run", "--out", &out, "--id", id, "--", "find", ".", "-name", "result.json"];
        project.bottle(&words).assert().success();
        fs::read_to_string(project.path(&out).join("stdout")).unwrap()
    };
    assert_eq!(seen("1"), "");
    assert_eq!(seen("2"), "");
    project.put("bottle.toml", "slug = \"t\"\n[workspace]\nmode = \"copy\"\nexclude = [\"!results\"]\n");
    assert!(seen("3").contains("./results/1/result.json\n"));
}

#[test]
fn a_run_never_takes_what_another_bottle_of_its_name_has() {
    let project = project_with(SLUG);
    let refused = |out: &str| {
        let words = ["-q", "run", "--out", out, "--id", "1", "--", "true"];
        let why = predicate::str::contains("something of a bottle t-1 already");
        project.bottle(&words).assert().code(73).stderr(why);
        assert!(!project.path(out).exists());
    };
    project.bottle(&["-q", "up", "t-1"]).assert().success();
    project.bottle(&["exec", "t-1", "--", "sh", "-c", "echo work > work"]).assert().success();
    refused("beside");
    // Nobody ends it afterwards, either.
    assert!(heirs(&project).is_empty());
    project.bottle(&["exec", "t-1", "--", "test", "-f", "work"]).assert().success();
    project.bottle(&["-q", "stop", "t-1"]).assert().success();
    refused("stopped");
    project.bottle(&["-q", "rm", "--force", "t-1"]).assert().success();
    // What an earlier run left.
    project.bottle(&["-q", "run", "t-1", "--", "sh", "-c", "echo work > work"]).assert().success();
    refused("left");
    project.bottle(&["diff", "t-1"]).assert().success().stdout(predicate::str::contains("A work"));
    project.bottle(&["-q", "rm", "--force", "t-1"]).assert().success();
    project.bottle(&["-q", "run", "--out", "kept", "--id", "1", "--", "true"]).assert().success();
}

#[test]
fn a_run_that_ends_while_its_image_is_fetched_has_results_that_say_so() {
    // A registry that never answers.
    let registry = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let image = format!("localhost:{}/image:1", registry.local_addr().unwrap().port());
    let project = project_with(&format!("slug = \"t\"\n[guest]\nimage = \"{image}\"\n"));
    for (out, signal, reason) in [("told", Signal::TERM, "terminated"), ("killed", Signal::KILL, "killed")] {
        let words = ["-q", "run", "--out", out, "--id", out, "--", "true"];
        let mut child = project.command(&words).stdin(Stdio::null()).spawn().unwrap();
        eventually("somebody would finish the run", || heirs(&project).len() == 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        nothing_is_left(&project, &format!("t-{out}"), Duration::from_secs(5));
        let kept = result(&project.path(out));
        assert_eq!((&kept["state"], &kept["reason"]), (&"ended".into(), &reason.into()));
        assert!(!project.path(out).join(".reserve").exists());
    }
}

#[test]
fn the_machine_of_another_user_reaches_its_copy_whatever_the_umask_is() {
    let project = empty_project();
    let node = project.on_host("above/node");
    let bottle = project.command(&[]).get_program().to_owned();
    let mut command = project.command(&[]);
    let script = "umask 077; exec \"$0\" -q --state-dir \"$1\" run --out kept --id 1 -- true";
    let mut strict = std::process::Command::new("sh");
    strict.args(["-c", script]).arg(bottle).arg(&node).current_dir(project.folder()).stdin(Stdio::null());
    strict.envs(command.env("LC_ALL", "C").get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(strict.env_remove("STAND_IN_STATE").status().unwrap().success());
    for name in ["above", "above/node", "above/node/run", "above/node/run/.copies"] {
        let mode = fs::metadata(project.on_host(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o711, "{name}");
    }
    assert_eq!(fs::metadata(node.join("state")).unwrap().permissions().mode() & 0o777, 0o700);
}
