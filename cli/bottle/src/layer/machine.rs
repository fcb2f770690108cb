//! Runs a setup in a machine of its own, and takes what it made.

use super::take::{MOST, take};
use crate::config::Config;
use crate::lifecycle::companion::{Companion, Streams};
use crate::lifecycle::run::{Contact, Ran, Run};
use crate::lifecycle::signals::{Ended, Events, GRACE, Patience};
use crate::resolve::Resolved;
use anyhow::{Context, Result, anyhow, ensure};
use bottle_core::egress::Rules;
use bottle_core::helper::HELPER;
use bottle_core::plan::Guest;
use bottle_core::slug::Slug;
use bottle_core::specification::Setup;
use bottle_core::text::ImageDigest;
use bottle_core::visible::Line;
use bottle_host::control::Status;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::Home;
use bottle_host::tools::Tools;
use bottle_images::Store;
use bottle_images::compose::Unpacked;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest line of a command's output that is shown, in bytes. A longer one is shown in pieces.
const LONGEST: usize = 4096;
/// How many of the last lines say why a command failed.
const LAST: usize = 12;
/// How long the rest of a layer may take to be written once its machine has ended. It fits into a pipe.
const REST: Duration = Duration::from_secs(60);

/// Runs the setup of a configuration in a machine without a project, a key or a folder of this machine, and returns what it
/// made. Whoever calls this holds a lease of the store. `key` names the machine.
///
/// # Errors
/// Returns an error if a command fails, or if something else than a layer comes back. Nothing of it stays then.
pub fn run(
    home: &Home,
    store: &Store,
    config: &Config,
    key: &ImageDigest,
    is_shown: bool,
) -> Outcome<Unpacked> {
    let slug: Slug = format!("setup-{}", &key.hex()[..12]).parse().map_err(anyhow::Error::from)?;
    let config = alone(config);
    let tools = Tools::find(config.stack)?;
    let folder = home.bottle(&slug);
    let taker = Taker {
        store: store.clone(),
        is_cut_off: Arc::default(),
        said: Said::new(is_shown),
        reading: Cell::new(None),
    };
    let commands = config.setup.run.iter().map(ToString::to_string);
    let command: Vec<String> =
        [HELPER, "layer", "--"].map(str::to_owned).into_iter().chain(commands).collect();
    // The commands are the helper's, and none is run again by whoever starts machines.
    let config = Config { setup: Setup::default(), ..config };
    let run = Run {
        home,
        folder: &folder,
        project: store.root(),
        config: &config,
        tools: &tools,
        insisted: true,
        command: &command,
        patience: Patience { limit: None, grace: GRACE },
        is_claimed: false,
        companion: Some(&taker),
    };
    let events = Events::catch_for_a_while()?;
    let ran = run.carry_out(&events, &|_| {});
    drop(events);
    let Ran { ended, .. } = ran?;
    let (ended, contact) = ended?;
    let fail = |kind, what: String| {
        Err(Failure::new(kind, what).help(format!(
            "a host that it needs belongs into `setup-allow` (refusals: `bottle logs --denied {slug}`); a setup that needs the \
             project wants `setup-keep = \"disk\"`"
        )))
    };
    match (ended, contact) {
        (Ended::Status(status), Contact::Made) if status.success() => {}
        // It was cut off here, and its own words are only about that.
        (Ended::Status(_), Contact::Made) if taker.is_cut_off() => {}
        (Ended::Status(_), Contact::Made) => {
            return fail(Kind::Guest, format!("the setup failed{}", taker.said.last()));
        }
        (Ended::Status(status), _) => {
            let what = format!("the machine of the setup did not start ({status})");
            return Err(
                Failure::new(Kind::Guest, what).help("try again; `bottle doctor` checks this machine")
            );
        }
        (Ended::Signal(_) | Ended::Late, _) => {
            return Err(
                Failure::new(Kind::Guest, "the setup was interrupted").help("the next start begins it again")
            );
        }
    }
    match taker.layer() {
        Ok(layer) => Ok(layer),
        Err(error) => {
            let what = format!("what the setup made cannot be kept: {}", Line(&format!("{error:#}")));
            let is_ours = error
                .chain()
                .any(|why| why.downcast_ref::<io::Error>().is_some_and(|why| why.raw_os_error().is_some()));
            Err(if is_ours {
                Failure::new(Kind::Unavailable, what).help(
                    "`bottle images prune` makes room; BOTTLE_CACHE_DIR moves the cache to another disk",
                )
            } else {
                Failure::new(Kind::Guest, what).help(
                    "let its commands leave less, and only files, folders and links; `setup-keep = \"disk\"` keeps everything on the machine's own disk",
                )
            })
        }
    }
}

/// Returns the configuration of a machine that only carries out this one's setup.
fn alone(config: &Config) -> Config {
    Config {
        limits: config.limits,
        stack: config.stack,
        guest: Guest { volumes: Vec::new(), workdir: None, ..config.guest.clone() },
        setup: config.setup.clone(),
        setup_lent: config.setup_lent.clone(),
        authorities: config.authorities.clone(),
        egress: Rules {
            allow: config.setup.allow.iter().chain(&config.setup_lent).cloned().collect(),
            ..config.egress.clone()
        },
        parent: config.parent.clone(),
        ..Config::default()
    }
}

/// Reads what the machine writes.
struct Taker {
    store: Store,
    /// Whether the machine wrote more after the reader had refused something.
    is_cut_off: Arc<AtomicBool>,
    said: Said,
    reading: Cell<Option<JoinHandle<Result<Unpacked>>>>,
}

impl Taker {
    fn is_cut_off(&self) -> bool {
        self.is_cut_off.load(Relaxed)
    }

    /// Returns the layer, once the machine has ended.
    fn layer(&self) -> Result<Unpacked> {
        let reading = self.reading.take().context("nothing was read")?;
        let end = Instant::now() + REST;
        while !reading.is_finished() {
            ensure!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
        reading.join().map_err(|_| anyhow!("it cannot be read"))?
    }
}

impl Companion for Taker {
    fn resolved(&self, _: &Resolved) -> Outcome {
        Ok(())
    }

    fn streams(&self) -> Outcome<Streams> {
        let (to, from) = mpsc::sync_channel(CHUNKS);
        let (to, mut from, store) = (
            Sender(to, Arc::clone(&self.is_cut_off)),
            Received { from, chunk: Vec::new(), at: 0 },
            self.store.clone(),
        );
        let reading = thread::Builder::new().name("layer".to_owned()).spawn(move || {
            let layer = take(&mut from, &store, MOST)?;
            // Zeros follow the end mark.
            let after = io::copy(&mut from.take(AFTER + 1), &mut io::sink())?;
            ensure!(after <= AFTER, "more follows its end");
            Ok(layer)
        });
        self.reading.set(Some(reading.map_err(anyhow::Error::from)?));
        Ok(Streams { out: Box::new(to), err: Box::new(self.said.clone()), named: Box::new(|_| {}) })
    }

    fn called(&self, _: u32) {}

    fn kept(&self) -> Outcome {
        Ok(())
    }

    fn ended(&self, _: Option<&Status>) {}

    fn collect(&self) {}
}

/// How many bytes may follow the end of a layer.
const AFTER: u64 = 64 << 10;
/// How many chunks wait to be read.
const CHUNKS: usize = 64;

/// Passes what the machine writes on to the thread that reads it. A pipe would end this process, once that thread has
/// refused something and is gone.
struct Sender(SyncSender<Vec<u8>>, Arc<AtomicBool>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| {
            self.1.store(true, Relaxed);
            io::ErrorKind::BrokenPipe
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Received {
    from: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Received {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let Ok(chunk) = self.from.recv() else { return Ok(0) };
            (self.chunk, self.at) = (chunk, 0);
        }
        let read = (&self.chunk[self.at..]).read(into)?;
        self.at += read;
        Ok(read)
    }
}

/// What the commands say: shown line by line, and the last lines remembered.
#[derive(Clone)]
struct Said(Arc<Mutex<Lines>>);

struct Lines {
    is_shown: bool,
    open: Vec<u8>,
    last: VecDeque<String>,
}

impl Said {
    fn new(is_shown: bool) -> Self {
        Self(Arc::new(Mutex::new(Lines { is_shown, open: Vec::new(), last: VecDeque::new() })))
    }

    /// Returns the last lines, each on one of its own.
    fn last(&self) -> String {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.end();
        lines.last.iter().map(|line| format!("\n  {line}")).collect()
    }
}

impl Lines {
    fn end(&mut self) {
        // A guest wrote it.
        let line = Line(String::from_utf8_lossy(&self.open).trim_end()).to_string();
        self.open.clear();
        if line.is_empty() {
            return;
        }
        if self.is_shown {
            out::remark(&line);
        }
        self.last.push_back(line);
        if self.last.len() > LAST {
            self.last.pop_front();
        }
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if *byte == b'\n' || lines.open.len() == LONGEST {
                lines.end();
            }
            if *byte != b'\n' {
                lines.open.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_core::specification::Workspace;

    #[test]
    fn the_machine_of_a_setup_has_nothing_of_the_project() {
        let mut config = Config::default();
        config.guest.image = Some("tiny:1".parse().unwrap());
        config.guest.volumes.push(bottle_core::plan::Volume {
            host: "/home".parse().unwrap(),
            guest: "/home".parse().unwrap(),
            writable: true,
        });
        config.workspace = Workspace::Shared { host: "/home".parse().unwrap(), writable: true };
        config.upstreams.push(bottle_core::upstream::Preset::Anthropic.upstream().unwrap());
        config.egress.allow.push("example.com".parse().unwrap());
        config.setup.allow.push("registry.example".parse().unwrap());
        config.notify.push("notify".to_owned());
        let alone = alone(&config);
        assert_eq!(alone.workspace, Workspace::None);
        assert!(alone.guest.volumes.is_empty() && alone.upstreams.is_empty() && alone.git.is_empty());
        assert!(alone.notify.is_empty() && alone.publish.is_empty() && alone.agent.is_none());
        assert_eq!(alone.egress.allow, config.setup.allow);
        assert_eq!(alone.guest.image, config.guest.image);
    }

    #[test]
    fn the_last_lines_say_why_and_an_endless_one_is_cut() {
        let mut said = Said::new(false);
        for line in 0..20 {
            writeln!(said, "line {line}").unwrap();
        }
        said.write_all(&[b'x'; LONGEST * 3 + 1]).unwrap();
        said.write_all(b"\x1b[2J").unwrap();
        let last = said.last();
        assert_eq!(last.lines().count(), LAST + 1, "{last}");
        assert!(last.contains("line 19") && !last.contains("line 10\n") && !last.contains('\x1b'), "{last}");
    }
}
