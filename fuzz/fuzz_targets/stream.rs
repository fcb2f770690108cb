//! Trust boundary: a stream from the guest, and what it reports.
//! Property: a model that reads the whole stream at once agrees with what reads it in pieces; no chunk is longer than
//! the longest; what is written in any pieces is read again, with or without an opening before it, and also when
//! another stream follows on the same connection.
#![no_main]

use bottle_core::report::{MAX_REPORT, Report};
use bottle_core::stream::{HEAD_LEN, Incoming, MAX_CHUNK, Next, OPENING_LEN, Opening, Outgoing};
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

/// Reads in pieces, and returns what follows the end, too.
fn in_pieces(mut stream: &[u8], step: usize) -> ((Vec<u8>, State), &[u8]) {
    let (mut incoming, mut bytes) = (Incoming::default(), Vec::new());
    loop {
        let (len, is_head) = match incoming.next() {
            Next::Head(len) => (len, true),
            Next::Payload(len) => (len, false),
            Next::End => return ((bytes, State::Ended), stream),
        };
        assert!(len > 0 && len <= MAX_CHUNK);
        let (now, later) = stream.split_at(len.min(step).min(stream.len()));
        if now.is_empty() {
            return ((bytes, State::Open), stream);
        }
        if is_head {
            if incoming.head(now).is_err() {
                return ((bytes, State::Broken), stream);
            }
        } else {
            incoming.payload(now.len());
            bytes.extend(now);
        }
        stream = later;
    }
}

fn written(mut outgoing: Outgoing, bytes: &[u8], step: usize) -> Vec<u8> {
    let (mut stream, mut rest) = (Vec::new(), bytes);
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
    assert_eq!(in_pieces(stream, step).0, model(stream));
    let bare = written(Outgoing::default(), stream, step);
    assert_eq!(model(&bare), (stream.to_vec(), State::Ended));
    // The helper writes an opening first. What it writes next on the connection begins where the stream ends.
    let opening = [step as u8, 7];
    let opened = written(Outgoing::opening(Opening::from_bytes(opening)), stream, step);
    assert_eq!(opened.split_at(OPENING_LEN), (&opening[..], &bare[..]));
    let both = [&bare[..], &opened].concat();
    assert_eq!(in_pieces(&both, step), ((stream.to_vec(), State::Ended), &opened[..]));
    if let Some(report) = Report::parse(stream) {
        let mut buffer = [0; wire::HEADER_LEN + MAX_REPORT];
        assert_eq!(&report.write(&mut buffer)[wire::HEADER_LEN..], stream);
    }
});
