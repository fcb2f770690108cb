//! Trust boundary: the byte stream from the guest.
//! Property: every split of the stream gives the same frames, and a length over the limit is an error.
#![no_main]

use bottle_core::wire::{self, MAX_FRAME};
use libfuzzer_sys::fuzz_target;

fn frames(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut out, mut held) = (Vec::new(), Vec::new());
    for piece in stream.chunks(step) {
        held.extend_from_slice(piece);
        let mut rest = &held[..];
        loop {
            match wire::split_frame(rest) {
                Ok(Some(split)) => {
                    assert!(!split.frame.is_empty() && split.frame.len() <= MAX_FRAME);
                    out.push(split.frame.to_vec());
                    rest = split.rest;
                }
                Ok(None) => break,
                Err(_) => return (out, false),
            }
        }
        held = rest.to_vec();
    }
    (out, true)
}

fuzz_target!(|data: &[u8]| {
    let [step, stream @ ..] = data else { return };
    assert_eq!(frames(stream, usize::from(*step) + 1), frames(stream, stream.len().max(1)));
});
