//! Asks for a stream to every port, as the guest's helper would. Only doors may answer.

use super::door::{HTTP_RESPONSE, REQUEST};
use super::limits::LIMIT;
use crate::streams::Streams;
use anyhow::Result;
use bottle_core::examine::ranges;
use bottle_core::plan::Plan;
use bottle_core::sidecar::Sidecar;
use bottle_core::stream::{Incoming, Next, Outgoing};
use bottle_host::control::{Door, Examined};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many streams are requested at once. The guest's own streams are still served meanwhile.
const AT_ONCE: u16 = 64;
/// How long a door may take to respond, or a port without a door to close.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the door of another program has to stay open to count as present.
const STAYS: Duration = Duration::from_millis(200);
/// Examines the doors of a plan, and every port that has none.
pub(super) fn run(streams: &Arc<Streams>, plan: &Plan) -> Result<Examined> {
    let since = Instant::now();
    let mut examined = Examined {
        doors: plan
            .doors
            .iter()
            .map(|(sidecar, port)| Door { sidecar, port, before: None, after: None })
            .collect(),
        ..Examined::default()
    };
    for door in &mut examined.doors {
        door.before = ask(streams, door);
    }
    let doors = plan.doors.ports();
    let others: Vec<u16> = (1..=u16::MAX).filter(|port| !doors.contains(port)).collect();
    let mut open = Vec::new();
    for ports in others.chunks(AT_ONCE.into()) {
        if since.elapsed() > LIMIT {
            examined.cut_short = Some(format!("only the ports below {} were tried", ports[0]));
            break;
        }
        let asked: Vec<UnixStream> =
            ports.iter().map(|port| connect(streams, *port)).collect::<Result<_>>()?;
        examined.frames += asked.len() as u64;
        for (port, stream) in ports.iter().zip(asked) {
            if !closes(stream, PATIENCE) {
                open.push(*port);
            }
        }
    }
    if !open.is_empty() {
        examined.answered.push(format!("a stream to {}", ranges(&open)));
    }
    for door in &mut examined.doors {
        door.after = ask(streams, door);
    }
    examined.ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(examined)
}

/// Opens a stream to a port.
fn connect(streams: &Arc<Streams>, port: u16) -> Result<UnixStream> {
    let (ours, mut theirs) = UnixStream::pair()?;
    // The keeper finds the port when it first looks, and does not have to be woken again for it.
    theirs.write_all(&port.to_be_bytes())?;
    streams.try_out(ours);
    Ok(theirs)
}

/// Returns whether a stream is closed without sending a byte.
fn closes(mut stream: UnixStream, patience: Duration) -> bool {
    let read = stream.set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut [0]));
    match read {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Tries a door, and returns why it did not respond, or `None` if it did. The egress proxy has to speak HTTP.
/// For other sidecars it is enough to keep the stream open, because a person chooses what they are.
fn ask(streams: &Arc<Streams>, door: &Door) -> Option<String> {
    let mut stream = match connect(streams, door.port) {
        Ok(stream) => stream,
        Err(error) => return Some(format!("{error:#}")),
    };
    if door.sidecar != Sidecar::Pipelock {
        return closes(stream, STAYS).then(|| "it closed the stream".to_owned());
    }
    match speak(&mut stream) {
        Ok(heard) if heard.starts_with(HTTP_RESPONSE) => None,
        Ok(_) => Some("it accepted a stream but did not respond with HTTP".to_owned()),
        Err(error) => Some(format!("nothing came back: {error}")),
    }
}

/// Sends the request, and returns the start of the response.
fn speak(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut outgoing = Outgoing::default();
    outgoing.announce(REQUEST.len());
    stream.write_all(outgoing.head())?;
    stream.write_all(REQUEST)?;
    let (mut incoming, mut heard) = (Incoming::default(), Vec::new());
    let mut buffer = [0; 64];
    while heard.len() < HTTP_RESPONSE.len() {
        let (len, is_head) = match incoming.next() {
            Next::Head(len) => (len, true),
            Next::Payload(len) => (len.min(buffer.len()), false),
            Next::End => break,
        };
        let read = stream.read(&mut buffer[..len])?;
        match (read, is_head) {
            (0, _) => return Err(ErrorKind::UnexpectedEof.into()),
            (_, true) => incoming.head(&buffer[..read]).map_err(std::io::Error::other)?,
            (_, false) => {
                incoming.payload(read);
                heard.extend(&buffer[..read]);
            }
        }
    }
    Ok(heard)
}
