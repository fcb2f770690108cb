//! Asks questions, one after the other or several at a time.

use super::protocol::{Answer, Attempt, Question};
use super::{dns, local, ping, ports, raw, streams, sweep, vsock};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How many questions that mostly wait are asked at the same time.
const AT_ONCE: usize = 16;

/// Runs `bottle-guest probe`, which reads questions from standard input as a JSON array and writes the
/// answers to standard output in the same order, one JSON line each.
pub fn main() -> Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let questions: Vec<Question> = serde_json::from_str(&text).context("cannot read the questions")?;
    let mut out = std::io::stdout();
    for group in questions.chunk_by(|a, b| a.waits() && b.waits()) {
        for some in group.chunks(AT_ONCE) {
            let answers: Vec<_> = thread::scope(|scope| {
                let asked: Vec<_> = some.iter().map(|question| scope.spawn(|| question.ask())).collect();
                asked.into_iter().map(|answer| answer.join().unwrap_or_default()).collect()
            });
            for answer in answers {
                writeln!(out, "{}", serde_json::to_string(&answer)?)?;
                out.flush()?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Question {
    /// Returns whether it mostly waits, and so can be asked together with others.
    fn waits(&self) -> bool {
        match self.attempt {
            Attempt::Dns { .. }
            | Attempt::Udp { .. }
            | Attempt::Say { .. }
            | Attempt::Ping { .. }
            | Attempt::Tsi { .. } => true,
            Attempt::Tcp { first, last, .. } => first == last,
            _ => false,
        }
    }

    fn ask(&self) -> Answer {
        let since = Instant::now();
        let mut answer = match &self.attempt {
            Attempt::Tcp { address, first, last } => sweep::tcp(*address, *first..=*last),
            Attempt::Udp { address, ports } => sweep::udp(*address, ports),
            Attempt::Dns { server, tcp, name, kind } => dns::ask(*server, *tcp, name, *kind),
            Attempt::Say { address, text } => sweep::say(*address, text),
            Attempt::Until { address, text, wanted, seconds } => {
                sweep::say_until(*address, text, wanted, Duration::from_secs(*seconds))
            }
            Attempt::Raw { socket, frames, flood, bytes } => raw::write(socket, frames, *flood, bytes),
            Attempt::Ports { socket, frame } => ports::sweep(socket, frame),
            Attempt::Streams { socket, first, last } => streams::ports(socket.as_ref(), *first, *last),
            Attempt::Lies { socket, bytes } => streams::lies(socket.as_ref(), bytes),
            Attempt::Ping { address } => ping::ask(*address),
            Attempt::Vsock { cid, first, last } => vsock::ports(*cid, *first..=*last),
            Attempt::Tsi { address } => vsock::impersonate(*address),
            Attempt::Unix { name, is_abstract } => local::connect(name, *is_abstract),
            Attempt::Read { path } => local::read(path),
        };
        answer.id = self.id.clone();
        answer.ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        answer
    }
}
