//! The positive witness: a door responds, through guard and stack, to a client made of frames.

use super::sweep::Sweep;
use super::unpredictable::Unpredictable;
use anyhow::Result;
use bottle_core::examine::{Arrived, Client};
use bottle_core::sidecar::Sidecar;
use bottle_host::control::Door;
use std::net::SocketAddrV4;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long a door may take to respond.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait for a response before a segment is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// How many source ports are tried. A guest may have used one of them.
const TRIES: u16 = 3;
/// A request that the egress proxy refuses. A refusal is a response.
pub(super) const REQUEST: &[u8] =
    b"GET http://verify.invalid/ HTTP/1.1\r\nHost: verify.invalid\r\nConnection: close\r\n\r\n";
/// The start of every response of an HTTP proxy.
pub(super) const HTTP_RESPONSE: &[u8] = b"HTTP/1.";

/// Tries a door, and returns why it did not respond, or `None` if it did. The egress proxy has to speak HTTP.
/// For other sidecars it is enough to accept the connection, because a person chooses what they are.
pub(super) fn ask(
    asked: &Door,
    sweep: &mut Sweep<'_>,
    heard: &Receiver<Vec<u8>>,
    unpredictable: &Unpredictable<'_>,
    when: &str,
) -> Result<Option<String>> {
    let mut why = None;
    for _ in 0..TRIES {
        let from = sweep.port_for_a_door();
        let sequence = unpredictable.number(&format!("{when} {from}"));
        why = try_once(asked, sweep, heard, from, sequence)?;
        if why.is_none() {
            break;
        }
    }
    Ok(why)
}

fn try_once(
    asked: &Door,
    sweep: &mut Sweep<'_>,
    heard: &Receiver<Vec<u8>>,
    from: u16,
    sequence: u32,
) -> Result<Option<String>> {
    let to = SocketAddrV4::new(sweep.guard.proxy(), asked.port);
    let request = if asked.sidecar == Sidecar::Pipelock { REQUEST } else { b"" };
    let mut client = Client::new(from, to, sequence, request);
    let end = Instant::now() + PATIENCE;
    let answered = |client: &Client| {
        client.heard().starts_with(HTTP_RESPONSE) || (request.is_empty() && client.is_connected())
    };
    while !answered(&client) && !client.is_over() && Instant::now() < end {
        if !sweep.send(&sweep.guard.tcp_frame(&client.segment()))? {
            return Ok(Some("the guard refused the first segment to it".to_owned()));
        }
        let again = Instant::now() + AGAIN;
        while let Ok(frame) = heard.recv_timeout(again.saturating_duration_since(Instant::now())) {
            let arrived = Arrived::parse(&frame).filter(|arrived| arrived.port == from);
            if arrived.is_some_and(|arrived| client.handle(arrived.from, &arrived.what)) {
                break;
            }
        }
    }
    // Leave no connection open at the other end.
    sweep.send(&sweep.guard.tcp_frame(&client.reset()))?;
    Ok(match client {
        client if answered(&client) => None,
        client if client.is_refused() => Some("the network stack refused the connection".to_owned()),
        client if client.is_connected() => {
            Some("it accepted a connection but did not respond with HTTP".to_owned())
        }
        _ => Some("nothing came back".to_owned()),
    })
}
