//! The positive witness: a door answers, through guard and stack, to a client that is made of frames.

use super::sweep::Sweep;
use super::unforeseen::Unforeseen;
use anyhow::Result;
use bottle_core::examine::{Arrived, Client};
use bottle_core::sidecar::Sidecar;
use bottle_host::control::Door;
use std::net::SocketAddrV4;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long a door may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// After so long without a word, a segment is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// How many source ports are tried: a guest may have done something with one of them.
const TRIES: u16 = 3;
/// The egress proxy's answer to this is a refusal, which is an answer.
const REQUEST: &[u8] =
    b"GET http://verify.invalid/ HTTP/1.1\r\nHost: verify.invalid\r\nConnection: close\r\n\r\n";
/// What every answer of an HTTP proxy begins with.
const SPOKE: &[u8] = b"HTTP/1.";

/// Asks the door: why it did not answer, if it did not. The egress proxy has to speak HTTP; of
/// another it is enough that it takes the connection, as a person chooses what it is.
pub(super) fn ask(
    asked: &Door,
    sweep: &mut Sweep<'_>,
    heard: &Receiver<Vec<u8>>,
    unforeseen: &Unforeseen<'_>,
    when: &str,
) -> Result<Option<String>> {
    let mut why = None;
    for _ in 0..TRIES {
        let from = sweep.port_for_a_door();
        let sequence = unforeseen.number(&format!("{when} {from}"));
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
    let answered =
        |client: &Client| client.heard().starts_with(SPOKE) || (request.is_empty() && client.is_connected());
    while !answered(&client) && !client.is_over() && Instant::now() < end {
        if !sweep.send(&sweep.guard.tcp_frame(&client.segment()))? {
            return Ok(Some("the guard refused a first segment to it".to_owned()));
        }
        let again = Instant::now() + AGAIN;
        while let Ok(frame) = heard.recv_timeout(again.saturating_duration_since(Instant::now())) {
            let arrived = Arrived::parse(&frame).filter(|arrived| arrived.port == from);
            if arrived.is_some_and(|arrived| client.handle(arrived.from, &arrived.what)) {
                break;
            }
        }
    }
    // Nothing stays open at the other end.
    sweep.send(&sweep.guard.tcp_frame(&client.reset()))?;
    Ok(match client {
        client if answered(&client) => None,
        client if client.is_refused() => Some("the network stack refused the connection".to_owned()),
        client if client.is_connected() => Some("it took a connection and said nothing of HTTP".to_owned()),
        _ => Some("nothing came back".to_owned()),
    })
}
