//! Trust boundary: a stream from the guest, and what it reports.
//! Property: a model that reads the whole stream at once agrees with what reads it in pieces; no chunk is longer than
//! the longest; what is written in any pieces is read again.
#![no_main]

use bottle_core::report::{MAX_REPORT, Report};
use bottle_core::stream::{HEAD_LEN, Incoming, MAX_CHUNK, Next, Outgoing};
use bottle_core::wire;
use libfuzzer_sys::fuzz_target;

/// What a stream says: its bytes, and how it stands after them.
#[derive(Debug, PartialEq)]
enum State {
    Open,
    Ended,
    Broken,
}

/// Reads everything at once.
fn model(mut stream: &[u8]) -> (Vec<u8>, State) {
    let mut bytes = Vec::new();
    loop {
        let Some((head, rest)) = stream.split_first_chunk::<HEAD_LEN>() else { return (bytes, State::Open) };
        let len = u32::from_be_bytes(*head) as usize;
        if len == 0 {
            return (bytes, State::Ended);
        }
        if len > MAX_CHUNK {
            return (bytes, State::Broken);
        }
        bytes.extend(&rest[..len.min(rest.len())]);
        if rest.len() < len {
            return (bytes, State::Open);
        }
        stream = &rest[len..];
    }
}

fn in_pieces(mut stream: &[u8], step: usize) -> (Vec<u8>, State) {
    let (mut incoming, mut bytes) = (Incoming::default(), Vec::new());
    loop {
        let (len, is_head) = match incoming.next() {
            Next::Head(len) => (len, true),
            Next::Payload(len) => (len, false),
            Next::End => return (bytes, State::Ended),
        };
        assert!(len > 0 && len <= MAX_CHUNK);
        let (now, later) = stream.split_at(len.min(step).min(stream.len()));
        if now.is_empty() {
            return (bytes, State::Open);
        }
        if is_head {
            if incoming.head(now).is_err() {
                return (bytes, State::Broken);
            }
        } else {
            incoming.payload(now.len());
            bytes.extend(now);
        }
        stream = later;
    }
}

fn written(bytes: &[u8], step: usize) -> Vec<u8> {
    let (mut outgoing, mut stream, mut rest) = (Outgoing::default(), Vec::new(), bytes);
    while !rest.is_empty() {
        let allowed = outgoing.announce(rest.len());
        let whole = [outgoing.head(), &rest[..allowed]].concat();
        let now = step.min(whole.len());
        stream.extend(&whole[..now]);
        rest = &rest[outgoing.wrote(now)..];
    }
    assert!(outgoing.end());
    stream.extend(outgoing.head());
    stream
}

fuzz_target!(|data: &[u8]| {
    let [step, stream @ ..] = data else { return };
    let step = usize::from(*step) + 1;
    assert_eq!(in_pieces(stream, step), model(stream));
    assert_eq!(model(&written(stream, step)), (stream.to_vec(), State::Ended));
    if let Some(report) = Report::parse(stream) {
        let mut buffer = [0; wire::HEADER_LEN + MAX_REPORT];
        assert_eq!(&report.write(&mut buffer)[wire::HEADER_LEN..], stream);
    }
});
