//! The guest's only network, which ends at the socket to the keeper.
//!
//! With a network stack on the host, a tap is bridged to that socket ([`pump`]), and the guard is on the
//! other side. Otherwise the guest's own kernel is the stack: connections to the doors are accepted here and
//! become streams ([`streams`]), and whatever else reaches the tap is refused here ([`refuse`]).

pub mod endpoint;
mod interface;
mod keeper;
mod names;
pub mod pump;
mod refuse;
mod scratch;
mod streams;
pub mod tap;

use crate::status::{exit_code, not_run};
use anyhow::{Context, Result};
use bottle_core::guard::Guard;
use bottle_core::helper::{GUEST_SOCKET, WORKSPACE};
use bottle_core::stream::Opening;
use bottle_core::subnet::Subnet;
use bottle_core::wire;
use endpoint::GuestEndpoint;
use keeper::Way;
use refuse::Reports;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use streams::Doors;
use tap::{Checksums, Tap};

struct Options {
    subnet: Subnet,
    /// The doors' ports, if the guest's own kernel is the network stack.
    doors: Vec<NonZeroU16>,
    socket: PathBuf,
    command: Vec<OsString>,
}

/// Runs `bottle-guest link`, which brings the link up and keeps it up.
///
/// Without a command, it runs forever. With one, it runs the command once the link is up, and ends with the
/// command's exit status.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let options = parse(words)?;
    let (tap, mut endpoint) = GuestEndpoint::make(options.subnet, wire::MTU, Checksums::LeftOut)?;
    let tap = Arc::new(tap);
    names::write(options.subnet);
    scratch::open();
    let keeper = Way::to(options.socket);
    let link = if options.doors.is_empty() {
        let first = keeper.wait_for(None);
        endpoint.up()?;
        thread::spawn(move || relay(&tap, &endpoint, &keeper, first))
    } else {
        endpoint.hold_the_proxys_address()?;
        let reports = Reports::default();
        // No frame is for a door, because connections to doors never get here.
        refuse::start(tap, Guard::new(options.subnet, &BTreeSet::new()), reports.clone())?;
        let first = keeper.wait_for(Some(Opening::Reports));
        let doors = move || Doors::open(options.subnet.proxy(), &options.doors);
        let opened = doors()?;
        endpoint.up()?;
        thread::spawn(move || serve(&endpoint, &keeper, &reports, doors, (first, opened)))
    };
    if options.command.is_empty() {
        return match link.join() {
            Ok(Err(error)) => Err(error),
            Ok(Ok(never)) => match never {},
            Err(_) => anyhow::bail!("the link's thread ended"),
        };
    }
    run(&options.command)
}

fn parse(words: Vec<OsString>) -> Result<Options> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let (mut subnet, mut socket, mut command) = (None, PathBuf::from(GUEST_SOCKET), Vec::new());
    let mut doors = Vec::new();
    while let Some(word) = parser.next()? {
        match word {
            Long("subnet") => subnet = Some(Subnet::try_from(parser.value()?.parse::<u8>()?)?),
            Long("doors") => {
                for port in parser.value()?.string()?.split(',') {
                    doors.push(port.parse::<NonZeroU16>()?);
                }
            }
            Long("socket") => socket = parser.value()?.into(),
            Value(first) => {
                command.push(first);
                command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Options { subnet: subnet.context("--subnet is missing")?, doors, socket, command })
}

enum Never {}

/// Relays frames, and starts over whenever the keeper disappears. While there is no keeper, the interface is
/// down, so that a program gets "network is unreachable" instead of waiting.
fn relay(tap: &Arc<Tap>, endpoint: &GuestEndpoint, keeper: &Way, first: UnixStream) -> Result<Never> {
    let mut stream = first;
    loop {
        pump::run(tap, &stream);
        endpoint.down()?;
        stream = keeper.wait_for(None);
        endpoint.up()?;
    }
}

/// Serves the doors, and starts over whenever the keeper disappears. While there is no keeper, nothing
/// listens on the doors' ports, and the interface is down.
fn serve(
    endpoint: &GuestEndpoint,
    keeper: &Way,
    reports: &Reports,
    doors: impl Fn() -> Result<Doors>,
    first: (UnixStream, Doors),
) -> Result<Never> {
    let (mut stream, mut opened) = first;
    loop {
        reports.go_to(Some(stream.try_clone()?));
        opened.serve(keeper, stream)?;
        reports.go_to(None);
        endpoint.down()?;
        stream = keeper.wait_for(Some(Opening::Reports));
        opened = until_free(&doors);
        endpoint.up()?;
    }
}

/// Opens the doors as soon as nothing else in the guest uses their ports.
fn until_free(doors: impl Fn() -> Result<Doors>) -> Doors {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        match doors() {
            Ok(doors) => return doors,
            Err(error) => eprintln!("bottle-guest: {error:#}"),
        }
        thread::sleep(PAUSE);
    }
}

/// Runs the command as the foreground program, and leaves signals from the terminal to it.
fn run(command: &[OsString]) -> Result<ExitCode> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let [program, arguments @ ..] = command else { return Ok(ExitCode::SUCCESS) };
    // The command does not inherit a handler, as it would inherit "ignore".
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGQUIT, SIGHUP, SIGTERM])?;
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => return Ok(not_run(program, &error)),
    };
    let pid = rustix::process::Pid::from_child(&child);
    thread::spawn(move || {
        for signal in &mut signals {
            // SIGINT and SIGQUIT already reach the command through the terminal's process group.
            let forwarded = match signal {
                SIGHUP => rustix::process::Signal::HUP,
                SIGTERM => rustix::process::Signal::TERM,
                _ => continue,
            };
            let _ = rustix::process::kill_process(pid, forwarded);
        }
    });
    let status = child.wait()?;
    // Whoever runs this may end the machine at once, and takes back what is there then.
    if let Ok(workspace) = File::open(WORKSPACE) {
        let _ = rustix::fs::syncfs(workspace);
    }
    Ok(exit_code(status))
}
