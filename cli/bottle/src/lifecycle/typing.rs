//! What a person types, on its way to a guest's program.
//!
//! smolvm has a terminal of its own as its input, and this process passes on what arrives at the real one, with the guest's paths
//! in the place of those that were pasted ([`bottle_core::paste`]). smolvm's output is the real terminal. What is typed before smolvm
//! makes its input raw stays with the real terminal until then, and Ctrl-C still ends the start of a machine.

use bottle_core::paste::Pastes;
use bottle_host::pty;
use bottle_host::workspace::Places;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use signal_hook::SigId;
use signal_hook::consts::SIGWINCH;
use signal_hook::low_level::{pipe, unregister};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};

/// How often smolvm's terminal is looked at until it is raw.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// How long the rest of a paste is waited for.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Ctrl-D, with which a person ends the input of a program.
const END: u8 = 4;

/// A terminal for a call of smolvm that has not started yet.
pub struct Prepared {
    master: OwnedFd,
    places: Places,
}

/// The terminal of a call of smolvm. Nothing is passed on once the value is dropped.
pub struct Typing {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    resized: SigId,
}

impl Prepared {
    /// Gives a call a terminal of its own as its input, if the guest has files of this machine. If there is none, the call keeps the
    /// real one, and a pasted path stays as it is.
    pub fn of(call: &mut Command, places: Option<Places>) -> Option<Self> {
        let places = places?;
        let (master, slave) = pair().ok()?;
        call.stdin(slave);
        Some(Self { master, places })
    }

    /// Begins to pass on what is typed to a call that has started.
    ///
    /// # Errors
    /// Returns an error if no thread can be started.
    pub fn begin(self, child: &Child) -> io::Result<Typing> {
        let (stopped, stop) = UnixStream::pair()?;
        let (resized, sender) = UnixStream::pair()?;
        resized.set_nonblocking(true)?;
        let signal = pipe::register(SIGWINCH, sender)?;
        let relay = Relay {
            master: self.master,
            places: self.places,
            stopped,
            resized,
            child: Pid::from_child(child),
            pastes: Pastes::default(),
            rest: Vec::new(),
        };
        let thread = thread::Builder::new().name("typing".to_owned()).spawn(move || {
            // Whichever terminal is gone, the call notices it, too.
            let _ = relay.run();
        })?;
        Ok(Typing { stop: Some(stop), thread: Some(thread), resized: signal })
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        unregister(self.resized);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A terminal like this process's, in the same mode and of the same size.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = pty::pair()?;
    tcsetattr(&slave, OptionalActions::Now, &tcgetattr(stdin())?)?;
    tcsetwinsize(&master, tcgetwinsize(stdin())?)?;
    // A guest that does not read must not keep the call from ending.
    fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
    Ok((master, slave))
}

struct Relay {
    master: OwnedFd,
    places: Places,
    stopped: UnixStream,
    resized: UnixStream,
    child: Pid,
    pastes: Pastes,
    /// What the call has not read yet.
    rest: Vec<u8>,
}

impl Relay {
    /// Passes on what arrives until it is told to stop, or one of the terminals is gone.
    fn run(mut self) -> io::Result<()> {
        let mut is_raw = false;
        loop {
            is_raw = is_raw || self.follows()?;
            let takes = if is_raw && self.rest.is_empty() { PollFlags::IN } else { PollFlags::empty() };
            let gives = if self.rest.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let limit = match is_raw {
                false => Some(GLANCE),
                true => self.pastes.holds().then_some(PATIENCE),
            };
            let input = stdin();
            let mut ready = [
                PollFd::new(&self.stopped, PollFlags::IN),
                PollFd::new(&self.resized, PollFlags::IN),
                PollFd::new(&input, takes),
                PollFd::new(&self.master, gives),
            ];
            let is_late = match poll(&mut ready, limit.as_ref()) {
                Err(Errno::INTR) => continue,
                count => count? == 0,
            };
            let [stopped, resized, typed, called] = ready.map(|one| one.revents());
            let is_gone = (typed | called).intersects(PollFlags::HUP | PollFlags::ERR);
            if !stopped.is_empty() || is_gone {
                return Ok(());
            }
            if !resized.is_empty() {
                self.resize();
            }
            if is_late && is_raw {
                self.rest.extend(self.pastes.let_go());
            }
            if is_raw && !typed.is_empty() && self.rest.is_empty() && self.read()? {
                return Ok(());
            }
            self.write()?;
        }
    }

    /// Makes the real terminal raw if smolvm's is, or the other way round. Returns whether both are.
    fn follows(&mut self) -> io::Result<bool> {
        let (here, there) = (tcgetattr(stdin())?, tcgetattr(&self.master)?);
        let is_raw = |modes: &rustix::termios::Termios| !modes.local_modes.contains(LocalModes::ICANON);
        match (is_raw(&here), is_raw(&there)) {
            (false, false) => return Ok(false),
            (true, true) => {}
            (here_is, _) => {
                if !here_is {
                    self.read_lines()?;
                }
                let mut raw = if here_is { there } else { here };
                raw.make_raw();
                let to = if here_is { self.master.as_fd() } else { stdin() };
                tcsetattr(to, OptionalActions::Now, &raw)?;
            }
        }
        Ok(true)
    }

    /// Reads the lines that were typed before the terminal is raw. In a raw one, an end of input among them would be a NUL.
    fn read_lines(&mut self) -> io::Result<()> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A terminal keeps 4096 bytes, each of which may be a line.
        for _ in 0..4096 {
            match poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], Some(&NOW)) {
                Err(Errno::INTR) => continue,
                ready if ready? == 0 => break,
                _ => {}
            }
            if self.read()? {
                self.rest.push(END);
                break;
            }
        }
        Ok(())
    }

    /// Reads what was typed. Returns whether that is an end.
    fn read(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let read = match rustix::io::read(stdin(), &mut bytes) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            read => read?,
        };
        let places = &self.places;
        self.rest.extend(self.pastes.pass(&bytes[..read], |path| places.of_file(path)));
        Ok(read == 0)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        match rustix::io::write(&self.master, &self.rest) {
            Ok(written) => drop(self.rest.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Gives smolvm's terminal the size of the real one, and tells smolvm, which may have looked before.
    fn resize(&mut self) {
        let _ = rustix::io::read(&self.resized, &mut [0_u8; 64]);
        let _ = tcgetwinsize(stdin()).and_then(|size| tcsetwinsize(&self.master, size));
        let _ = kill_process(self.child, Signal::WINCH);
    }
}
