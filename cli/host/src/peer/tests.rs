use super::machine::{Extent, Machine, Named};
use super::process::{Process, Stat};
use super::socket::Peer;
use rustix::process::Pid;
use std::os::unix::net::UnixStream;
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
    // A zombie does not count either.
    while Process::of(pid).is_some() {}
    child.wait().unwrap();
    assert_eq!(Process::of(pid), None);
    let me = process(std::process::id());
    let other = Machine { process: Process { started: me.started + 1, ..me }, ..named(1, Extent::Itself) };
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
    // It is not the first of a namespace, and neither is a virtual machine's process.
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
