//! Framing: every split of the stream gives the same frames.

use bottle_core::wire::{self, BadLength, Inbox, MAX_FRAME, Outbox};
use proptest::prelude::*;

fn decode(stream: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, BadLength> {
    let mut frames = Vec::new();
    let mut held: Vec<u8> = Vec::new();
    let mut from = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    for end in ends {
        held.extend(&stream[from..end]);
        from = end;
        let mut rest = &held[..];
        while let Some(split) = wire::split_frame(rest)? {
            frames.push(split.frame.to_vec());
            rest = split.rest;
        }
        held = rest.to_vec();
    }
    Ok(frames)
}

/// Does the same with an inbox, as the pumps read.
fn receive(stream: &[u8], step: usize) -> Result<Vec<Vec<u8>>, BadLength> {
    let (mut inbox, mut frames, mut rest) = (Inbox::default(), Vec::new(), stream);
    while !rest.is_empty() {
        let room = inbox.room();
        let (now, later) = rest.split_at(step.min(room.len()).min(rest.len()));
        assert!(!now.is_empty(), "there is always room for more of a frame");
        room[..now.len()].copy_from_slice(now);
        inbox.arrived(now.len());
        rest = later;
        while let Some(frame) = inbox.frame()? {
            frames.push(frame.to_vec());
        }
    }
    Ok(frames)
}

/// Frames of every length fit, even the longest, however the bytes arrive.
#[test]
fn an_inbox_fits_the_longest_frames() {
    let frames: Vec<Vec<u8>> = [MAX_FRAME, 1, MAX_FRAME, MAX_FRAME - 1, 60].map(|len| vec![7; len]).to_vec();
    let mut stream = Vec::new();
    for frame in &frames {
        stream.extend(wire::header(frame.len()).unwrap());
        stream.extend(frame);
    }
    for step in [1_000, 65_013, 65_018, 100_000, usize::MAX] {
        assert_eq!(receive(&stream, step).unwrap(), frames, "{step}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_frames(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        step in 1usize..600,
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            stream.extend(wire::header(frame.len()).unwrap());
            stream.extend(frame);
        }
        prop_assert_eq!(decode(&stream, &cuts).unwrap(), frames.clone());
        prop_assert_eq!(receive(&stream, step).unwrap(), frames.clone());
        prop_assert_eq!(decode(&stream, &[]).unwrap(), frames);
    }

    #[test]
    fn a_false_length_is_an_error_at_once(len in any::<u32>()) {
        let header = len.to_be_bytes();
        let said = wire::split_frame(&header);
        let possible = (1..=MAX_FRAME).contains(&(len as usize));
        prop_assert_eq!(said, if possible { Ok(None) } else { Err(BadLength(len)) });
    }
}

#[test]
fn only_possible_frames_are_announced() {
    assert_eq!(wire::header(0), None);
    assert_eq!(wire::header(MAX_FRAME + 1), None);
    assert_eq!(wire::header(MAX_FRAME), Some([0, 0, 0xfd, 0xf6]));
}

/// An inbox reads what an outbox wrote, whatever was put in and however often it was emptied.
#[test]
fn an_inbox_reads_what_an_outbox_writes() {
    let (mut outbox, mut stream, mut sent) = (Outbox::default(), Vec::new(), Vec::new());
    for round in 0..40_usize {
        let len = [0, 1, 60, 1_514, MAX_FRAME - 1, MAX_FRAME][round % 6];
        let Some(room) = outbox.room() else {
            stream.extend(outbox.take());
            continue;
        };
        assert_eq!(room.len(), MAX_FRAME);
        room[..len].fill(u8::try_from(round).unwrap());
        assert!(outbox.frame(len).iter().all(|&byte| usize::from(byte) == round));
        outbox.keep(len);
        if len > 0 {
            sent.push(vec![u8::try_from(round).unwrap(); len]);
        }
    }
    stream.extend(outbox.take());
    assert!(outbox.take().is_empty(), "what was taken is gone");
    assert_eq!(receive(&stream, usize::MAX).unwrap(), sent);
    assert!(sent.len() > 20);
}
