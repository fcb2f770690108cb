//! Paths of this machine that a person pastes into a guest's program.
//!
//! A terminal marks what is pasted, if the program wants that: `ESC [ 200 ~`, the text, `ESC [ 201 ~`. A file that is dropped on
//! a terminal is pasted, too, as its path. If all of a paste is paths, and each is one of a file that the guest has, it becomes the
//! guest's paths of them. Everything else passes as it is: the marks as they arrive, so that no key waits for what may follow, and
//! a text that cannot be paths as well.

mod words;

use alloc::string::String;
use alloc::vec::Vec;
use words::renamed;

const BEGIN: &[u8] = b"\x1b[200~";
const END: &[u8] = b"\x1b[201~";
/// How long a paste of paths may be. A longer one is passed on as it is.
pub const MOST: usize = 16 << 10;

/// What a person types and pastes, on its way.
#[derive(Debug, Default)]
pub struct Pastes {
    state: State,
    /// How much of the mark that comes next has arrived.
    matched: usize,
}

#[derive(Debug, Default)]
enum State {
    /// Outside of a paste.
    #[default]
    Typed,
    /// In one that may be paths, with what has arrived of it.
    Held(Vec<u8>),
    /// In one that is none, or that takes too long.
    Passed,
}

impl Pastes {
    /// Takes bytes in, and returns those that go on now. `place` returns the guest's path of a file of this machine.
    pub fn pass(&mut self, bytes: &[u8], mut place: impl FnMut(&str) -> Option<String>) -> Vec<u8> {
        let mut on = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let is_marked = self.is_marked_by(byte);
            match &mut self.state {
                State::Typed => {
                    on.push(byte);
                    if is_marked {
                        self.state = State::Held(Vec::new());
                    }
                }
                State::Passed => {
                    on.push(byte);
                    if is_marked {
                        self.state = State::Typed;
                    }
                }
                State::Held(held) => {
                    held.push(byte);
                    if is_marked {
                        let text = &held[..held.len() - END.len()];
                        on.extend(renamed(text, &mut place).as_deref().unwrap_or(text));
                        on.extend(END);
                        self.state = State::Typed;
                    } else if !may_be_paths(&held[..held.len() - self.matched]) {
                        on.append(held);
                        self.state = State::Passed;
                    }
                }
            }
        }
        on
    }

    /// Returns whether bytes wait for what follows.
    pub fn holds(&self) -> bool {
        matches!(&self.state, State::Held(held) if !held.is_empty())
    }

    /// Stops waiting, and returns what waited.
    pub fn let_go(&mut self) -> Vec<u8> {
        match core::mem::take(&mut self.state) {
            State::Held(held) => {
                self.state = State::Passed;
                held
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// Returns whether a byte completes the mark that comes next.
    fn is_marked_by(&mut self, byte: u8) -> bool {
        let mark = if matches!(self.state, State::Typed) { BEGIN } else { END };
        // Only the first byte of a mark is an ESC.
        self.matched = match byte {
            b'\x1b' => 1,
            _ if self.matched > 0 && byte == mark[self.matched] => self.matched + 1,
            _ => 0,
        };
        let is_whole = self.matched == mark.len();
        if is_whole {
            self.matched = 0;
        }
        is_whole
    }
}

/// Returns whether a text could be the beginning of paths.
fn may_be_paths(text: &[u8]) -> bool {
    const STARTS: &[u8] = b"/'\"\\";
    const SCHEME: &[u8] = b"file:";
    let start = text.iter().position(|byte| !words::SEPARATORS.contains(byte)).unwrap_or(text.len());
    let rest = &text[start..];
    let starts = rest.first().is_none_or(|byte| STARTS.contains(byte))
        || rest.starts_with(&SCHEME[..rest.len().min(SCHEME.len())]);
    // What came before was looked at when it came; a mark that was none may have been left out.
    let last = &text[text.len().saturating_sub(END.len())..];
    let is_text = last.iter().all(|byte| !byte.is_ascii_control() || words::SEPARATORS.contains(byte));
    starts && is_text && text.len() <= MOST
}
