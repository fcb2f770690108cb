//! Tells a person how far something is that takes longer than a second: on one line of a terminal, which is replaced,
//! or elsewhere on a line now and then.
//!
//! The times of steps are measured with a clock, and told with `--verbose`. A tracing library would give the same few
//! lines: a command has one thread of steps, and no step is inside of another.

use bottle_host::out;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often something is said where nobody watches.
const SELDOM: Duration = Duration::from_secs(10);
/// How often a line on a terminal is replaced.
const OFTEN: Duration = Duration::from_millis(200);
/// How long a step may take before anything is said about it.
const SHORT: Duration = Duration::from_secs(1);
/// What turns on a terminal.
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// How much a person wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Only results and errors.
    Quiet,
    /// What takes long.
    Normal,
    /// Each step, with its time.
    Verbose,
}

/// The line that is replaced, or said now and then.
pub struct Line {
    voice: Voice,
    name: String,
    since: Instant,
    last: Mutex<Option<Instant>>,
}

impl Line {
    /// Makes the line of something with this name. Nothing is shown yet.
    pub fn new(voice: Voice, name: &str) -> Self {
        Self { voice, name: name.to_owned(), since: Instant::now(), last: Mutex::new(None) }
    }

    /// Shows how far it is, unless that was shown a moment ago. A terminal shows it at once if that is `urgent`.
    pub fn show(&self, what: &str, urgent: bool) {
        if self.voice == Voice::Quiet {
            return;
        }
        let is_replaced = out::is_repainted();
        // A terminal shows the first line at once, a log only what takes a while.
        let mut last = lock(&self.last);
        let pause = if is_replaced { OFTEN } else { SELDOM };
        let before = last.or((!is_replaced).then_some(self.since));
        if before.is_some_and(|before| before.elapsed() < pause) && !(urgent && is_replaced) {
            return;
        }
        *last = Some(Instant::now());
        if is_replaced {
            out::passing(format_args!("{}: {what}", self.name));
        } else {
            out::remark(format_args!("{}: {what}", self.name));
        }
    }

    /// Takes the line off a terminal.
    pub fn clear(&self) {
        if lock(&self.last).is_some() && out::is_repainted() {
            out::passing("");
        }
    }
}

/// The steps of something. Dropping this value ends the last one.
pub struct Steps {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    line: Line,
    now: Mutex<Now>,
    changed: Condvar,
}

struct Now {
    step: Option<(String, Instant)>,
    is_over: bool,
}

impl Steps {
    /// Begins something with this name, without a step.
    pub fn of(voice: Voice, name: &str) -> Self {
        let mut steps = Self::measured(voice, name);
        let ticking = Arc::clone(&steps.shared);
        // Without a thread nothing is said meanwhile, and everything else goes on.
        steps.ticker = thread::Builder::new().name("progress".to_owned()).spawn(move || ticking.tick()).ok();
        steps
    }

    /// Begins something whose steps are only measured: what it runs has the terminal to itself.
    pub fn measured(voice: Voice, name: &str) -> Self {
        let now = Mutex::new(Now { step: None, is_over: false });
        let shared = Arc::new(Shared { line: Line::new(voice, name), now, changed: Condvar::new() });
        Self { shared, ticker: None }
    }

    /// Begins a step, and ends the one before it.
    pub fn step(&self, what: &str) {
        let before = lock(&self.shared.now).step.replace((what.to_owned(), Instant::now()));
        self.shared.told(before);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let last = {
            let mut now = lock(&self.shared.now);
            now.is_over = true;
            now.step.take()
        };
        self.shared.changed.notify_all();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
        self.shared.line.clear();
        self.shared.told(last);
    }
}

impl Shared {
    fn tick(&self) {
        let mut turns = 0;
        let mut now = lock(&self.now);
        while !now.is_over {
            now = self.changed.wait_timeout(now, OFTEN).unwrap_or_else(PoisonError::into_inner).0;
            if let Some((what, since)) = now.step.as_ref().filter(|(_, since)| since.elapsed() >= SHORT) {
                let turn = SPINNER[turns % SPINNER.len()];
                let turn = if out::is_repainted() { format!("{turn} ") } else { String::new() };
                self.line.show(&format!("{turn}{what}, {} s", since.elapsed().as_secs()), false);
                turns += 1;
            }
        }
    }

    /// Tells how long a step took.
    fn told(&self, step: Option<(String, Instant)>) {
        if let Some((what, since)) = step.filter(|_| self.line.voice == Voice::Verbose) {
            out::remark(format_args!("{}: {what}: {:.2} s", self.line.name, since.elapsed().as_secs_f64()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
