//! The operator's terminal, while a guest's program has it.
//!
//! smolvm puts it into raw mode, makes its descriptors non-blocking, and undoes both unless it is killed. What the guest's
//! program switched on by escape sequences, nobody undoes: a guest that dies, or means harm, would leave a shell whose
//! mouse types, whose cursor is hidden, or whose scrollback is gone.

use crate::smolvm::Terminal;
use crate::usage::has_process_group;
use bottle_core::execution::Execution;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::getpgrp;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr};
use std::os::fd::BorrowedFd;

/// What switches off whatever a program may have left on. Terminals ignore what they do not know.
///
/// - CAN ends an unfinished sequence.
/// - Leaving the alternate screen moves the cursor to where it was saved. So it is saved first, because the program may not
///   be in that screen.
/// - Then the scrolling region, whose reset moves the cursor, too; origin and insert mode; the cursor keys and the keypad;
///   wrapping; the cursor's visibility and shape; the mouse and the focus; bracketed paste; synchronized output; the
///   keyboard protocols of xterm and kitty; the character sets; colours of text and cursor; and a link.
const RESET: &[u8] = b"\x18\x1b7\x1b[?1049l\x1b7\x1b[r\x1b[?6l\x1b8\x1b[4l\x1b[?1l\x1b>\x1b[?7h\x1b[?25h\x1b[0 q\
    \x1b[?9;1000;1001;1002;1003;1004;1005;1006;1015;1016l\x1b[?2004l\x1b[?2026l\x1b[>4;0m\x1b[=0u\x1b(B\x0f\x1b[0m\x1b[?5l\
    \x1b]8;;\x1b\\\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\";

/// This process's terminal as it was. Dropping the value makes it so again.
pub struct Kept {
    modes: Termios,
    flags: Vec<(BorrowedFd<'static>, OFlags)>,
}

impl Kept {
    /// Remembers the terminal, if standard input and output are one.
    pub fn here() -> Option<Self> {
        if !isatty(stdout()) {
            return None;
        }
        let modes = tcgetattr(stdin()).ok()?;
        let streams = [stdin(), stdout(), stderr()].into_iter();
        Some(Self { modes, flags: streams.filter_map(|fd| Some((fd, fcntl_getfl(fd).ok()?))).collect() })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (fd, flags) in &self.flags {
            let _ = fcntl_setfl(*fd, *flags);
        }
        // Whoever has the terminal now looks after it, and would stop this process.
        if !has_process_group() || tcgetpgrp(stdin()).ok() != Some(getpgrp()) {
            return;
        }
        if std::env::var_os("TERM").is_some_and(|term| term != "dumb") {
            let _ = rustix::io::write(stdout(), RESET);
        }
        // What was typed and not read was for the guest, and so were the terminal's answers to its questions.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.modes);
    }
}

/// Returns how a command is run in a guest, if this terminal is its own: as the foreground program, and with the colours
/// that the terminal has.
pub fn given(how: &Execution, terminal: Terminal) -> Execution {
    let mut how = Execution { terminal: terminal == Terminal::Tty, ..how.clone() };
    if how.terminal
        && shows_all_colours()
        && let (Ok(name), Ok(value)) = ("COLORTERM".parse(), "truecolor".parse())
    {
        how.env.entry(name).or_insert(value);
    }
    how
}

fn shows_all_colours() -> bool {
    std::env::var_os("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit")
}
