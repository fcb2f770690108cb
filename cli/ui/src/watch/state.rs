//! What is on the screen, and what a key means there. Nothing here reads or writes anything.

use crate::desk::{Answer, Class, Destination, Line, Log, Overview, Request, Rule, Scope, Standing};
use bottle_core::slug::Slug;
use std::collections::{BTreeSet, VecDeque};

/// How many lines of the log are kept.
const LINES: usize = 500;
/// The longest answer, in characters.
const LONGEST: usize = 4000;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// What agents ask.
    #[default]
    Inbox,
    /// The bottles.
    Bottles,
    /// The refused hosts of the chosen bottle.
    Refused,
    /// The log of the chosen bottle.
    Log,
}

impl Pane {
    /// Every part, in the order in which Tab passes through them.
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Bottles, Self::Refused, Self::Log];

    fn after(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter.
    Letter(char),
    /// Up.
    Up,
    /// Down.
    Down,
    /// To the next part.
    Tab,
    /// To the part before.
    BackTab,
    /// Enter.
    Enter,
    /// Back, or away.
    Escape,
    /// Take a letter back.
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// What a key asks for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Nothing that goes beyond the screen.
    Nothing,
    /// The end.
    Quit,
    /// An answer to a request.
    Answer(Answer),
    /// A decision about a host.
    Rule(Rule),
}

/// An answer that is being written.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The request that it answers.
    pub request: Request,
    /// What was written so far.
    pub text: String,
}

/// What is on the screen.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The bottles and requests.
    pub overview: Overview,
    /// The part that has the keys.
    pub pane: Pane,
    /// The position in each part, in the order of [`Pane::ALL`].
    at: [usize; 4],
    /// The newest lines of the log.
    pub lines: VecDeque<Line>,
    /// The number of the last line.
    pub last: u64,
    /// Refused hosts that a rule would open.
    pub refused: Vec<Destination>,
    /// The answer that is being written.
    pub prompt: Option<Prompt>,
    /// What was done last, or why it was not.
    pub said: String,
    /// The requests that the bell rang for.
    known: BTreeSet<(String, u32)>,
}

impl State {
    /// Takes a new overview, and returns whether there is a request that was not there before.
    pub fn see(&mut self, overview: Overview) -> bool {
        let chosen = self.chosen().cloned();
        let waiting: BTreeSet<(String, u32)> =
            overview.inbox.iter().map(|request| (request.bottle.to_string(), request.number)).collect();
        let is_new = !waiting.is_subset(&self.known);
        self.known = waiting;
        let at = overview.bottles.iter().position(|bottle| Some(&bottle.slug) == chosen.as_ref());
        self.overview = overview;
        match at {
            Some(at) => self.at[1] = at,
            None => self.forget_log(),
        }
        is_new
    }

    /// Takes what a bottle's log says.
    pub fn read(&mut self, slug: &Slug, log: Log) {
        if self.chosen() != Some(slug) {
            return;
        }
        if log.last < self.last {
            self.forget_log();
        }
        self.lines.extend(log.lines.into_iter().filter(|line| line.number > self.last));
        self.lines.drain(..self.lines.len().saturating_sub(LINES));
        self.last = log.last;
        let can_open = |one: &Destination| one.class == Class::Refused && one.rule.is_some();
        self.refused = log.destinations.into_iter().filter(can_open).collect();
    }

    fn forget_log(&mut self) {
        (self.last, self.refused) = (0, Vec::new());
        self.lines.clear();
    }

    /// Returns the bottle that is looked at.
    pub fn chosen(&self) -> Option<&Slug> {
        self.overview.bottles.get(self.position(Pane::Bottles)).map(|bottle| &bottle.slug)
    }

    /// Returns the position in a part.
    pub fn position(&self, pane: Pane) -> usize {
        let at = Pane::ALL.iter().position(|known| *known == pane).unwrap_or(0);
        self.at[at].min(self.count(pane).saturating_sub(1))
    }

    fn count(&self, pane: Pane) -> usize {
        match pane {
            Pane::Inbox => self.overview.inbox.len(),
            Pane::Bottles => self.overview.bottles.len(),
            Pane::Refused => self.refused.len(),
            Pane::Log => 0,
        }
    }

    /// Carries out a key.
    pub fn press(&mut self, key: Key) -> Wish {
        if key == Key::Interrupt {
            return Wish::Quit;
        }
        self.said.clear();
        if let Some(prompt) = self.prompt.take() {
            return self.write(prompt, key);
        }
        match key {
            Key::Letter('q') => return Wish::Quit,
            Key::Tab => self.pane = self.pane.after(1),
            Key::BackTab => self.pane = self.pane.after(Pane::ALL.len() - 1),
            Key::Up | Key::Letter('k') => self.step(false),
            Key::Down | Key::Letter('j') => self.step(true),
            Key::Letter(letter) => return self.decide(letter),
            Key::Enter | Key::Escape | Key::Backspace | Key::Interrupt => {}
        }
        Wish::Nothing
    }

    fn step(&mut self, down: bool) {
        let (pane, count) = (self.pane, self.count(self.pane));
        let now = self.position(pane);
        let next = if down { (now + 1).min(count.saturating_sub(1)) } else { now.saturating_sub(1) };
        if let Some(at) = Pane::ALL.iter().position(|known| *known == pane) {
            self.at[at] = next;
        }
        if pane == Pane::Bottles && next != now {
            self.forget_log();
        }
    }

    fn decide(&mut self, letter: char) -> Wish {
        match (self.pane, letter) {
            (Pane::Inbox, 'a' | 'r') => {
                let Some(request) = self.overview.inbox.get(self.position(Pane::Inbox)).cloned() else {
                    return Wish::Nothing;
                };
                if letter == 'a' && request.needs_an_answer {
                    self.prompt = Some(Prompt { request, text: String::new() });
                    return Wish::Nothing;
                }
                Wish::Answer(answer(&request, letter == 'a', None))
            }
            (Pane::Refused, 'a' | 'd') => {
                let at = self.refused.get(self.position(Pane::Refused));
                let (Some(host), Some(bottle)) =
                    (at.and_then(|one| one.rule.clone()), self.chosen().cloned())
                else {
                    return Wish::Nothing;
                };
                let scope = if letter == 'a' { Scope::Bottle } else { Scope::Not };
                Wish::Rule(Rule { bottle, host, scope })
            }
            _ => Wish::Nothing,
        }
    }

    fn write(&mut self, mut prompt: Prompt, key: Key) -> Wish {
        match key {
            Key::Escape => return Wish::Nothing,
            Key::Enter if prompt.text.trim().is_empty() => {
                "a question needs an answer".clone_into(&mut self.said);
            }
            Key::Enter => return Wish::Answer(answer(&prompt.request, true, Some(prompt.text))),
            Key::Backspace => _ = prompt.text.pop(),
            Key::Letter(letter) if prompt.text.chars().count() < LONGEST => prompt.text.push(letter),
            _ => {}
        }
        self.prompt = Some(prompt);
        Wish::Nothing
    }

    /// Returns the word for what the rules say about a refused host.
    pub fn word(standing: Standing) -> &'static str {
        match standing {
            Standing::Undecided => "",
            Standing::Allowed => "allowed now",
            Standing::Denied => "closed by you",
        }
    }
}

fn answer(request: &Request, approved: bool, says: Option<String>) -> Answer {
    Answer {
        bottle: request.bottle.clone(),
        number: request.number,
        seen: request.seen.clone(),
        approved,
        says,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u32, needs_an_answer: bool) -> Request {
        Request {
            bottle: "t".parse().unwrap(),
            number,
            seen: format!("seen {number}"),
            says: String::new(),
            words: String::new(),
            needs_an_answer,
            changes: Vec::new(),
            forbidden: None,
            since_ms: 0,
            waits: true,
        }
    }

    fn with(inbox: Vec<Request>) -> Overview {
        Overview { inbox, ..Overview::default() }
    }

    #[test]
    fn the_bell_rings_once_for_each_request() {
        let mut state = State::default();
        assert!(state.see(with(vec![request(1, false)])));
        assert!(!state.see(with(vec![request(1, false)])));
        assert!(state.see(with(vec![request(1, false), request(2, false)])));
        assert!(!state.see(with(vec![request(2, false)])));
        assert!(state.see(with(vec![request(3, false)])));
    }

    #[test]
    fn a_key_answers_the_request_that_is_marked_and_a_question_needs_words() {
        let mut state = State::default();
        state.see(with(vec![request(1, false), request(2, true)]));
        let Wish::Answer(given) = state.press(Key::Letter('a')) else { panic!("no answer") };
        assert_eq!((given.number, given.seen.as_str(), given.approved), (1, "seen 1", true));
        state.press(Key::Down);
        assert!(matches!(state.press(Key::Letter('a')), Wish::Nothing));
        assert!(matches!(state.press(Key::Enter), Wish::Nothing));
        // While an answer is written, a letter is a letter.
        for letter in "qx".chars() {
            assert!(matches!(state.press(Key::Letter(letter)), Wish::Nothing));
        }
        state.press(Key::Backspace);
        let Wish::Answer(given) = state.press(Key::Enter) else { panic!("no answer") };
        assert_eq!((given.number, given.says.as_deref()), (2, Some("q")));
        let Wish::Answer(given) = state.press(Key::Letter('r')) else { panic!("no answer") };
        assert_eq!((given.number, given.approved), (2, false));
        // In another part the letter means nothing.
        state.press(Key::Tab);
        assert!(matches!(state.press(Key::Letter('a')), Wish::Nothing));
        assert!(matches!(state.press(Key::Letter('q')), Wish::Quit));
    }
}
