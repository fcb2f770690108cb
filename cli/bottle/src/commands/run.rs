//! `bottle run`: a bottle that is gone afterwards.

use super::context::Context;
use super::{enter, stage};
use crate::config::Config;
use crate::resolve::{Resolved, resolve};
use crate::trust::pins::Pins;
use anyhow::Result;
use bottle_core::slug::Slug;
use bottle_core::smolfile::HELPER;
use bottle_core::subnet::Subnet;
use bottle_guest::status::exit_code;
use bottle_host::control;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::peer::Process;
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::Smolvm;
use bottle_host::smolvm::{Machine, Terminal};
use bottle_host::state::{Folder, Home};
use bottle_host::tools::Tools;
use bottle_host::workspace::Copy;
use bottle_keeper::{self as keeper, Keeper, Reach, Starting};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long smolvm may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// What the command line adds to the configuration.
pub struct Extra {
    pub allow: Vec<String>,
    pub allow_private: Vec<String>,
    pub trust: Option<String>,
}

pub fn run(context: &Context, slug: Option<Slug>, extra: &Extra, command: &[String]) -> Outcome<ExitCode> {
    let (slug, mut config) = context.configured(slug)?;
    extra.apply(&mut config)?;
    let tools = Tools::find(config.stack)?;
    let home = Home::find()?;
    let folder = home.bottle(&slug);
    context.trust(&folder, &config, extra.trust.as_deref(), &context.again("run"))?;
    // From here on a signal waits for the machine's loop, and everything is taken down.
    let events = Events::catch()?;
    let _lock = folder.lock_operation("run")?;
    fail_point::reached(FailPoint::RunLocked);
    if folder.has_keeper() {
        return Err(there_is(&slug));
    }
    if folder.machine_smolfile().exists() {
        is_free(&tools.smolvm, &slug)?;
    }
    let resolved = resolve(&slug, &config, tools.network.stack(), &folder)?;
    let pins = Pins::admit(&home, &folder, &config, &tools, extra.trust.is_some())?;
    let files = stage::Files::of(&folder);
    stage::write(&folder, &resolved, &tools.network)?;
    let keeper = keeper::launch(&folder, Reach::Machine)?;
    fail_point::reached(FailPoint::RunKeeper);
    context.progress(&format!("starting {slug}"));
    let shell = [enter::SHELL.to_owned()];
    let command = if command.is_empty() { &shell } else { command };
    let ended =
        pins.still().and_then(|()| machine(&tools.smolvm, &folder, &resolved, command, keeper, &events));
    fail_point::reached(FailPoint::RunEnded);
    drop(files);
    take_leave(context, &folder)?;
    match ended? {
        (Ended::Signal(signal), _) => Ok(ExitCode::from(128_u8.saturating_add(signal))),
        (Ended::Status(status), connected) if connected || status.success() => Ok(exit_code(status)),
        (Ended::Status(status), _) => {
            Err(Failure::new(Kind::Guest, format!("the guest did not start ({status})"))
                .help("try again; `bottle doctor` checks this machine"))
        }
    }
}

/// Whether no machine has this bottle's name. One that nothing here remembers would find the keeper.
fn is_free(smolvm: &Smolvm, slug: &Slug) -> Outcome {
    match smolvm.machine(slug)? {
        Some(_) => Err(there_is(slug)),
        None => Ok(()),
    }
}

fn there_is(slug: &Slug) -> Failure {
    Failure::new(Kind::Busy, format!("there is a bottle {slug} already")).help(format!(
        "use it with `bottle exec {slug}`, remove it with `bottle rm {slug}`, or run another: `bottle run OTHER`"
    ))
}

/// What the guest changed in its copy of the project is work, and stays.
fn take_leave(context: &Context, folder: &Folder) -> Outcome {
    let slug = folder.slug();
    match Copy::leave(folder)? {
        0 => {}
        changed => context.say(&format!(
            "the guest changed {changed} paths of its copy: `bottle diff {slug}` shows, `bottle apply {slug}` takes them back"
        )),
    }
    Ok(())
}

impl Extra {
    fn apply(&self, config: &mut Config) -> Outcome {
        let usage = |option: &str, error: String| Failure::new(Kind::Usage, format!("{option}: {error}"));
        for host in &self.allow {
            config.egress.allow.push(host.parse().map_err(|error| usage("--allow", format!("{error}")))?);
        }
        for host in &self.allow_private {
            let pattern = host.parse().map_err(|error| usage("--allow-private", format!("{error}")))?;
            config.egress.allow_private.push(pattern);
        }
        Ok(())
    }
}

enum Ended {
    Status(ExitStatus),
    Signal(u8),
}

/// Runs the machine beside a keeper that is still coming up, and ends both. Says whether the guest's
/// helper ever reached the keeper.
fn machine(
    smolvm: &Smolvm,
    folder: &Folder,
    resolved: &Resolved,
    command: &[String],
    keeper: Starting,
    events: &Events,
) -> Outcome<(Ended, bool)> {
    let mut words = link_words(resolved.plan.subnet);
    words.push("--".to_owned());
    words.extend_from_slice(command);
    let terminal = Terminal::here();
    let mut call =
        smolvm.run(&folder.smolfile(), &folder.guest_socket(), resolved.launch(), terminal, &words);
    call.stderr(Stdio::piped());
    // Told, not killed: so smolvm takes its machine down.
    die_with_parent(&mut call, Signal::TERM);
    let mut child = call.spawn().map_err(anyhow::Error::from)?;
    fail_point::reached(FailPoint::RunMachine);
    let name = Arc::new(Mutex::new(None));
    let said = child.stderr.take().map(|stderr| pass_on(stderr, Arc::clone(&name)));
    // All that could speak against it is found out while the machine boots.
    let keeper = is_free(smolvm, folder.slug()).and_then(|()| ready(keeper, smolvm, folder, &child));
    let told = keeper.is_err().then(|| tell(&child, TERM));
    let ended = wait(&mut child, events, terminal, told)?;
    if let Some(said) = said {
        // Whoever still holds the pipe, an orphan of the guest say, does not hold us up.
        let end = Instant::now() + Duration::from_secs(1);
        while !said.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
    if matches!(ended, Ended::Signal(_)) {
        let name = name.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(name) = name {
            delete_left(smolvm, &name)?;
        }
    }
    let keeper = keeper?;
    let connected = matches!(
        control::ask(folder, &control::Request::Status),
        Ok(control::Answer::Status(status)) if status.guest_seen
    );
    drop(keeper);
    Ok((ended, connected))
}

/// Waits for the keeper, and tells it whose guest it is to greet: that of this call of smolvm's.
fn ready(keeper: Starting, smolvm: &Smolvm, folder: &Folder, call: &Child) -> Outcome<Keeper> {
    let (keeper, call) = (keeper.ready()?, Pid::from_child(call));
    let machine = smolvm.machine_below(call);
    let told = control::demand(folder, &control::Request::Expect { machine }, Kind::Guest);
    // A call that has ended has no guest; what it ended with is told by whoever waits for it.
    if told.is_err() && Process::of(call.as_raw_pid()).is_none() {
        return Ok(keeper);
    }
    told.map(|()| keeper)
}

/// How long the process of a machine whose call was killed may take to end.
const LEFT: Duration = Duration::from_secs(5);

/// Deletes what a run that was cut off has left of its machine.
fn delete_left(smolvm: &Smolvm, name: &str) -> Result<()> {
    let end = Instant::now() + LEFT;
    while let Some(machine) = smolvm.machines()?.into_iter().find(|machine| machine.name == name) {
        if is_left(&machine) {
            let _ = smolvm.delete(name);
            break;
        }
        if Instant::now() > end {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Whether a machine is what a run that was cut off has left: one that was to be gone with its call,
/// nobody's bottle, and without a process. The name of one is read where the guest writes, too; so a
/// name alone, whoever gave it, deletes nothing that anybody uses.
fn is_left(machine: &Machine) -> bool {
    machine.ephemeral && machine.labels.is_empty() && machine.pid.and_then(Process::of).is_none()
}

/// The helper's command line in the guest.
pub fn link_words(subnet: Subnet) -> Vec<String> {
    [HELPER, "link", "--subnet", &subnet.octet().to_string()].map(str::to_owned).to_vec()
}

/// The signal that a machine was told to end by, and when.
type Told = (u8, Instant);
/// What a machine whose keeper does not come up is told by.
const TERM: u8 = 15;

fn tell(child: &Child, signal: u8) -> Told {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    (signal, Instant::now())
}

fn wait(child: &mut Child, events: &Events, terminal: Terminal, mut told: Option<Told>) -> Result<Ended> {
    events.watch(child)?;
    loop {
        match events.next(told.map(|(_, when)| GRACE.saturating_sub(when.elapsed()))) {
            Some(Event::Ended) => break,
            // In a terminal's raw mode Ctrl-C is a byte, and the guest's.
            Some(Event::Signal(signal)) if told.is_none() && !(terminal == Terminal::Tty && signal == 2) => {
                told = Some(tell(child, signal));
            }
            Some(Event::Signal(_)) => {}
            None => {
                child.kill()?;
                break;
            }
        }
    }
    let status = child.wait()?;
    Ok(told.map_or(Ended::Status(status), |(signal, _)| Ended::Signal(signal)))
}

/// What a run waits for.
enum Event {
    Signal(u8),
    Ended,
}

/// Signals that end a run, caught so that it can clean up, and the end of its machine.
struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Events {
    fn catch() -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let mut caught = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let (sender, receiver) = mpsc::channel();
        let signals = sender.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut caught {
                if signals.send(Event::Signal(u8::try_from(signal).unwrap_or(u8::MAX))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { sender, receiver })
    }

    /// Waits for a child's end, and leaves it to be waited for.
    fn watch(&self, child: &Child) -> Result<()> {
        let (sender, pid) = (self.sender.clone(), Pid::from_child(child));
        thread::Builder::new().name("machine".to_owned()).spawn(move || {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), ended));
            let _ = sender.send(Event::Ended);
        })?;
        Ok(())
    }

    /// The next one, or `None` at the limit.
    fn next(&self, limit: Option<Duration>) -> Option<Event> {
        match limit {
            Some(limit) => self.receiver.recv_timeout(limit).ok(),
            None => self.receiver.recv().ok(),
        }
    }
}

/// The longest line that smolvm says about itself, and the most lines before the one that it begins with.
const LONGEST: u64 = 4096;
const FIRST_LINES: usize = 100;

/// Passes on what the guest says on standard error, without what smolvm says about itself, and
/// remembers the name that smolvm gave the machine.
fn pass_on(stderr: ChildStderr, name: Arc<Mutex<Option<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut out = std::io::stderr();
        // Only the first lines are smolvm's; after them bytes pass as they come.
        let mut line = Vec::new();
        for _ in 0..FIRST_LINES {
            line.clear();
            let mut bounded = reader.by_ref().take(LONGEST);
            if !bounded.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                break;
            }
            if let Some(given) = given_name(&line) {
                *name.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
                break;
            }
            if !line.starts_with(b"note: ") {
                let _ = out.write_all(&line);
            }
        }
        let _ = std::io::copy(&mut reader, &mut out);
    })
}

/// The name that smolvm gives a machine in this line, if it does: `vm-` and hexadecimal digits.
fn given_name(line: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("Starting ephemeral machine (")?;
    let given = rest.split_once(')')?.0;
    let digits = given.strip_prefix("vm-").unwrap_or_default();
    let is_one = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if is_one { given.to_owned() } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(text: &str) -> Machine {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_name_is_one_that_smolvm_gives() {
        let given = |line: &str| given_name(line.as_bytes());
        assert_eq!(given("Starting ephemeral machine (vm-35993c9e)...\n"), Some("vm-35993c9e".to_owned()));
        for line in ["Starting ephemeral machine (bottle-t)...\n", "Starting ephemeral machine (--all)\n"] {
            assert_eq!(given(line), Some(String::new()), "{line}");
        }
        assert_eq!(given("Starting ephemeral machine (vm-1\n"), None);
        assert_eq!(given("note: x\n"), None);
    }

    #[test]
    fn only_what_a_run_has_left_is_deleted_whatever_name_was_read() {
        let mine = std::process::id();
        let left = r#"{"name":"vm-1","state":"stopped","pid":null,"ephemeral":true,"labels":{}}"#;
        assert!(is_left(&machine(left)));
        for other in [
            left.replace("true", "false"),
            left.replace("{}", r#"{"bottle":"t"}"#),
            left.replace("null", &mine.to_string()),
        ] {
            assert!(!is_left(&machine(&other)), "{other}");
        }
    }
}
