//! Ends a run: because its command ended, because of a signal, or because its time is over.

use anyhow::Result;
use bottle_guest::status::exit_number;
use bottle_host::smolvm::Terminal;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::cell::Cell;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long smolvm may take to end after a signal, unless somebody waits for less.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a machine may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it is told to end, if there is a limit.
    pub limit: Option<Duration>,
    /// From then on, until it is killed.
    pub grace: Duration,
}

/// How a run ended.
pub enum Ended {
    /// Its command ended.
    Status(ExitStatus),
    /// A signal ended it.
    Signal(u8),
    /// It took longer than it was given.
    Late,
}

/// The signal that was sent to a machine, and when.
pub type Told = (u8, Instant);
/// The signal for a machine whose keeper does not start.
pub const TERM: u8 = 15;

/// Sends a machine a signal.
pub fn tell(child: &Child, signal: u8) -> Told {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    (signal, Instant::now())
}

/// Waits for a machine to end, and passes signals on to it. It is ended at the limit.
///
/// # Errors
/// Returns an error if it cannot be waited for.
pub fn wait(
    child: &mut Child,
    events: &Events,
    terminal: Terminal,
    mut told: Option<Told>,
    patience: Patience,
) -> Result<Ended> {
    let Patience { limit, grace } = patience;
    events.watch(child)?;
    let since = Instant::now();
    let mut is_late = false;
    loop {
        let rest = match told {
            Some((_, when)) => Some(grace.saturating_sub(when.elapsed())),
            None => limit.map(|limit| limit.saturating_sub(since.elapsed())),
        };
        match events.next(rest) {
            Some(Event::Ended) => break,
            // In a terminal's raw mode, Ctrl-C is a byte for the guest.
            Some(Event::Signal(signal)) if told.is_none() && !(terminal == Terminal::Tty && signal == 2) => {
                told = Some(tell(child, signal));
            }
            Some(Event::Signal(_)) => {}
            None if told.is_none() => {
                is_late = true;
                told = Some(tell(child, TERM));
            }
            None => {
                child.kill()?;
                break;
            }
        }
    }
    let status = child.wait()?;
    if is_late {
        return Ok(Ended::Late);
    }
    if told.is_none() && is_by_signal(status) {
        told = events.signal_on_its_way().map(|signal| (signal, Instant::now()));
    }
    Ok(told.map_or(Ended::Status(status), |(signal, _)| Ended::Signal(signal)))
}

/// Whether a signal that would end this process, too, ended a program, or made it end itself.
fn is_by_signal(status: ExitStatus) -> bool {
    ENDING.contains(&(i32::from(exit_number(status)) - 128))
}

/// The signals that end a run.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Does work that cannot be interrupted. If a signal has come or comes meanwhile, and the work does not soon end by itself,
/// something has the last word and this process ends.
pub fn with_last_words<T>(events: &Events, work: impl FnOnce() -> T, told: impl FnOnce(u8) + Send) -> T {
    /// As long as work may take that heeds signals itself, and begins when it is told.
    const SOON: Duration = Duration::from_secs(2);
    const GLANCE: Duration = Duration::from_millis(10);
    /// Ends the watch with the work, even if that panics.
    struct Watched<'d>(&'d AtomicBool);
    impl Drop for Watched<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let (is_done, first) = (AtomicBool::new(false), &*events.first);
    thread::scope(|scope| {
        let watched = Watched(&is_done);
        scope.spawn(|| {
            let mut since = None;
            while !is_done.load(Relaxed) {
                let signal = first.load(Relaxed);
                if signal != 0 && since.get_or_insert_with(Instant::now).elapsed() >= SOON {
                    told(signal);
                    std::process::exit(128 + i32::from(signal));
                }
                thread::sleep(GLANCE);
            }
        });
        let done = work();
        drop(watched);
        done
    })
}

/// Whether this process catches signals to its end.
static FOR_GOOD: AtomicBool = AtomicBool::new(false);

/// Something that a run waits for.
pub enum Event {
    /// A signal arrived.
    Signal(u8),
    /// The child has ended.
    Ended,
}

/// The signals that end a run, caught so that it can clean up, and the end of its machine.
pub struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    /// The first signal that was taken from the channel.
    signal: Cell<Option<u8>>,
    /// The first signal that arrived, or 0.
    first: Arc<AtomicU8>,
}

impl Events {
    /// Catches signals from here on.
    pub fn catch() -> Result<Self> {
        FOR_GOOD.store(true, Relaxed);
        Self::catch_and(|_| {})
    }

    /// Catches signals as long as the value lives. Later ones end this process, as if they had never been caught, unless they
    /// are caught again.
    pub fn catch_for_a_while() -> Result<Self> {
        Self::catch_and(|signal| {
            if !FOR_GOOD.load(Relaxed) {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        })
    }

    /// Catches signals from here on, and passes on those that nobody waits for any more.
    fn catch_and(afterwards: fn(i32)) -> Result<Self> {
        let mut caught = signal_hook::iterator::Signals::new(ENDING)?;
        let (sender, receiver) = mpsc::channel();
        let (signals, first) = (sender.clone(), Arc::new(AtomicU8::new(0)));
        let seen = Arc::clone(&first);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut caught {
                let number = u8::try_from(signal).unwrap_or(u8::MAX);
                let _ = seen.compare_exchange(0, number, Relaxed, Relaxed);
                if signals.send(Event::Signal(number)).is_err() {
                    afterwards(signal);
                }
            }
        })?;
        Ok(Self { sender, receiver, signal: Cell::new(None), first })
    }

    /// Watches for a child's end, without reaping it.
    ///
    /// # Errors
    /// Returns an error if no thread can be started.
    pub fn watch(&self, child: &Child) -> Result<()> {
        let (sender, pid) = (self.sender.clone(), Pid::from_child(child));
        thread::Builder::new().name("machine".to_owned()).spawn(move || {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), ended));
            let _ = sender.send(Event::Ended);
        })?;
        Ok(())
    }

    /// Returns the signal that this process was sent together with the processes of its run, which may have ended
    /// first: a scheduler, a terminal and a service manager signal them all.
    pub fn signal_on_its_way(&self) -> Option<u8> {
        /// As long as a busy machine may take from one process to the next.
        const SOON: Duration = Duration::from_millis(500);
        let end = Instant::now() + SOON;
        while self.signal.get().is_none() {
            self.next(Some(end.saturating_duration_since(Instant::now())))?;
        }
        self.signal.get()
    }

    /// Returns the next event, or `None` after the limit.
    pub fn next(&self, limit: Option<Duration>) -> Option<Event> {
        let event = match limit {
            Some(limit) => self.receiver.recv_timeout(limit).ok(),
            None => self.receiver.recv().ok(),
        };
        if let Some(Event::Signal(signal)) = event {
            self.signal.set(self.signal.get().or(Some(signal)));
        }
        event
    }
}
