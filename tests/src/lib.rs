//! What the tests of the command share: a room with stand-in guests, and `bottle` in it.

use assert_cmd::Command;
use bottle_harness::page::Page;
use bottle_harness::place::Place;
pub use bottle_harness::secure;
use bottle_harness::stand_in::Room;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// A room with stand-in guests and a project in it.
pub struct World {
    room: Room,
    bottle: PathBuf,
}

impl World {
    /// A world whose project has this `bottle.toml`.
    pub fn with(config: &str) -> Self {
        let world = Self::new();
        world.write("bottle.toml", config);
        world
    }

    /// A world whose project is empty.
    pub fn new() -> Self {
        let place = Place::find().expect("a built checkout: run `make build`");
        let room = Room::new(&place).expect("a room: run `make setup`");
        Self { room, bottle: place.program("bottle").expect("bottle") }
    }

    /// A file of the project.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.room.project().join(name), text).expect("the project's folder");
    }

    /// The room's folder: state, machines, run, project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// `bottle` with these words, in the project's folder.
    pub fn bottle(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.bottle);
        command.args(words).current_dir(self.room.project()).timeout(Duration::from_secs(60));
        for (name, value) in self.room.env() {
            command.env(name, value);
        }
        command
    }

    /// One of the tools that `bottle` uses here, with these words.
    pub fn tool(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.room.path().join("bin").join(name));
        command.args(words).timeout(Duration::from_secs(60));
        for (name, value) in self.room.env() {
            command.env(name, value);
        }
        command
    }

    /// A process of its own, for what has to be signalled or left running.
    pub fn process(&self, words: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.bottle);
        command.args(words).current_dir(self.room.project());
        command.envs(self.room.env().iter().map(|(name, value)| (name, value)));
        command
    }

    /// What a run in a fresh bottle prints.
    pub fn run(&self, script: &str) -> String {
        let output =
            self.bottle(&["--quiet", "run", "--", "sh", "-c", script]).output().expect("bottle runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

/// The processes below a process.
pub fn below(pid: u64) -> Vec<u64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The words that a process was started with.
pub fn words(pid: u64) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// What a keeper has had started: the processes below its starter.
pub fn started(keeper: u64) -> Vec<u64> {
    let starter = below(keeper).into_iter().find(|pid| words(*pid).contains(" starter "));
    starter.map(below).unwrap_or_default()
}

/// Waits for what has to come, for 20 s at most.
pub fn eventually(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !test() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Set where a test runs in namespaces of its own.
const INSIDE: &str = "BOTTLE_TEST_ALONE";

/// Runs the test of this name again, alone, in network, mount and process namespaces of its own:
/// true there, false once that is done.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = std::process::Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("this test's program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "{test} failed in namespaces of its own: see above");
    false
}

/// A `bottle.toml` for a bottle `t` that may reach this page, as `page.test`.
pub fn allowing(page: &Page) -> String {
    format!(
        "slug = \"t\"\n[egress]\nallow = [\"page.test:{}\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\" }}\n",
        page.port()
    )
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
