//! A bottle for one command: it starts with the command and is gone afterwards.

use super::check::check_but_paths;
use super::companion::{Companion, Streams};
use super::files::{self, Files};
use super::signals::{Ended, Events, GRACE, Patience, TERM, tell, wait};
use super::typing;
use crate::config::Config;
use crate::owner;
use crate::pool::ask::{ask, ask_for_none};
use crate::pool::fit::fit;
use crate::pool::taken::Taken;
use crate::resolve::{Resolved, resolve};
use crate::trust::pins::Pins;
use anyhow::Result;
use bottle_core::execution::Execution;
use bottle_core::slug::Slug;
use bottle_host::control;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::peer::{Named, Process};
use bottle_host::pool::{Shape, longest};
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::{Machine, Smolvm, Terminal};
use bottle_host::state::{Folder, Home};
use bottle_host::terminal::{self, Kept};
use bottle_host::tools::Tools;
use bottle_host::workspace::{Copy, Places};
use bottle_keeper::{self as keeper, Keeper, Reach, Starting};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Everything that a run needs.
pub struct Run<'r> {
    /// The folders of all bottles.
    pub home: &'r Home,
    /// The folders of this one.
    pub folder: &'r Folder,
    /// The project that it belongs to.
    pub project: &'r Path,
    /// Its configuration.
    pub config: &'r Config,
    /// The programs that start it.
    pub tools: &'r Tools,
    /// Whether a person accepted host paths that changed.
    pub insisted: bool,
    /// The command to run in the guest.
    pub command: &'r [String],
    /// How long it may take, from the start of its machine.
    pub patience: Patience,
    /// Whether the caller has the name's lock already.
    pub is_claimed: bool,
    /// What accompanies it, if its results are kept.
    pub companion: Option<&'r dyn Companion>,
}

/// How a run went.
pub struct Ran {
    /// How it ended, and what the keeper knew of the guest then; or the failure that kept it from starting.
    pub ended: Outcome<(Ended, Contact)>,
    /// How many paths the guest changed in its copy of the project. If there are any, the copy stays.
    pub changed: usize,
}

/// Whether the guest's helper ever reached the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It did.
    Made,
    /// It did not, so the command did not run.
    Never,
    /// The keeper is gone, and cannot say.
    Unknown,
}

impl Ran {
    /// Returns how a run went that ended before there was a machine.
    pub fn without_machine(ended: (Ended, Contact)) -> Self {
        Self { ended: Ok(ended), changed: 0 }
    }
}

impl Run<'_> {
    /// Runs the command to its end. Then removes everything but the log, and a copy in which the guest
    /// changed something. If something accompanies the run, that decides what becomes of both.
    ///
    /// # Errors
    /// Returns an error if nothing was started: the name is taken, or a file cannot be written.
    pub fn carry_out(&self, events: &Events, progress: &dyn Fn(&str)) -> Outcome<Ran> {
        let Self { home, folder, project, config, tools, insisted, .. } = *self;
        let slug = folder.slug();
        progress("preparing its files");
        let _lock = (!self.is_claimed).then(|| folder.lock_operation("run")).transpose()?;
        fail_point::reached(FailPoint::RunLocked);
        owner::check(home, folder, project, &|_| false)?;
        if folder.has_keeper() {
            return Err(there_is(slug));
        }
        if folder.machine_smolfile().exists() {
            is_free(&tools.smolvm, slug)?;
        }
        let resolved = resolve(slug, config, tools.network.stack(), home, None)?;
        let rendered = check_but_paths(folder, config, &resolved)?;
        let pins = Pins::admit(home, folder, config, tools, insisted)?;
        // A copy that holds nothing new is made anew, because the project may have changed since.
        if resolved.copied.is_some() {
            let changed = Copy::leave(folder)?;
            if changed > 0 {
                out::note(format_args!(
                    "the guest goes on with the copy in which {changed} paths were changed before; what you changed since is not in it (`bottle apply {slug}` takes them back, `bottle rm {slug}` asks)"
                ));
            }
        }
        let files = Files::of(folder);
        let shape = self.shape(&resolved);
        let warm = shape.as_ref().and_then(|shape| Taken::find(home, shape, slug));
        files::write(folder, project, &resolved, &rendered, &tools.network)?;
        if let Some(warm) = &warm {
            warm.furnish(folder, &resolved.plan)?;
        }
        self.companion.map_or(Ok(()), |companion| companion.resolved(&resolved))?;
        let reach = if warm.is_some() { Reach::Owner } else { Reach::Machine };
        progress("starting its keeper");
        let keeper = keeper::launch(folder, reach)?;
        fail_point::reached(FailPoint::RunKeeper);
        if let Some(warm) = &warm {
            warm.connect(folder)?;
        }
        progress("booting its machine, and running the command");
        let ended = pins.still().and_then(|()| self.machine(&resolved, warm, keeper, events));
        progress("removing it");
        fail_point::reached(FailPoint::RunEnded);
        let asked = match shape {
            Some(shape) => ask(home, shape, config.warm),
            None if config.warm == 0 => ask_for_none(home),
            None => Ok(()),
        };
        if let Err(error) = asked {
            out::note(format_args!("no machine is kept ready for the next run: {error:#}"));
        }
        if let Some(companion) = self.companion {
            companion.collect();
            drop(files);
            return Ok(Ran { ended, changed: 0 });
        }
        drop(files);
        Ok(Ran { ended, changed: Copy::leave(folder)? })
    }

    /// Returns the machine of the pool that would do, if this run may begin as one.
    fn shape(&self, resolved: &Resolved) -> Option<Shape> {
        // What accompanies a run removes its machine if the run is killed. It has to be the run's alone.
        if self.config.warm == 0 || self.companion.is_some() || self.folder.copy().exists() {
            return None;
        }
        fit(resolved, &self.tools.smolvm).ok()?.ok()
    }

    /// Runs the machine beside a keeper that is still starting, and ends both.
    fn machine(
        &self,
        resolved: &Resolved,
        warm: Option<Taken>,
        keeper: Starting,
        events: &Events,
    ) -> Outcome<(Ended, Contact)> {
        let Self { folder, tools: Tools { smolvm, .. }, command, patience, .. } = *self;
        let streams = self.companion.map(Companion::streams).transpose()?;
        let terminal = if streams.is_some() { Terminal::Pipe } else { Terminal::here() };
        let command = terminal::given(&Execution::default(), terminal).words(command);
        let mut call = if let Some(warm) = &warm {
            warm.call(smolvm, &resolved.plan, terminal, &command)
        } else {
            let mut words = resolved.plan.link();
            words.push("--".to_owned());
            words.extend(command);
            smolvm.run(&folder.smolfile(), &folder.guest_socket(), resolved.launch(), terminal, &words)
        };
        call.stderr(Stdio::piped());
        if streams.is_some() {
            call.stdout(Stdio::piped());
        }
        let kept = (terminal == Terminal::Tty).then(Kept::here).flatten();
        let places = kept.as_ref().and_then(|_| Places::of(folder, &resolved.plan));
        let typing = typing::Prepared::of(&mut call, places);
        // A signal, rather than a kill, lets smolvm take its machine down.
        die_with_parent(&mut call, Signal::TERM);
        let mut child = call.spawn().map_err(anyhow::Error::from)?;
        let typing = typing.map(|typing| typing.begin(&child)).transpose().map_err(anyhow::Error::from)?;
        fail_point::reached(FailPoint::RunMachine);
        self.companion.iter().for_each(|companion| companion.called(child.id()));
        let name = Arc::new(Mutex::new(None));
        let Streams { mut out, err, named } = streams.unwrap_or_else(own_streams);
        let heard = child
            .stdout
            .take()
            .map(|mut from| thread::spawn(move || drop(std::io::copy(&mut from, &mut out))));
        let is_named = warm.is_none();
        let said = child.stderr.take().map(|stderr| {
            if is_named { pass_on(stderr, err, Arc::clone(&name), named) } else { pass_on_exec(stderr, err) }
        });
        let machine = match &warm {
            Some(warm) => warm.machine(smolvm),
            None => smolvm.machine_below(Pid::from_child(&child)),
        };
        // The remaining checks run while the machine boots. One that is up has a name of its own.
        let free = if warm.is_some() { Ok(()) } else { is_free(smolvm, folder.slug()) };
        let keeper = free.and_then(|()| ready(keeper, machine, folder, &child));
        let keeper = keeper.and_then(|keeper| {
            self.companion.map_or(Ok(()), Companion::kept)?;
            Ok(keeper)
        });
        let told = keeper.is_err().then(|| tell(&child, TERM));
        if warm.is_some() && keeper.is_ok() {
            end_unless_connected(folder, &child)?;
        }
        let ended = wait(&mut child, events, terminal, told, patience);
        drop((typing, kept));
        let ended = ended?;
        for said in [said, heard].into_iter().flatten() {
            // Somebody may still hold the pipe, such as an orphan of the guest. It does not hold us up.
            let end = Instant::now() + Duration::from_secs(1);
            while !said.is_finished() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
        }
        if let Some(warm) = warm {
            warm.end(self.home, smolvm)?;
        } else if !matches!(ended, Ended::Status(_)) {
            let name = name.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(name) = name {
                delete_left(smolvm, &name)?;
            }
        }
        let keeper = keeper?;
        let status = control::status(folder);
        self.companion.iter().for_each(|companion| companion.ended(status.as_deref()));
        drop(keeper);
        let contact = match status {
            Some(status) if status.guest_seen => Contact::Made,
            Some(_) => Contact::Never,
            None => Contact::Unknown,
        };
        Ok((ended, contact))
    }
}

/// Checks that no machine has this bottle's name. A machine that nothing here remembers would find the
/// keeper.
fn is_free(smolvm: &Smolvm, slug: &Slug) -> Outcome {
    match smolvm.machine(slug)? {
        Some(_) => Err(there_is(slug)),
        None => Ok(()),
    }
}

fn there_is(slug: &Slug) -> Failure {
    Failure::new(Kind::Busy, format!("there is a bottle {slug} already")).help(format!(
        "`bottle exec {slug} -- COMMAND` runs a command in it, and `bottle run {slug}-2 -- COMMAND` in another beside it; `bottle rm {slug}` removes it"
    ))
}

/// Waits for the keeper, and tells it which guest to greet: the one of this smolvm call.
fn ready(keeper: Starting, machine: Named, folder: &Folder, call: &Child) -> Outcome<Keeper> {
    let (keeper, call) = (keeper.ready()?, Pid::from_child(call));
    let told = control::demand(folder, &control::Request::Expect { machine }, Kind::Guest);
    // A call that has ended has no guest. Whoever waits for it reports how it ended.
    if told.is_err() && Process::of(call.as_raw_pid()).is_none() {
        return Ok(keeper);
    }
    told.map(|()| keeper)
}

/// How long the helper of a machine that was up already may take to connect.
const CONNECT: Duration = Duration::from_secs(50);

/// Ends a call if the guest does not connect in time: smolvm waits for the end of a boot, and of nothing else.
fn end_unless_connected(folder: &Folder, call: &Child) -> Result<()> {
    let (folder, pid) = (folder.clone(), Pid::from_child(call));
    let call = Process::of(pid.as_raw_pid());
    let limit_ms = u64::try_from(CONNECT.min(longest()).as_millis())?;
    thread::Builder::new().name("connect".to_owned()).spawn(move || {
        let connected = control::demand(&folder, &control::Request::AwaitGuest { limit_ms }, Kind::Guest);
        if connected.is_err() && call.is_some() && Process::of(pid.as_raw_pid()) == call {
            let _ = kill_process(pid, Signal::TERM);
            thread::sleep(GRACE);
            if Process::of(pid.as_raw_pid()) == call {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    })?;
    Ok(())
}

/// How long the process of a machine may take to end after its call was killed.
const LEFT: Duration = Duration::from_secs(5);

/// Deletes the machine that an interrupted run left behind.
///
/// # Errors
/// Returns an error if smolvm does not answer.
pub fn delete_left(smolvm: &Smolvm, name: &str) -> Result<()> {
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

/// Returns whether an interrupted run left this machine behind: it was ephemeral, is nobody's bottle, and has
/// no process. The guest can write to the stream from which its name is read, so a name alone never deletes a
/// machine that somebody uses.
fn is_left(machine: &Machine) -> bool {
    machine.ephemeral && machine.labels.is_empty() && machine.pid.and_then(Process::of).is_none()
}

/// The longest line of smolvm's own, and the most lines before the one with the machine's name.
const LONGEST: u64 = 4096;
const FIRST_LINES: usize = 100;

/// Returns this process's own streams.
fn own_streams() -> Streams {
    Streams { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()), named: Box::new(|_| {}) }
}

/// Forwards the guest's standard error without smolvm's own messages, and remembers the name that smolvm gave
/// the machine.
fn pass_on(
    stderr: ChildStderr,
    mut out: Box<dyn Write + Send>,
    name: Arc<Mutex<Option<String>>>,
    named: Box<dyn FnOnce(&str) + Send>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        // Only the first lines are smolvm's. Later bytes pass unchanged.
        let mut line = Vec::new();
        for _ in 0..FIRST_LINES {
            line.clear();
            let mut bounded = reader.by_ref().take(LONGEST);
            if !bounded.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                break;
            }
            if let Some(given) = given_name(&line) {
                named(&given);
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

/// Forwards the guest's standard error without what smolvm itself says first.
fn pass_on_exec(stderr: ChildStderr, mut out: Box<dyn Write + Send>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        for _ in 0..FIRST_LINES {
            line.clear();
            let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line);
            if !read.is_ok_and(|read| read > 0) {
                return;
            }
            if !line.starts_with(b"note: ") {
                let _ = out.write_all(&line);
                break;
            }
        }
        let _ = std::io::copy(&mut reader, &mut out);
    })
}

/// Returns the name that smolvm gives a machine in this line, if there is one: `vm-` and hexadecimal digits.
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
