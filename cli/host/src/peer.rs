//! Who is at the other end of a Unix socket: which process, and whether it is the machine's.
//!
//! A user says nothing: started by root, smolvm gives machines users from 2000000 up, and so does
//! whoever hands out subordinate users. A number of a process says nothing either, for it is given
//! again. A process is its number and the time of its start.

use rustix::fs::Uid;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::net::UnixStream;

#[cfg(all(target_os = "linux", not(bottle_portable)))]
use linux::peer;
#[cfg(any(not(target_os = "linux"), bottle_portable))]
use portable::peer;

/// Whether the kernel shows who is at the other end. Where it does not, the socket is its owner's alone.
const SEEN: bool = cfg!(all(target_os = "linux", not(bottle_portable)));

/// A process, told apart from every other that had its number or will have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    started: u64,
}

/// Whoever made a connection.
#[derive(Debug)]
pub struct Peer {
    /// The process that called `connect`; `None` where it has ended, or is out of sight.
    pub process: Option<Process>,
    /// Its number then, for the log.
    pub pid: i32,
    /// Its user then.
    pub uid: Uid,
}

/// A process that a machine is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its number.
    pub pid: i32,
    /// Which processes are the machine's.
    pub extent: Extent,
    /// Whether it has to run behind a seccomp filter.
    pub confined: bool,
}

/// Which processes are a machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// The named one alone: the virtual machine's own process.
    Itself,
    /// It and those below it: a call of smolvm's, which has the virtual machine's process as a child.
    Below,
    /// It and those in the process namespace that it is the first of: the harness's stand-in, whose
    /// guest has processes of this host. A virtual machine's process is in no such namespace.
    Inside,
}

/// A machine whose connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    process: Process,
    extent: Extent,
    /// Whether its process has to run behind a seccomp filter.
    pub confined: bool,
}

impl Process {
    /// The one that has this number now, unless it has ended.
    pub fn of(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.process)
    }

    /// Its number.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// The user that it runs as; `None` where it has ended.
    pub fn user(self) -> Option<Uid> {
        if !SEEN {
            return Some(rustix::process::geteuid());
        }
        let ids = status(self.pid, "Uid")?;
        let effective = ids.split_whitespace().nth(1)?.parse().ok()?;
        (Self::of(self.pid) == Some(self)).then(|| Uid::from_raw(effective))
    }

    /// Whether it runs behind a seccomp filter, as the kernel says; `None` where it has ended.
    pub fn is_filtered(self) -> Option<bool> {
        let mode = status(self.pid, "Seccomp")?;
        (Self::of(self.pid) == Some(self)).then(|| mode == "2")
    }
}

impl Machine {
    /// The machine that is known by a process; `None` where that has ended.
    pub fn named(named: Named) -> Option<Self> {
        let process = Process::of(named.pid)?;
        Some(Self { process, extent: named.extent, confined: named.confined })
    }

    /// The process that it is known by.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Whether a process is the machine's.
    pub fn has(&self, process: Process) -> bool {
        !SEEN
            || process == self.process
            || match self.extent {
                Extent::Itself => false,
                Extent::Below => is_below(process, self.process),
                Extent::Inside => is_inside(process, self.process),
            }
    }
}

/// What the kernel says of a process in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    process: Process,
    parent: i32,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        if !SEEN {
            let lives = Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
            return lives.then_some(Self { process: Process { pid, started: 0 }, parent: 0 });
        }
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name is in parentheses and may hold any byte, parentheses among them.
    fn parse(pid: i32, line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (!matches!(state, "Z" | "X" | "x")).then_some(Self { process: Process { pid, started }, parent })
    }
}

/// How far up a process's line of parents is looked.
const LINE: usize = 64;

/// Whether one process was started by another, or by what that has started. The line is walked twice:
/// a parent that has ended meanwhile, and whose number another process has now, is not in both.
fn is_below(process: Process, ancestor: Process) -> bool {
    let line = || {
        let mut line = vec![Stat::read(process.pid)?];
        while line.last()?.process != ancestor {
            let parent = line.last()?.parent;
            if parent == 0 || line.len() == LINE {
                return None;
            }
            line.push(Stat::read(parent)?);
        }
        (line[0].process == process).then_some(line)
    };
    line().is_some_and(|first| line() == Some(first))
}

/// Whether a process is in the process namespace that another is the first of. Where the kernel does
/// not show a confined keeper the namespaces themselves, it still shows how deep they are.
fn is_inside(process: Process, first: Process) -> bool {
    let numbers = |process: Process| {
        let numbers = status(process.pid, "NSpid")?;
        Some(numbers.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let (Some(its), Some(firsts)) = (numbers(process), numbers(first)) else { return false };
    let namespace = |process: Process| fs::read_link(format!("/proc/{}/ns/pid", process.pid)).ok();
    let same = match (namespace(process), namespace(first)) {
        (Some(its), Some(firsts)) => its == firsts,
        _ => true,
    };
    same && firsts.len() > 1
        && firsts.last().is_some_and(|number| number == "1")
        && its.len() == firsts.len()
        && Process::of(process.pid) == Some(process)
        && Process::of(first.pid) == Some(first)
}

/// A field of what the kernel says of a process in many lines.
fn status(pid: i32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

impl Peer {
    /// Whoever made a connection; `None` where the kernel does not say.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        peer(stream)
    }
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod linux {
    use super::{Peer, Process, Uid};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::io;
    use std::mem::{MaybeUninit, size_of};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// The process is the one that called `connect`, and it lives: the kernel holds it by a
    /// descriptor, before Linux 6.5 from here on, since then from `connect` on.
    pub fn peer(stream: &UnixStream) -> Option<Peer> {
        let said: libc::ucred = option(stream, libc::SO_PEERCRED).ok()?;
        let process = || {
            let held = held(stream, said.pid)?;
            let process = Process::of(said.pid)?;
            lives(&held).then_some(process)
        };
        Some(Peer { process: process(), pid: said.pid, uid: Uid::from_raw(said.uid) })
    }

    fn held(stream: &UnixStream, pid: i32) -> Option<OwnedFd> {
        match option::<libc::c_int>(stream, libc::SO_PEERPIDFD) {
            // SAFETY: the kernel has just made this descriptor for whoever asked, and nobody else has it.
            #[expect(unsafe_code, reason = "a descriptor in a socket's option has no owner yet")]
            Ok(fd) if fd >= 0 => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
            }
            _ => None,
        }
    }

    fn lives(held: &OwnedFd) -> bool {
        let mut asked = [PollFd::new(held, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())) == Ok(0)
    }

    /// An option that rustix does not know, or takes for what it is not: there a peer of another
    /// process namespace, whose number is 0, is a process.
    fn option<T: Plain>(stream: &UnixStream, name: libc::c_int) -> io::Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
        // SAFETY: the kernel writes `len` bytes at most, which is the value's size, and every pattern
        // of bits is a value of a `Plain` type.
        #[expect(unsafe_code, reason = "a socket's option is written by the kernel into memory")]
        unsafe {
            let value_at = value.as_mut_ptr().cast();
            if libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, name, value_at, &raw mut len) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(value.assume_init())
        }
    }

    /// Types of which every pattern of bits is a value.
    trait Plain {}
    impl Plain for libc::ucred {}
    impl Plain for libc::c_int {}
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
mod portable {
    use super::{Peer, Process, UnixStream};

    /// The socket is its owner's alone, so nobody else gets there.
    pub fn peer(_: &UnixStream) -> Option<Peer> {
        let pid = std::process::id().cast_signed();
        Some(Peer { process: Process::of(pid), pid, uid: rustix::process::geteuid() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn child(words: &[&str]) -> Child {
        Command::new(words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn process(pid: u32) -> Process {
        Process::of(i32::try_from(pid).unwrap()).unwrap()
    }

    fn named(pid: u32, extent: Extent) -> Machine {
        Machine::named(Named { pid: i32::try_from(pid).unwrap(), extent, confined: false }).unwrap()
    }

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let line = "7 (a) R 1 2) S 5 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = Stat::parse(7, line).unwrap();
        assert_eq!((stat.parent, stat.process.started), (5, 12345));
        assert_eq!(Stat::parse(7, &line.replace(") S", ") Z")), None);
        assert_eq!(Stat::parse(7, "7 (short) S 5"), None);
        assert_eq!(Stat::parse(7, ""), None);
    }

    #[test]
    fn a_process_that_has_ended_is_none_and_its_number_means_nothing() {
        let mut child = child(&["true"]);
        let pid = i32::try_from(child.id()).unwrap();
        // A zombie is none either.
        while Process::of(pid).is_some() {}
        child.wait().unwrap();
        assert_eq!(Process::of(pid), None);
        let me = process(std::process::id());
        let other =
            Machine { process: Process { started: me.started + 1, ..me }, ..named(1, Extent::Itself) };
        assert!(!other.has(me), "the same number, started at another time");
    }

    #[test]
    fn a_machine_is_its_process_and_where_it_is_a_call_what_is_below_it() {
        let mut call = child(&["sh", "-c", "sleep 30 & echo $!; wait"]);
        let mut said = [0; 16];
        let read = std::io::Read::read(call.stdout.as_mut().unwrap(), &mut said).unwrap();
        let below = process(String::from_utf8_lossy(&said[..read]).trim().parse().unwrap());
        let mut stranger = child(&["sleep", "30"]);
        let (its_own, strange) = (process(call.id()), process(stranger.id()));
        assert!(named(call.id(), Extent::Itself).has(its_own));
        assert!(!named(call.id(), Extent::Itself).has(below));
        assert!(named(call.id(), Extent::Below).has(below) && named(call.id(), Extent::Below).has(its_own));
        assert!(!named(call.id(), Extent::Below).has(strange));
        // It is the first of no namespace of its own, as a virtual machine's process is not.
        assert!(!named(call.id(), Extent::Inside).has(strange));
        assert!(!named(call.id(), Extent::Inside).has(below));
        let pid = Pid::from_raw(below.pid()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        call.wait().unwrap();
    }

    #[test]
    fn whoever_connects_is_known_by_its_process() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.process, Some(process(std::process::id())));
        assert_eq!(peer.uid, rustix::process::geteuid());
        drop(theirs);
    }
}
