//! `bottle watch`: bottles, inbox and log in a terminal.
//!
//! [`state`] decides what is on the screen and what a key means, and [`draw`] draws it. One thread asks the
//! desk and carries out decisions, so that a slow answer never holds up a key.

mod draw;
mod state;

use crate::desk::{Desk, Log, Overview};
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGINT, SIGTERM};
use state::{Key, State, Wish};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How often to look for keys and for news.
const GLANCE: Duration = Duration::from_millis(100);
/// How often to ask the desk.
const OFTEN: Duration = Duration::from_secs(1);

/// What the thread that asks the desk is told.
enum Ask {
    /// Look at this bottle's log, after this line.
    Look(Option<Slug>, u64),
    /// Carry this out.
    Do(Wish),
}

/// What it answers.
enum News {
    Overview(Overview),
    Log(Slug, Log),
    Said(String),
}

/// Shows bottles, inbox and log until a person ends it, or the terminal does.
///
/// # Errors
/// Returns [`Kind::Usage`] if there is no terminal.
pub fn run(desk: impl Desk) -> Outcome {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Failure::new(Kind::Usage, "`bottle watch` needs a terminal")
            .help("`bottle inbox` and `bottle logs` print the same; `bottle ui` shows it in a browser"));
    }
    let ended = Arc::new(AtomicBool::new(false));
    // A terminal that hangs up ends this process as usual: nothing is left to restore.
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(anyhow::Error::from)?;
    }
    let (asks, to_do) = channel();
    let (to_show, news) = channel();
    thread::Builder::new()
        .name("desk".to_owned())
        .spawn(move || work(&desk, &to_do, &to_show))
        .map_err(anyhow::Error::from)?;
    let mut terminal = ratatui::try_init().map_err(anyhow::Error::from)?;
    let shown = show(&mut terminal, &asks, &news, &ended);
    ratatui::restore();
    shown.map_err(|error| Failure::from(anyhow::Error::from(error)))
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    asks: &Sender<Ask>,
    news: &Receiver<News>,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut state = State::default();
    let mut looked = None;
    while !ended.load(Relaxed) {
        while let Ok(news) = news.try_recv() {
            let mut ring = false;
            match news {
                News::Overview(overview) => ring = state.see(overview),
                News::Log(slug, log) => state.read(&slug, log),
                News::Said(said) => state.said = said,
            }
            if ring {
                let mut out = std::io::stdout();
                out.write_all(b"\x07").and_then(|()| out.flush())?;
            }
        }
        let look = (state.chosen().cloned(), state.last);
        if looked.as_ref() != Some(&look) {
            let _ = asks.send(Ask::Look(look.0.clone(), look.1));
            looked = Some(look);
        }
        terminal.draw(|frame| draw::draw(frame, &state))?;
        match waiting()? {
            Waiting::Gone => return Ok(()),
            Waiting::Nothing => continue,
            Waiting::Something => {}
        }
        if let Event::Key(pressed) = event::read()?
            && let Some(key) = key(pressed)
        {
            match state.press(key) {
                Wish::Nothing => {}
                Wish::Quit => return Ok(()),
                wish => _ = asks.send(Ask::Do(wish)),
            }
        }
    }
    Ok(())
}

/// What the terminal has.
enum Waiting {
    Nothing,
    Something,
    /// There is no terminal any more.
    Gone,
}

/// Waits a moment for a key or a new size. crossterm reads the end of a terminal over and over, so it is not
/// asked once the terminal is gone.
fn waiting() -> std::io::Result<Waiting> {
    let stdin = std::io::stdin();
    let mut terminal = [PollFd::new(&stdin, PollFlags::IN)];
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(GLANCE.subsec_nanos()) };
    match rustix::event::poll(&mut terminal, Some(&limit)) {
        // A signal may have brought a new size.
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Ok(Waiting::Gone);
    }
    Ok(if event::poll(Duration::ZERO)? { Waiting::Something } else { Waiting::Nothing })
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char(letter) if !is_control => Key::Letter(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

/// Asks the desk now and then, and carries out what a person decided.
fn work(desk: &impl Desk, asks: &Receiver<Ask>, to_show: &Sender<News>) {
    let (mut slug, mut after) = (None, 0);
    loop {
        let news = match desk.overview() {
            Ok(overview) => News::Overview(overview),
            Err(failure) => News::Said(failure.what().to_owned()),
        };
        if to_show.send(news).is_err() {
            return;
        }
        if let Some(slug) = &slug
            && let Ok(log) = desk.log(slug, after)
        {
            let _ = to_show.send(News::Log(slug.clone(), log));
        }
        match asks.recv_timeout(OFTEN) {
            Ok(Ask::Look(of, last)) => (slug, after) = (of, last),
            Ok(Ask::Do(wish)) => {
                let done = match wish {
                    Wish::Answer(answer) => desk.answer(&answer),
                    Wish::Rule(rule) => desk.rule(&rule),
                    Wish::Nothing | Wish::Quit => continue,
                };
                let said = done.unwrap_or_else(|failure| failure.what().to_owned());
                let _ = to_show.send(News::Said(bottle_core::visible::Line(&said).to_string()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
