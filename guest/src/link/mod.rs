//! The guest's only network: a tap that is bridged to the socket that leads to the keeper.

pub mod endpoint;
mod interface;
mod names;
pub mod pump;
pub mod tap;

use crate::status::exit_code;
use anyhow::{Context, Result};
use bottle_core::helper::GUEST_SOCKET;
use bottle_core::subnet::Subnet;
use bottle_core::wire;
use endpoint::GuestEndpoint;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tap::{Checksums, Tap};

/// The pauses between attempts to reach the keeper. They grow, and the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
];

/// How long a keeper may take to greet. Under emulation the way through smolvm is slow.
const GREETING: Duration = Duration::from_secs(2);

struct Options {
    subnet: Subnet,
    socket: PathBuf,
    command: Vec<OsString>,
}

/// Runs `bottle-guest link`, which brings the link up and keeps it up.
///
/// Without a command it stays for ever. With one it runs the command once the link is up, and ends with the
/// command's exit status.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let options = parse(words)?;
    let (tap, endpoint) = GuestEndpoint::make(options.subnet, wire::MTU, Checksums::LeftOut)?;
    let tap = Arc::new(tap);
    names::write(options.subnet);
    let first = connect(&options.socket);
    endpoint.up()?;

    let link = thread::spawn({
        let socket = options.socket;
        move || relay(&tap, &endpoint, &socket, first)
    });
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
    while let Some(word) = parser.next()? {
        match word {
            Long("subnet") => subnet = Some(Subnet::try_from(parser.value()?.parse::<u8>()?)?),
            Long("socket") => socket = parser.value()?.into(),
            Value(first) => {
                command.push(first);
                command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Options { subnet: subnet.context("--subnet is missing")?, socket, command })
}

enum Never {}

/// Relays frames, and starts over whenever the keeper disappears. While there is no keeper the interface is
/// down, so that a program gets "network is unreachable" instead of waiting.
fn relay(tap: &Arc<Tap>, endpoint: &GuestEndpoint, socket: &Path, first: UnixStream) -> Result<Never> {
    let mut stream = first;
    loop {
        pump::run(tap, &stream);
        endpoint.down()?;
        stream = connect(socket);
        endpoint.up()?;
    }
}

fn connect(socket: &Path) -> UnixStream {
    let mut pauses = PAUSES.into_iter();
    loop {
        if let Ok(stream) = greeted(socket) {
            return stream;
        }
        thread::sleep(pauses.next().unwrap_or(PAUSES[PAUSES.len() - 1]));
    }
}

/// Connects, and waits until a keeper greets.
fn greeted(socket: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(GREETING))?;
    let mut hello = [0; wire::HELLO.len()];
    stream.read_exact(&mut hello)?;
    if hello != wire::HELLO {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.set_read_timeout(None)?;
    // A smaller buffer works, too.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, wire::IN_FLIGHT);
    Ok(stream)
}

/// Runs the command as the foreground program and leaves signals from the terminal to it.
fn run(command: &[OsString]) -> Result<ExitCode> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let [program, arguments @ ..] = command else { return Ok(ExitCode::SUCCESS) };
    // The command does not inherit a handler, as it would inherit "ignore".
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGQUIT, SIGHUP, SIGTERM])?;
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("bottle: cannot run {}: {error}", program.display());
            // As in a shell: 127 if there is no such program, 126 if it cannot be run.
            let missing = error.kind() == io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if missing { 127 } else { 126 }));
        }
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
    Ok(exit_code(child.wait()?))
}
