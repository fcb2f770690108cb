//! Decides whose connections to the guest's socket are accepted: only those of this keeper's own machine.
//!
//! Anybody who can reach the socket can connect. A peer that is not the machine is told nothing, is logged,
//! and is disconnected at once; nothing here waits for a peer. Until the keeper knows its machine,
//! connections wait without an answer, because they may be the machine's.

use crate::machine_user::FIRST_MACHINE_USER;
use bottle_host::audit::Audit;
use bottle_host::defence::Defence;
use bottle_host::peer::{Machine, Peer, Process};
use serde_json::json;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many connections may wait until the machine is known, at most one per process.
const MAX_WAITING: usize = 16;
/// How long a connection waits at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many rejected connections are logged in each [`WINDOW`]. The rest are only counted.
const BURST: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// A connection that the machine made.
#[derive(Debug)]
pub struct Admitted {
    /// The connection.
    pub stream: UnixStream,
    /// The process that made it.
    pub peer: Peer,
}

/// Decides whether each connection is accepted.
pub struct Admission {
    audit: Audit,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    machine: Option<Machine>,
    waiting: VecDeque<(Instant, Admitted)>,
    since: Option<Instant>,
    written: u32,
    held_back: u64,
}

impl Admission {
    /// Creates an admission that does not know its machine yet. Rejected connections are logged to `audit`.
    pub fn new(audit: Audit) -> Self {
        Self { audit, state: Mutex::default() }
    }

    /// Takes a new connection, and returns it if it is the machine's.
    pub fn accept(&self, stream: UnixStream) -> Option<Admitted> {
        let peer = Peer::of(&stream)?;
        let arrived = Admitted { stream, peer };
        if !Defence::Peer.stands() {
            return is_possible(&arrived.peer).then_some(arrived);
        }
        let mut state = self.lock();
        let possible = arrived.peer.process.filter(|_| is_possible(&arrived.peer));
        let Some(process) = possible else {
            self.turn_away(&mut state, arrived, "not a machine's user");
            return None;
        };
        match state.machine {
            Some(machine) => self.check(&mut state, &machine, process, arrived),
            None => {
                self.wait(&mut state, process, arrived);
                None
            }
        }
    }

    /// Accepts this machine's connections from now on, and returns its waiting connections, the oldest first.
    pub fn expect(&self, machine: Machine) -> Vec<Admitted> {
        let mut state = self.lock();
        state.machine = Some(machine);
        let waited = std::mem::take(&mut state.waiting);
        let admitted = waited.into_iter().filter_map(|(_, waited)| {
            // If the process has ended, its connection is gone, whoever holds the socket now.
            match Peer::of(&waited.stream).and_then(|peer| peer.process) {
                Some(process) => self.check(&mut state, &machine, process, waited),
                None => {
                    end(&waited.stream);
                    None
                }
            }
        });
        admitted.collect()
    }

    /// Closes connections that have waited too long, and returns whether any still wait.
    pub fn expire(&self) -> bool {
        let mut state = self.lock();
        while let Some((_, oldest)) = state.waiting.pop_front_if(|(since, _)| since.elapsed() >= PATIENCE) {
            end(&oldest.stream);
        }
        !state.waiting.is_empty()
    }

    fn check(
        &self,
        state: &mut State,
        machine: &Machine,
        process: Process,
        arrived: Admitted,
    ) -> Option<Admitted> {
        let why = if !machine.has(process) {
            "not this bottle's machine"
        } else if machine.confined && process.is_filtered() != Some(true) {
            "its process runs without a seccomp filter"
        } else {
            return Some(arrived);
        };
        self.turn_away(state, arrived, why);
        None
    }

    /// Keeps a connection waiting. Only the newest connection of each process waits, so a process that
    /// connects often takes nobody else's place.
    fn wait(&self, state: &mut State, process: Process, arrived: Admitted) {
        let before = state.waiting.iter().position(|(_, waiting)| waiting.peer.process == Some(process));
        if let Some((_, before)) = before.and_then(|at| state.waiting.remove(at)) {
            end(&before.stream);
        }
        if state.waiting.len() == MAX_WAITING
            && let Some((_, oldest)) = state.waiting.pop_front()
        {
            self.turn_away(state, oldest, "too many connections");
        }
        state.waiting.push_back((Instant::now(), arrived));
    }

    fn turn_away(&self, state: &mut State, Admitted { stream, peer }: Admitted, why: &str) {
        end(&stream);
        let now = Instant::now();
        if state.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            (state.since, state.written) = (Some(now), 0);
        }
        if state.written >= BURST {
            state.held_back += 1;
            return;
        }
        state.written += 1;
        let mut details = json!({ "pid": peer.pid, "uid": peer.uid.as_raw(), "why": why });
        match std::mem::take(&mut state.held_back) {
            0 => {}
            held_back => details["held_back"] = held_back.into(),
        }
        self.audit.write("keeper", "turned-away", details);
    }

    /// Locks the state. If a thread panicked with this lock, nothing that it protects can be half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shuts a connection down for everybody who holds it, because a child that is being started may have its
/// descriptor, too.
fn end(stream: &UnixStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

/// Returns whether a machine can run as this user: the bottle's own user, or one that smolvm creates.
fn is_possible(peer: &Peer) -> bool {
    let own = rustix::process::geteuid();
    peer.uid == own || (own.is_root() && peer.uid.as_raw() >= FIRST_MACHINE_USER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_core::specification::Need;
    use bottle_host::peer::{Extent, Named};
    use bottle_host::state::Home;
    use std::io::Read;

    fn admission() -> (tempfile::TempDir, Admission) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Home::at(dir.path().join("state"), dir.path().join("run")).bottle(&"t".parse().unwrap());
        folder.create().unwrap();
        let audit = Audit::open(&folder, Need::BestEffort).unwrap();
        (dir, Admission::new(audit))
    }

    fn machine(pid: u32, confined: bool) -> Machine {
        let pid = i32::try_from(pid).unwrap();
        Machine::named(Named { pid, extent: Extent::Itself, confined }).unwrap()
    }

    fn is_open(mut theirs: &UnixStream) -> bool {
        theirs.set_nonblocking(true).unwrap();
        theirs.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    #[test]
    fn a_connection_waits_until_the_machine_is_known() {
        let (_dir, admission) = admission();
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(admission.accept(ours).is_none());
        assert!(admission.expire() && is_open(&theirs));
        let admitted = admission.expect(machine(std::process::id(), false));
        assert_eq!(admitted.len(), 1);
        assert!(is_open(&theirs) && !admission.expire());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(admission.accept(ours).is_some(), "the machine is known, and this is it");
    }

    #[test]
    fn a_stranger_is_disconnected_at_once() {
        let (dir, admission) = admission();
        let (waiting, waits) = UnixStream::pair().unwrap();
        assert!(admission.accept(waiting).is_none());
        // This process is not the machine that the keeper is told about.
        assert!(admission.expect(machine(1, false)).is_empty());
        assert!(!is_open(&waits));
        for _ in 0..100 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            assert!(admission.accept(ours).is_none());
            assert!(!is_open(&theirs));
        }
        admission.audit.flush();
        let log = std::fs::read_to_string(dir.path().join("state/t/log/audit.jsonl")).unwrap();
        assert_eq!(log.matches("turned-away").count(), 5, "{log}");
    }

    #[test]
    fn only_one_connection_of_each_process_waits() {
        let (_dir, admission) = admission();
        let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        ours.into_iter().for_each(|ours| assert!(admission.accept(ours).is_none()));
        assert_eq!(theirs.iter().filter(|theirs| is_open(theirs)).count(), 1);
        assert!(is_open(&theirs[99]), "the newest counts");
    }

    #[test]
    fn a_machine_without_its_required_confinement_is_kept_out() {
        let (_dir, admission) = admission();
        let _ = admission.expect(machine(std::process::id(), true));
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(admission.accept(ours).is_none() && !is_open(&theirs));
    }
}
