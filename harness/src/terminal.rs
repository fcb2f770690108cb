//! A terminal for programs under test: keys go in, and its screen is read back from what they print.

use crate::processes::wait_at_most;
use crate::stand_in::terminal;
use anyhow::{Context, Result, ensure};
use bottle_host::process::die_with_parent;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fcntl_getfl;
use rustix::process::Signal;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

const GLANCE: Duration = Duration::from_millis(20);
/// What follows the last bytes that a program printed. A terminal ignores it.
const END: &[u8] = b"\0\0\0\0";
/// How long a reader waits before it looks whether anybody still wants to know.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A terminal with a program in it. The program is killed when the value is dropped.
pub struct Terminal {
    child: Child,
    /// Both ends, until it is hung up. The programs' end is held so that the screen can be read when they have ended.
    ends: Option<(File, OwnedFd)>,
    shown: Arc<Mutex<Shown>>,
}

/// What a program has printed.
struct Shown {
    bytes: Vec<u8>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Runs a program in a terminal of this many rows and columns.
    ///
    /// # Errors
    /// Returns an error if it cannot be started.
    pub fn start(program: &Command, (rows, columns): (u16, u16)) -> Result<Self> {
        let (master, slave) = terminal::pair()?;
        tcsetwinsize(&master, size(rows, columns))?;
        let mut command = terminal::command(program.get_program(), &slave)?;
        command.args(program.get_args()).env("TERM", "xterm-256color");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = program.get_current_dir() {
            command.current_dir(folder);
        }
        die_with_parent(&mut command, Signal::KILL);
        let child = command.spawn().context("setsid")?;
        let master = File::from(master);
        let screen = vt100::Parser::new(rows, columns, 0);
        let shown = Arc::new(Mutex::new(Shown { bytes: Vec::new(), screen }));
        let (output, to) = (master.try_clone()?, Arc::downgrade(&shown));
        thread::spawn(move || read(output, &to));
        Ok(Self { child, ends: Some((master, slave)), shown })
    }

    /// Returns the process of the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the screen.
    pub fn screen(&self) -> vt100::Screen {
        self.shown().screen.screen().clone()
    }

    /// Returns the text on the screen.
    pub fn text(&self) -> String {
        self.screen().contents()
    }

    /// Returns everything that was printed.
    pub fn bytes(&self) -> Vec<u8> {
        self.shown().bytes.clone()
    }

    /// Waits until a text is on the screen.
    ///
    /// # Errors
    /// Returns what is on it instead after this time.
    pub fn until(&self, text: &str, limit: Duration) -> Result<()> {
        self.until_it(text, limit, |screen| screen.contents().contains(text))
    }

    /// Waits until this holds of the screen.
    ///
    /// # Errors
    /// Returns what is on it instead after this time.
    pub fn until_it(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&vt100::Screen) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + limit;
        while !holds(&self.screen()) {
            ensure!(Instant::now() < end, "{what:?} is not on the screen:\n{}", self.text().trim_end());
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Types.
    ///
    /// # Errors
    /// Returns an error if the terminal is gone.
    pub fn press(&self, keys: &str) -> Result<()> {
        Ok((&self.ends()?.0).write_all(keys.as_bytes())?)
    }

    /// Types a text as a terminal pastes it.
    ///
    /// # Errors
    /// Returns an error if the terminal is gone.
    pub fn paste(&self, text: &str) -> Result<()> {
        self.press(&format!("\u{1b}[200~{text}\u{1b}[201~"))
    }

    /// Changes its size, which tells the program.
    ///
    /// # Errors
    /// Returns an error if the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.shown().screen.screen_mut().set_size(rows, columns);
        Ok(tcsetwinsize(&self.ends()?.0, size(rows, columns))?)
    }

    /// Returns its modes, and the flags of the descriptors that the program shares with its shell, to compare.
    ///
    /// # Errors
    /// Returns an error if the terminal is gone.
    pub fn modes(&self) -> Result<String> {
        let slave = &self.ends()?.1;
        let (modes, flags) = (tcgetattr(slave)?, fcntl_getfl(slave)?);
        Ok(format!("{:?} {:?} {:?} {flags:?}", modes.input_modes, modes.output_modes, modes.local_modes))
    }

    /// Waits until keys go to the program as they are, without an echo or a signal of this terminal.
    ///
    /// # Errors
    /// Returns an error if the terminal is gone, or what is on the screen after this time.
    pub fn until_raw(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while tcgetattr(&self.ends()?.1)?.local_modes.contains(LocalModes::ICANON) {
            ensure!(Instant::now() < end, "the terminal is not raw:\n{}", self.text().trim_end());
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Returns whether nothing is left on that a program can switch on.
    pub fn is_plain(&self) -> bool {
        let screen = self.screen();
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && !screen.application_cursor()
            && !screen.application_keypad()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
            && screen.fgcolor() == vt100::Color::Default
            && !screen.inverse()
    }

    /// Waits for the program's end, and for everything that it printed.
    ///
    /// # Errors
    /// Returns what is on the screen if it does not end in this time.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = wait_at_most(&mut self.child, limit)?;
        let ended = ended.with_context(|| format!("it does not end:\n{}", self.text().trim_end()))?;
        if let Some((_, slave)) = &self.ends {
            rustix::io::write(slave, END)?;
            let end = Instant::now() + limit;
            while !self.shown().bytes.ends_with(END) {
                ensure!(Instant::now() < end, "what it printed does not end");
                thread::sleep(GLANCE);
            }
        }
        Ok(ended)
    }

    /// Takes the terminal away, as a window that is closed does.
    pub fn hang_up(&mut self) {
        self.ends = None;
        // The reader ends with the last place for what it reads.
        let empty = Shown { bytes: Vec::new(), screen: vt100::Parser::default() };
        self.shown = Arc::new(Mutex::new(empty));
    }

    fn ends(&self) -> Result<&(File, OwnedFd)> {
        self.ends.as_ref().context("it was hung up")
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what programs print, for as long as somebody wants to know it.
fn read(mut output: File, to: &Weak<Mutex<Shown>>) -> Option<()> {
    let mut bytes = [0; 4096];
    loop {
        let ready = poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&PATIENCE)).ok()?;
        let shown = to.upgrade()?;
        if ready > 0 {
            let read = output.read(&mut bytes).ok().filter(|read| *read > 0)?;
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.bytes.extend_from_slice(&bytes[..read]);
            shown.screen.process(&bytes[..read]);
        }
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
