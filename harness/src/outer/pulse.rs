//! Whether the outer machine still runs. When it freezes, one of its processors, which are threads of the emulator, waits for an
//! interrupt that does not come, and takes no time at all. Whoever waited for its answer would wait until the limit.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a processor may take less time than [`LEAST`].
const WINDOW: Duration = Duration::from_secs(60);
/// Far less than a processor with nothing to do takes in that time: 66 ms of a machine in which everything slept.
const LEAST: Duration = Duration::from_millis(2);

/// The time that an emulator's processors take.
pub struct Pulse {
    threads: PathBuf,
    since: Instant,
    /// How much each has taken, by its thread.
    taken: BTreeMap<OsString, Duration>,
}

impl Pulse {
    /// Starts to watch an emulator that names its threads (`-name debug-threads=on`).
    pub fn of(emulator: u32) -> Self {
        Self {
            threads: format!("/proc/{emulator}/task").into(),
            since: Instant::now(),
            taken: BTreeMap::new(),
        }
    }

    /// Returns whether a processor has stood still. Where its time cannot be read, it has not.
    pub fn is_lost(&mut self) -> bool {
        if self.since.elapsed() < WINDOW {
            return false;
        }
        let now = self.processors();
        let before = std::mem::replace(&mut self.taken, now);
        self.since = Instant::now();
        let stood = |(thread, before): (&OsString, &Duration)| {
            self.taken.get(thread).is_some_and(|now| now.saturating_sub(*before) < LEAST)
        };
        before.iter().any(stood)
    }

    fn processors(&self) -> BTreeMap<OsString, Duration> {
        let threads = fs::read_dir(&self.threads).into_iter().flatten().flatten();
        let taken = threads.filter_map(|thread| {
            let read = |name: &str| fs::read_to_string(thread.path().join(name)).ok();
            let is_processor = read("comm")?.starts_with("CPU ");
            let nanoseconds = read("schedstat")?.split_whitespace().next()?.parse().ok()?;
            is_processor.then(|| (thread.file_name(), Duration::from_nanos(nanoseconds)))
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun_a_window_ago() -> (tempfile::TempDir, Pulse) {
        let dir = tempfile::tempdir().unwrap();
        for (thread, name) in [("1", "qemu"), ("2", "CPU 0/TCG"), ("3", "CPU 1/TCG")] {
            fs::create_dir(dir.path().join(thread)).unwrap();
            fs::write(dir.path().join(thread).join("comm"), name).unwrap();
            fs::write(dir.path().join(thread).join("schedstat"), "5000000 7 1\n").unwrap();
        }
        let since = Instant::now().checked_sub(WINDOW).unwrap();
        let pulse = Pulse { threads: dir.path().to_owned(), since, taken: BTreeMap::new() };
        (dir, pulse)
    }

    #[test]
    fn a_machine_is_lost_with_the_first_processor_that_stands_still() {
        let (dir, mut pulse) = begun_a_window_ago();
        assert!(!pulse.is_lost(), "nothing is known yet");
        let later = |pulse: &mut Pulse| pulse.since = pulse.since.checked_sub(WINDOW).unwrap();
        let put = |thread: &str, text: &str| {
            fs::write(dir.path().join(thread).join("schedstat"), text).unwrap();
        };
        put("2", "55000000 7 1\n");
        put("3", "8000000 7 1\n");
        assert!(!pulse.is_lost(), "it is too soon");
        later(&mut pulse);
        assert!(!pulse.is_lost(), "both went on");
        put("2", "99000000 7 1\n");
        later(&mut pulse);
        assert!(pulse.is_lost(), "one stood still");
        fs::remove_dir_all(dir.path().join("3")).unwrap();
        put("2", "?");
        later(&mut pulse);
        assert!(!pulse.is_lost(), "nothing can be read");
    }
}
