//! What the tests of the command share: projects in stand-in environments, with assertions.
//!
//! The vocabulary is the harness's: see [`bottle_harness::environment`].

pub mod reference;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use bottle_harness::checkout::Checkout;
pub use bottle_harness::environment::{Environment, Guest, Project, RunningBottle, answer};
use bottle_harness::page::Page;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finds the checkout that the tests were built in.
pub fn checkout() -> Checkout {
    Checkout::find().expect("a built checkout: run `make build`")
}

/// Makes an empty project in an environment of its own, with stand-in guests.
pub fn empty_project() -> Project {
    let environment = Environment::new(&checkout(), Guest::Namespace).expect("run `make setup`");
    environment.project("project").expect("a folder")
}

/// Makes a project with this `bottle.toml`.
pub fn project_with(config: &str) -> Project {
    let project = empty_project();
    project.put("bottle.toml", config);
    project
}

/// Brings a bottle with this `bottle.toml` up.
pub fn up(config: &str) -> RunningBottle {
    up_with(project_with(config), &[])
}

/// Brings a project's bottle up, with these variables.
pub fn up_with(project: Project, variables: &[(&str, &str)]) -> RunningBottle {
    let mut command = project.bottle(&["-q", "up"]);
    let running = RunningBottle::new(project).expect("a slug");
    command.envs(variables.iter().copied()).assert().success();
    running
}

/// `bottle` in a project, with assertions.
pub trait ProjectExt {
    /// Returns a command that runs `bottle` in the project's folder.
    fn bottle(&self, words: &[&str]) -> Command;

    /// Returns a command that runs one of the environment's tools.
    fn tool(&self, name: &str, words: &[&str]) -> Command;

    /// Returns a path of the environment: `state/...`, `run/...`.
    fn on_host(&self, name: &str) -> PathBuf;

    /// Writes a file of the project.
    fn put(&self, name: &str, text: &str);

    /// Returns the standard output of a command, whatever its status.
    fn said(&self, words: &[&str]) -> String {
        String::from_utf8(self.bottle(words).output().expect("bottle").stdout).expect("UTF-8")
    }

    /// Returns the data that a command prints with `--json`, whatever its status.
    fn json(&self, words: &[&str]) -> Value {
        let output = self.bottle(words).output().expect("bottle");
        answer(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error:#}: {output:?}"))
    }

    /// Runs a script in a fresh bottle and returns its output. It must succeed.
    fn run_script(&self, script: &str) -> String {
        let ran = self.bottle(&["--quiet", "run", "--", "sh", "-c", script]).assert().success();
        String::from_utf8_lossy(&ran.get_output().stdout).into_owned()
    }
}

impl ProjectExt for Project {
    fn bottle(&self, words: &[&str]) -> Command {
        let mut command = Command::from_std(self.command(words));
        command.timeout(PATIENCE);
        command
    }

    fn tool(&self, name: &str, words: &[&str]) -> Command {
        let environment = self.environment();
        let mut command = Command::from_std(environment.command(environment.path("bin").join(name)));
        command.args(words).timeout(PATIENCE);
        command
    }

    fn on_host(&self, name: &str) -> PathBuf {
        self.environment().path(name)
    }

    fn put(&self, name: &str, text: &str) {
        self.write(name, text).expect("the project's folder");
    }
}

/// A guest's shell, and a keeper's processes.
pub trait RunningBottleExt {
    /// Runs a script in the guest.
    fn exec(&self, script: &str) -> Assert;

    /// Runs a script in the guest and returns its output, whatever its status.
    fn guest(&self, script: &str) -> String {
        String::from_utf8(self.exec(script).get_output().stdout.clone()).expect("UTF-8")
    }

    /// Returns the keeper's process.
    fn keeper(&self) -> u64;
}

impl RunningBottleExt for RunningBottle {
    fn exec(&self, script: &str) -> Assert {
        self.bottle(&["-q", "exec", self.slug(), "--", "sh", "-c", script]).assert()
    }

    fn keeper(&self) -> u64 {
        self.status().expect("a keeper").pid.into()
    }
}

/// Returns the processes directly below a process.
pub fn children(pid: u64) -> Vec<u64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Returns a process's command line.
pub fn command_line(pid: u64) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// Returns the processes that a keeper's starter has started.
pub fn started_by(keeper: u64) -> Vec<u64> {
    let starter = children(keeper).into_iter().find(|pid| command_line(*pid).contains(" starter "));
    starter.map(children).unwrap_or_default()
}

/// Kills a process.
pub fn kill(pid: u64) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a process id")).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a process");
}

/// Runs `git` in a folder, and returns its output. It must succeed.
pub fn git(folder: impl AsRef<std::path::Path>, words: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let mut git = Command::new("git");
    let output = git.args(identity).args(words).current_dir(folder).assert().success();
    String::from_utf8_lossy(&output.get_output().stdout).trim().to_owned()
}

/// Waits for a condition, for 20 s at most.
pub fn eventually(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !test() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The variable that is set in a test that runs in namespaces of its own.
const INSIDE: &str = "BOTTLE_TEST_ALONE";

/// Runs a test again in network, mount and process namespaces of its own. Returns true there, and false
/// once that is done. The test is named by its module's path and its function.
pub fn alone(module: &str, function: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // The path within the crate, as the test runner names it.
    let test = format!("{module}::{function}");
    let test = test.split_once("::").map_or(&*test, |(_, test)| test);
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(std::env::current_exe().expect("this test's program"));
    let output = unshare.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} failed in namespaces of its own:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Returns a `bottle.toml` for a bottle `t` that may reach this page as `page.test`.
pub fn allowing(page: &Page) -> String {
    format!(
        "slug = \"t\"\n[egress]\nallow = [\"page.test:{}\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\" }}\n",
        page.port()
    )
}
