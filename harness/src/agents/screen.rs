//! An agent's full-screen interface, through a terminal: what is typed and pasted arrives, what is answered is shown in
//! colour, a new size is taken, Ctrl-Z is survived, Ctrl-C interrupts and then ends it, and the terminal is itself again.

use super::agent::{Agent, CTRL_C, Screen};
use super::setting::Setting;
use crate::checkout::Checkout;
use crate::environment::{Guest, Project};
use crate::terminal::Terminal;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long an installation may take.
const INSTALLED: Duration = Duration::from_secs(300);
/// How long anything else may take.
const SOON: Duration = Duration::from_secs(90);
/// How long something may take that is tried again.
const BRIEFLY: Duration = Duration::from_secs(5);
/// Gemini CLI takes a Return that follows a paste at once for a part of it.
const PASTED: Duration = Duration::from_secs(1);
/// aider takes two Ctrl-C within two seconds for the wish to end it.
const FORGOTTEN: Duration = Duration::from_secs(3);
const BEFORE: (u16, u16) = (40, 120);
const AFTER: (u16, u16) = (45, 140);
/// Words with an umlaut, wide characters, and one beyond the first plane.
const PROMPT: &str = "Gr\u{fc}\u{df}e \u{6f22}\u{5b57} \u{1f642} an";
const PICTURE: &str = "/workspace/picture.png";
/// Writes a picture.
const DRAW: &str = "import struct, sys, zlib\n\
    part = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))\n\
    rows = b''.join(b'\\0' + b'\\x20\\x80\\xc0' * 64 for _ in range(64))\n\
    head = struct.pack('>IIBBBBB', 64, 64, 8, 2, 0, 0, 0)\n\
    png = b'\\x89PNG\\r\\n\\x1a\\n' + part(b'IHDR', head) + part(b'IDAT', zlib.compress(rows)) + part(b'IEND', b'')\n\
    open(sys.argv[1], 'wb').write(png)\n";

/// Runs one agent in a fresh environment.
///
/// # Errors
/// Returns what did not hold.
pub fn run(checkout: &Checkout, agent: &'static Agent, known: &Screen) -> Result<()> {
    let setting = Setting::new(checkout, agent, Guest::Namespace)?;
    let Setting { project, model, .. } = &setting;
    let drawn = Command::new("python3").args(["-c", DRAW]).arg(project.path("picture.png")).status()?;
    ensure!(drawn.success(), "there is no picture");
    fs::write(model.folder().join("steps.json"), r#"[{ "shell": "echo changed > changed.txt" }]"#)?;
    fs::write(model.folder().join("wanted"), format!("{PROMPT}\n{PICTURE}\nimage/png\n"))?;
    let mut terminal = Terminal::start(&setting.call(known.arguments)?, BEFORE)?;
    let before = terminal.modes()?;
    terminal.until(known.ready, INSTALLED)?;
    ensure!(size(project)? == BEFORE, "the guest's terminal has another size");

    terminal.press(PROMPT)?;
    terminal.until(PROMPT, SOON)?;
    terminal.press(" ")?;
    terminal.paste(PICTURE)?;
    terminal.until(known.picture.unwrap_or(PICTURE), SOON)?;
    thread::sleep(PASTED);
    terminal.press("\r")?;
    terminal.until("All is done.", SOON).context("the answer")?;
    ensure!(is_coloured(&terminal.screen()), "nothing on the screen has a colour");
    for word in [PROMPT, known.picture.map_or(PICTURE, |_| "image/png")] {
        let has_it = |request: &serde_json::Value| {
            request["found"].as_array().is_some_and(|found| found.iter().any(|one| one == word))
        };
        ensure!(model.requests().iter().any(has_it), "the model did not get {word:?}");
    }

    terminal.resize(AFTER.0, AFTER.1)?;
    terminal.until_it("a wider line", SOON, |screen| {
        screen.rows(0, AFTER.1).any(|row| row.chars().count() > usize::from(BEFORE.1))
    })?;
    ensure!(size(project)? == AFTER, "the guest's terminal has its old size");

    // It stops itself, and nobody but the helper lets it go on.
    terminal.press("\u{1a}")?;
    let stall = model.folder().join("stall");
    fs::write(&stall, "")?;
    let asked = model.requests().len();
    let end = Instant::now() + SOON;
    // Codex drops what was typed while it was stopped, and the terminal may have shown it meanwhile.
    while model.requests().len() == asked {
        ensure!(Instant::now() < end, "the model was not asked:\n{}", terminal.text());
        terminal.press("Wait.")?;
        let _ = terminal.until("Wait.", BRIEFLY);
        thread::sleep(PASTED);
        terminal.press("\r")?;
        let _ = terminal.until(known.waits, BRIEFLY);
    }
    terminal.until(known.waits, SOON)?;
    terminal.press(known.interrupt)?;
    if let Some((question, key)) = known.asks {
        terminal.until(question, SOON)?;
        terminal.press(key)?;
        terminal.until_it("no question", SOON, |screen| !screen.contents().contains(question))?;
    }
    terminal.until_it("the end of the request", SOON, |screen| {
        let text = screen.contents();
        !text.contains(known.waits) || known.again.is_some_and(|warning| text.contains(warning))
    })?;
    fs::remove_file(stall)?;
    thread::sleep(FORGOTTEN);
    // The prompt that was not answered may be back in its line, which Ctrl-U empties.
    terminal.press("\u{15}")?;
    terminal.press(CTRL_C)?;
    if let Some(warning) = known.again {
        terminal.until(warning, SOON)?;
        terminal.press(CTRL_C)?;
    }
    let status = terminal.wait(SOON)?;
    ensure!(status.code() == Some(0), "it ended with {status}: {}", terminal.text());
    ensure!(terminal.modes()? == before, "the terminal has other modes than before");
    ensure!(terminal.is_plain(), "the terminal is not itself again");
    Ok(())
}

/// Prints the size of the one terminal in the guest, which is the agent's.
const SIZE: &str = "for input in /proc/[0-9]*/fd/0; do case $(readlink $input) in /dev/pts/*) exec stty size < $input ;; esac; done";

/// Returns the size of the agent's terminal.
fn size(project: &Project) -> Result<(u16, u16)> {
    let said = project.run(&["exec", "--", "sh", "-c", SIZE])?;
    let mut numbers = said.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(rows)), Some(Ok(columns))) => Ok((rows, columns)),
        _ => anyhow::bail!("stty says {said:?}"),
    }
}

fn is_coloured(screen: &vt100::Screen) -> bool {
    let (rows, columns) = screen.size();
    (0..rows).any(|row| {
        (0..columns).any(|column| {
            screen
                .cell(row, column)
                .is_some_and(|cell| cell.has_contents() && cell.fgcolor() != vt100::Color::Default)
        })
    })
}
