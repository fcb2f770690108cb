//! Machines that are kept ready: `[pool] warm`. Each becomes one bottle at most, and none outlives its reason to wait.

use assert_cmd::Command;
use bottle_harness::processes::naming;
use bottle_harness::registry::{Image, Registry};
use bottle_host::fail_point::FailPoint;
use bottle_tests::{Project, ProjectExt, checkout, command_line, empty_project, eventually, kill};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

const CONFIG: &str = "slug = \"t\"\n[guest]\ncpus = 1\nmemory = 512\n";

/// A project of a person whose defaults keep machines ready. Dropping it removes them.
struct Pooled(Project);

impl Drop for Pooled {
    fn drop(&mut self) {
        let _ = self.command(&["-q", "pool", "--drain"]).output();
    }
}

impl Pooled {
    fn new(warm: u8) -> Self {
        let project = empty_project();
        let own = project.on_host("own/bottle");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("config.toml"), format!("[pool]\nwarm = {warm}\n")).unwrap();
        project.put("bottle.toml", CONFIG);
        project.put("file", "content");
        Self(project)
    }

    /// Does the same, and waits until the machines are ready.
    fn ready(warm: u8) -> Self {
        let pooled = Self::new(warm);
        pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
        pooled.until_ready(warm.into());
        pooled
    }

    fn until_ready(&self, machines: usize) {
        eventually("no machine waits", || self.waiting().len() == machines);
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.0.command(words);
        command.env("XDG_CONFIG_HOME", self.0.on_host("own"));
        command
    }

    fn bottle(&self, words: &[&str]) -> Command {
        let mut command = Command::from_std(self.command(words));
        command.timeout(Duration::from_secs(60));
        command
    }

    fn pool(&self) -> Vec<Value> {
        serde_json::from_value(self.0.json(&["pool", "--json"])).unwrap()
    }

    /// The names and processes of the machines that wait.
    fn waiting(&self) -> BTreeSet<(String, u64)> {
        let waits = self.pool().into_iter().filter(|machine| machine["state"] == "waits");
        waits
            .map(|machine| (machine["slug"].as_str().unwrap().to_owned(), machine["pid"].as_u64().unwrap()))
            .collect()
    }

    /// The names of smolvm's machines.
    fn machines(&self) -> Vec<String> {
        let said = self.0.tool("smolvm", &["machine", "ls", "--json"]).output().unwrap();
        let machines: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
        machines.iter().map(|machine| machine["name"].as_str().unwrap().to_owned()).collect()
    }

    fn has_keeper(&self) -> bool {
        let pids = naming(self.0.environment().folder()).into_iter();
        pids.map(|pid| command_line(pid.into())).any(|words| words.contains(" keeper t "))
    }

    fn warmer(&self) -> Option<u64> {
        let mut pids = naming(self.0.environment().folder()).into_iter().map(u64::from);
        pids.rfind(|pid| command_line(*pid).ends_with("bottle warmer "))
    }

    /// Removes what waits, and checks that nothing at all is left.
    fn check_nothing_is_left(&self, at: &str) {
        self.bottle(&["-q", "pool", "--drain"]).assert().success();
        eventually(&format!("{at}: a process is left"), || {
            naming(self.0.environment().folder()).is_empty() && self.machines().is_empty()
        });
        let left = |name: &str| -> Vec<_> {
            let entries = fs::read_dir(self.0.on_host(name)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
        };
        assert_eq!(left("run/.pool"), [""; 0], "{at}");
        let records = left("state/.pool");
        assert!(records.iter().all(|name| ["last", "warmer.lock"].contains(&&**name)), "{at}: {records:?}");
    }
}

/// Where a guest is, so that two can be told apart.
const WHERE: &str = "readlink /proc/1/ns/pid";

fn namespace_of(pid: u64) -> String {
    fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_run_begins_as_a_machine_that_waits_and_the_next_one_takes_its_place() {
    let pooled = Pooled::new(1);
    pooled.bottle(&["plan"]).assert().success().stdout(contains("pool      no machine waits yet"));
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    pooled.until_ready(1);
    pooled
        .bottle(&["plan"])
        .assert()
        .success()
        .stdout(contains("pool      a run begins as a machine that waits"));
    let before = pooled.waiting();
    let (name, pid) = before.first().unwrap().clone();
    let place = namespace_of(pid);
    let row = |words: &[&str]| {
        pooled.0.json(words).as_array().unwrap().iter().find(|row| row["slug"] == *name).cloned()
    };
    assert_eq!(row(&["ls", "--all", "--json"]).unwrap()["state"], "warm");
    assert!(row(&["ls", "--json"]).is_none());
    let script = format!("{WHERE}; pwd; cat file; echo; hostname; echo $BOTTLE_SLUG; echo new > new; exit 7");
    let ran = pooled.bottle(&["-q", "run", "--", "sh", "-c", &script]).assert().code(7);
    ran.stdout(format!("{place}\n/workspace\ncontent\nstand-in\nt\n"));
    // What the guest changed is there, and it is all that it changed.
    pooled.bottle(&["diff", "--names"]).assert().success().stdout("A new\n");
    pooled.until_ready(1);
    assert!(pooled.waiting().is_disjoint(&before));
    assert!(!pooled.machines().iter().any(|machine| machine.ends_with(name.strip_prefix("pool-").unwrap())));
    pooled.check_nothing_is_left("a run");
}

#[test]
fn what_passes_through_a_run_is_the_same_as_without_a_pool() {
    let pooled = Pooled::ready(1);
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let echoed = pooled.bottle(&["-q", "run", "--", "cat"]).write_stdin(binary.clone()).output().unwrap();
    assert_eq!(echoed.stdout, binary);
    let variables = |pooled: &Pooled| -> BTreeSet<String> {
        let said = pooled.bottle(&["-q", "run", "--", "env"]).assert().success();
        String::from_utf8_lossy(&said.get_output().stdout).lines().map(str::to_owned).collect()
    };
    pooled.until_ready(1);
    let warm = variables(&pooled);
    pooled.bottle(&["-q", "pool", "--drain"]).assert().success();
    let cold = variables(&pooled);
    let own = |line: &&String| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
    assert_eq!(warm.iter().filter(own).collect::<Vec<_>>(), cold.iter().filter(own).collect::<Vec<_>>());
    pooled.until_ready(1);
    pooled.bottle(&["-q", "run", "--", "no-such-program"]).assert().code(127);
    pooled.until_ready(1);
    pooled.bottle(&["-q", "run", "--timeout", "1s", "--", "sleep", "60"]).assert().code(124);
    pooled.check_nothing_is_left("runs");
}

#[test]
fn of_two_runs_at_once_one_has_the_machine() {
    let pooled = Pooled::ready(1);
    let (_, pid) = pooled.waiting().pop_first().unwrap();
    let place = namespace_of(pid);
    let script = format!("{WHERE}; sleep 1");
    let runs: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|slug| {
            let mut command = pooled.command(&["-q", "run", slug, "--", "sh", "-c", &script]);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<String> = runs
        .into_iter()
        .map(|run| {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        })
        .collect();
    assert_eq!(said.iter().filter(|other| **other == place).count(), 1, "{said:?}");
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), 3, "{said:?}");
    pooled.check_nothing_is_left("three runs");
}

#[test]
fn nothing_of_a_project_is_in_a_machine_that_waits() {
    let pooled = Pooled::new(1);
    pooled.0.put("bottle.toml", &format!("{CONFIG}env = {{ OF_THIS_ONE = \"word-of-t\" }}\n"));
    pooled.0.put("file", "word-of-t");
    pooled.bottle(&["-q", "run", "--", "true"]).env("EXPORTED", "word-of-t").assert().success();
    pooled.until_ready(1);
    let (name, pid) = pooled.waiting().pop_first().unwrap();
    let machine = format!("bottle-{name}");
    // Neither in its guest, nor in what it shares, nor in its processes on this machine.
    let look = "env; ls -A /workspace; cat /opt/bottle/* 2>/dev/null | grep -c word-of-t; find / -xdev -name '*word*' 2>/dev/null";
    let mut said = pooled.0.tool("smolvm", &["machine", "exec", "--name", &machine, "--", "sh", "-c", look]);
    let said = String::from_utf8(said.assert().get_output().stdout.clone()).unwrap();
    assert!(!said.contains("word-of-t") && !said.contains("BOTTLE_SLUG"), "{said}");
    for pid in [pid, pooled.warmer().unwrap()] {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("word-of-t"), "{}", command_line(pid));
    }
    // It reaches nothing: nobody listens at its socket.
    let knock = [
        "machine",
        "exec",
        "--name",
        &machine,
        "--",
        "curl",
        "-sS",
        "-m",
        "5",
        "--unix-socket",
        "/run/bottle.sock",
        "http://x/",
    ];
    pooled.0.tool("smolvm", &knock).assert().code(7);
    // Another project begins as this machine, and finds its own.
    let other = pooled.0.environment().project("other").unwrap();
    other.put("bottle.toml", &CONFIG.replace("\"t\"", "\"other\""));
    other.put("file", "word-of-other");
    let mut run =
        other.command(&["-q", "run", "--", "sh", "-c", "cat file; echo; echo $BOTTLE_SLUG$OF_THIS_ONE"]);
    run.env("XDG_CONFIG_HOME", pooled.0.on_host("own"));
    Command::from_std(run).assert().success().stdout("word-of-other\nother\n");
    eventually("it was not used", || !pooled.machines().contains(&machine));
    pooled.check_nothing_is_left("two projects");
}

#[test]
fn a_machine_with_an_image_waits_for_runs_of_that_digest() {
    let registry = Registry::start(&checkout(), false).expect("run `make setup`");
    let digest = registry.push("tiny:1", &Image::with("etc/marker", "one")).unwrap();
    let image = registry.name("tiny:1");
    let pooled = Pooled::new(1);
    pooled.0.put("bottle.toml", &format!("{CONFIG}image = \"{image}\"\n"));
    pooled.bottle(&["plan"]).assert().success().stdout(contains("its image is not fetched yet"));
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    pooled.until_ready(1);
    assert_eq!(pooled.pool()[0]["image"], digest.as_str());
    let (_, pid) = pooled.waiting().pop_first().unwrap();
    let place = namespace_of(pid);
    pooled.bottle(&["-q", "run", "--", "sh", "-c", WHERE]).assert().success().stdout(format!("{place}\n"));
    pooled.until_ready(1);
    // The name means another image from now on.
    registry.push("tiny:1", &Image::with("etc/marker", "two")).unwrap();
    pooled.bottle(&["-q", "images", "pull", &image]).assert().success();
    pooled.bottle(&["plan"]).assert().success().stdout(contains("pool      no machine waits yet"));
    pooled.check_nothing_is_left("an image");
}

#[test]
fn a_machine_whose_guest_wrote_to_its_folder_is_not_used() {
    let pooled = Pooled::ready(1);
    let (name, pid) = pooled.waiting().pop_first().unwrap();
    let (machine, place) = (format!("bottle-{name}"), namespace_of(pid));
    let outside = pooled.0.on_host("outside");
    fs::write(&outside, "mine").unwrap();
    let plant = format!("ln -s {} /workspace/file", outside.display());
    pooled
        .0
        .tool("smolvm", &["machine", "exec", "--name", &machine, "--", "sh", "-c", &plant])
        .assert()
        .success();
    let ran = pooled
        .bottle(&["-q", "run", "--", "sh", "-c", &format!("cat file; echo; {WHERE}")])
        .assert()
        .success();
    ran.stdout(contains("content\n").and(contains(place).not()));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
    eventually("it is put back", || !pooled.machines().contains(&machine));
    pooled.check_nothing_is_left("a guest that wrote");
}

#[test]
fn a_machine_that_ended_by_itself_keeps_no_run_waiting() {
    let pooled = Pooled::ready(1);
    let (_, pid) = pooled.waiting().pop_first().unwrap();
    kill(pid);
    pooled.bottle(&["-q", "run", "--", "cat", "file"]).assert().success().stdout("content");
    pooled.check_nothing_is_left("a machine that ended");
}

#[test]
fn a_machine_that_does_not_answer_ends_the_run_and_is_removed() {
    let pooled = Pooled::new(1);
    // A smolvm whose `exec` never comes back, from when a file is there.
    let (smolvm, hang) = (pooled.0.on_host("bin/smolvm"), pooled.0.on_host("hang"));
    let program = fs::canonicalize(&smolvm).unwrap();
    let script = format!(
        "#!/bin/sh\n[ -e {} ] && case \"$*\" in *'machine exec'*) exec sleep 600;; esac\nexec {} \"$@\"\n",
        hang.display(),
        program.display()
    );
    fs::remove_file(&smolvm).unwrap();
    fs::write(&smolvm, script).unwrap();
    fs::set_permissions(&smolvm, PermissionsExt::from_mode(0o755)).unwrap();
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    pooled.until_ready(1);
    let (name, _) = pooled.waiting().pop_first().unwrap();
    fs::write(&hang, "").unwrap();
    let since = Instant::now();
    // It is waited for no longer than it may wait itself.
    let ran = pooled.bottle(&["-q", "run", "--", "true"]).env("BOTTLE_POOL_SECONDS", "15").assert();
    ran.code(75).stderr(contains("the guest did not start"));
    assert!((10..50).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    eventually("its machine goes on", || !pooled.machines().contains(&format!("bottle-{name}")));
    assert!(!pooled.0.on_host("run/t").exists());
    pooled.check_nothing_is_left("a machine that does not answer");
}

#[test]
fn a_machine_waits_for_its_time_and_no_longer() {
    let pooled = Pooled::new(1);
    pooled.bottle(&["-q", "run", "--", "true"]).env("BOTTLE_POOL_SECONDS", "4").assert().success();
    pooled.until_ready(1);
    let (name, _) = pooled.waiting().pop_first().unwrap();
    // As if runs went on to ask for such a machine.
    let ask = || {
        for asked in fs::read_dir(pooled.0.on_host("state/.pool/wanted")).into_iter().flatten().flatten() {
            fs::File::options()
                .write(true)
                .open(asked.path())
                .unwrap()
                .set_modified(SystemTime::now())
                .unwrap();
        }
    };
    eventually("it waits for ever", || {
        ask();
        !pooled.machines().contains(&format!("bottle-{name}"))
    });
    // Once nobody asks for another one, the warmer ends, too.
    eventually("the warmer goes on", || pooled.warmer().is_none() && pooled.machines().is_empty());
    let said = pooled.bottle(&["pool"]).assert().success();
    said.stderr(contains("its time was over").or(contains("no run asks for one any more")));
    pooled.check_nothing_is_left("its time");
}

#[test]
fn a_machine_that_another_smolvm_made_is_not_used() {
    let pooled = Pooled::ready(1);
    let before = pooled.waiting();
    let smolvm = pooled.0.on_host("bin/smolvm");
    let program = fs::canonicalize(&smolvm).unwrap();
    fs::remove_file(&smolvm).unwrap();
    fs::copy(program, &smolvm).unwrap();
    pooled.bottle(&["plan"]).assert().success().stdout(contains("pool      no machine waits yet"));
    eventually("it still waits", || pooled.waiting().is_disjoint(&before));
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    pooled.until_ready(1);
    pooled.check_nothing_is_left("another smolvm");
}

#[test]
fn without_the_key_nothing_is_kept_ready() {
    let pooled = Pooled::new(0);
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    assert!(!pooled.0.on_host("state/.pool").exists() && pooled.warmer().is_none());
    pooled.bottle(&["plan"]).assert().success().stdout(contains("pool  ").not());
    // Taken away, it empties the pool at the next run.
    let pooled = Pooled::ready(1);
    fs::write(pooled.0.on_host("own/bottle/config.toml"), "").unwrap();
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    eventually("machines wait", || pooled.machines().is_empty() && pooled.warmer().is_none());
    pooled.check_nothing_is_left("the key taken away");
}

#[test]
fn a_run_that_shares_a_folder_or_keeps_results_boots_its_own_machine() {
    let pooled = Pooled::ready(1);
    let before = pooled.waiting();
    pooled.bottle(&["-q", "run", "--out", "results", "--", "true"]).assert().success();
    pooled.0.put("bottle.toml", &format!("{CONFIG}[workspace]\nmode = \"read-only\"\n"));
    let said = pooled.bottle(&["plan"]).assert().success();
    said.stdout(contains("pool      a run boots its own machine: its guest shares a folder of this machine"));
    pooled.bottle(&["-q", "run", "--", "cat", "file"]).assert().success().stdout("content");
    assert_eq!(pooled.waiting(), before);
    pooled.check_nothing_is_left("other runs");
}

#[test]
fn the_guest_of_a_killed_run_ends_with_it_and_so_does_its_machine() {
    let pooled = Pooled::ready(1);
    let (name, _) = pooled.waiting().pop_first().unwrap();
    let mut command = pooled.command(&["-q", "run", "--", "sh", "-c", "echo up; exec sleep 60"]);
    let mut run = command.stdout(Stdio::piped()).spawn().unwrap();
    run.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let held = pooled.pool().into_iter().find(|machine| machine["slug"] == *name).unwrap();
    assert!(held["held_by"].as_str().unwrap().starts_with("`bottle run` of t"), "{held}");
    // What a run has is not removed under it.
    pooled.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    assert!(pooled.machines().contains(&format!("bottle-{name}")));
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("its machine goes on", || !pooled.machines().contains(&format!("bottle-{name}")));
    pooled.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    assert!(!pooled.0.on_host("run/t").exists());
    pooled.check_nothing_is_left("a killed run");
}

#[test]
fn machines_whose_warmer_was_killed_are_told_of_and_removed() {
    let pooled = Pooled::ready(1);
    let (name, _) = pooled.waiting().pop_first().unwrap();
    kill(pooled.warmer().unwrap());
    eventually("it seems to be kept", || pooled.pool()[0]["state"] == "left");
    let rows = pooled.0.json(&["ls", "--all", "--json"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["slug"] == *name).unwrap();
    assert!(row["why"].as_str().unwrap().contains("`bottle cleanup`"), "{row}");
    pooled
        .bottle(&["cleanup", "--dry-run"])
        .assert()
        .success()
        .stdout(contains(format!("remove the machine {name}")));
    pooled.bottle(&["-q", "cleanup", "--yes"]).assert().success();
    assert_eq!(pooled.machines(), [""; 0]);
    // The next run goes on where the warmer was killed.
    pooled.bottle(&["-q", "run", "--", "true"]).assert().success();
    pooled.until_ready(1);
    pooled.check_nothing_is_left("a killed warmer");
}

fn steps(of: &str) -> Vec<FailPoint> {
    let steps: Vec<_> = FailPoint::ALL.iter().copied().filter(|step| step.name().starts_with(of)).collect();
    assert!(!steps.is_empty());
    steps
}

#[test]
fn a_crash_anywhere_in_a_run_that_takes_a_machine_leaves_nothing_of_it() {
    for step in steps("pool-") {
        let at = step.name();
        let pooled = Pooled::ready(1);
        let (name, _) = pooled.waiting().pop_first().unwrap();
        let mut run = pooled.command(&["run", "--", "true"]);
        run.env("BOTTLE_DIE_AFTER", at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert_eq!(run.status().unwrap().signal(), Some(9), "{at} was not reached");
        eventually(&format!("{at}: its machine goes on"), || {
            !pooled.machines().contains(&format!("bottle-{name}"))
        });
        eventually(&format!("{at}: its keeper goes on"), || !pooled.has_keeper());
        // A copy that is not complete is no change of the guest's.
        pooled.bottle(&["-q", "cleanup", "--yes"]).assert().success();
        assert!(!pooled.0.on_host("run/t").exists() && !pooled.0.on_host("run/.copies/t").exists(), "{at}");
        pooled.bottle(&["-q", "run", "--", "cat", "file"]).assert().success().stdout("content");
        pooled.check_nothing_is_left(at);
    }
}

#[test]
fn a_crash_anywhere_in_the_warmer_leaves_nothing_that_is_not_found() {
    for step in steps("warm-") {
        let at = step.name();
        let pooled = Pooled::new(1);
        pooled.bottle(&["-q", "run", "--", "true"]).env("BOTTLE_DIE_AFTER", at).assert().success();
        let reached = || pooled.warmer().is_none() && !pooled.pool().is_empty();
        eventually(&format!("{at} was not reached"), reached);
        assert_eq!(pooled.pool()[0]["state"], "left", "{at}");
        pooled.bottle(&["-q", "cleanup", "--yes"]).assert().success();
        assert!(pooled.machines().is_empty() && pooled.pool().is_empty(), "{at}");
        pooled.bottle(&["-q", "run", "--", "cat", "file"]).assert().success().stdout("content");
        pooled.until_ready(1);
        pooled.check_nothing_is_left(at);
    }
}
