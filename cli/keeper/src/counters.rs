//! The keeper's counters. Counting never blocks.

use bottle_core::guard::Refusal;
use bottle_guest::stream::relay::Relayed;
use bottle_host::control::Snapshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the keeper started.
#[derive(Debug, Default)]
pub struct Counters {
    frames_from_guest: AtomicU64,
    bytes_from_guest: AtomicU64,
    frames_to_guest: AtomicU64,
    bytes_to_guest: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    dropped: [AtomicU64; Refusal::ALL.len()],
    /// The bytes of streams, which are not carried in frames.
    pub streams: Arc<Relayed>,
}

impl Counters {
    /// Counts a forwarded frame from the guest.
    pub fn from_guest(&self, bytes: usize) {
        self.frames_from_guest.fetch_add(1, Relaxed);
        self.bytes_from_guest.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a forwarded frame to the guest.
    pub fn to_guest(&self, bytes: usize) {
        self.frames_to_guest.fetch_add(1, Relaxed);
        self.bytes_to_guest.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a refused frame from the guest.
    pub fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Relaxed);
    }

    /// Counts a dropped frame to the guest.
    pub fn dropped(&self, refusal: Refusal) {
        self.dropped[refusal as usize].fetch_add(1, Relaxed);
    }

    /// Returns the current counts.
    pub fn snapshot(&self) -> Snapshot {
        let by_reason = |counts: &[AtomicU64]| {
            let counted =
                Refusal::ALL.iter().zip(counts).map(|(&reason, count)| (reason, count.load(Relaxed)));
            counted.filter(|&(_, count)| count > 0).collect()
        };
        Snapshot {
            frames_from_guest: self.frames_from_guest.load(Relaxed),
            bytes_from_guest: self.bytes_from_guest.load(Relaxed) + self.streams.up.load(Relaxed),
            frames_to_guest: self.frames_to_guest.load(Relaxed),
            bytes_to_guest: self.bytes_to_guest.load(Relaxed) + self.streams.down.load(Relaxed),
            refused: by_reason(&self.refused),
            dropped: by_reason(&self.dropped),
        }
    }
}
