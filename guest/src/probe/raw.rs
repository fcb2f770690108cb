//! Writes to the mounted socket directly, as root in the guest can do without the helper.

use super::protocol::Answer;
use bottle_core::wire::{self, Inbox};
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// How long to listen for replies.
const LISTEN: Duration = Duration::from_millis(700);
/// How many of the received frames are kept.
const KEPT: usize = 4096;

/// Stops the helper, which would take its socket back, then writes, listens, and lets the helper continue.
pub fn write(socket: &str, frames: &[String], flood: u32, bytes: &[String]) -> Answer {
    let helpers = helpers();
    signal(&helpers, Signal::STOP);
    let mut answer = match greeted(socket) {
        Ok(stream) => converse(&stream, frames, flood),
        Err(error) => Answer::failed(&error),
    };
    for bytes in bytes {
        // Each gets its own connection, because a false length ends the connection.
        if let Ok(mut stream) = greeted(socket) {
            let _ = stream.write_all(&unhex(bytes));
            let mut buffer = [0; 64];
            match stream.read(&mut buffer) {
                Ok(0) => answer.refused += 1,
                Ok(_) => answer.accepted.push(0),
                Err(_) => answer.silent += 1,
            }
        }
    }
    signal(&helpers, Signal::CONT);
    // The helper finds its connection closed and connects again.
    thread::sleep(LISTEN);
    answer
}

/// Returns the helpers of this guest: every other process that runs this program.
pub(super) fn helpers() -> Vec<Pid> {
    let me = std::fs::read_link("/proc/self/exe").ok();
    let own = getpid();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| me.is_some() && std::fs::read_link(entry.path().join("exe")).ok() == me)
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|pid| *pid != own)
        .collect()
}

/// Sends a signal to each of these helpers.
pub(super) fn signal(helpers: &[Pid], signal: Signal) {
    for helper in helpers {
        let _ = kill_process(*helper, signal);
    }
}

/// Connects, and reads the keeper's greeting.
pub(super) fn greeted(socket: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LISTEN))?;
    stream.read_exact(&mut [0; wire::HELLO.len()])?;
    Ok(stream)
}

fn converse(stream: &UnixStream, frames: &[String], flood: u32) -> Answer {
    let mut answer = Answer::default();
    let again = frames.first().into_iter().cycle().take(flood as usize);
    thread::scope(|scope| {
        let heard = scope.spawn(|| listen(stream));
        for frame in frames.iter().chain(again) {
            let frame = unhex(frame);
            let Some(header) = wire::header(frame.len()) else { continue };
            if let Err(error) = (&*stream).write_all(&[&header[..], &frame].concat()) {
                answer.failed += 1;
                answer.error = error.to_string();
            }
        }
        for frame in heard.join().unwrap_or_default() {
            answer.said.push((0, hex(&frame)));
        }
    });
    answer
}

fn listen(mut stream: &UnixStream) -> Vec<Vec<u8>> {
    let (mut frames, mut inbox) = (Vec::new(), Inbox::default());
    while let Ok(read) = stream.read(inbox.room())
        && read > 0
        && frames.len() < KEPT
    {
        inbox.arrived(read);
        while let Ok(Some(frame)) = inbox.frame() {
            frames.push(frame.to_vec());
        }
    }
    frames
}

/// Converts bytes to hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Converts hexadecimal to bytes.
pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map_while(digit).collect()
}
