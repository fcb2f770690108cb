//! What a keeper counts. Counting never waits.

use bottle_core::guard::Refusal;
use bottle_host::control::Snapshot;
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
}

impl Counters {
    /// A frame from the guest was handed on.
    pub fn from_guest(&self, bytes: usize) {
        self.frames_from_guest.fetch_add(1, Relaxed);
        self.bytes_from_guest.fetch_add(bytes as u64, Relaxed);
    }

    /// A frame to the guest was handed on.
    pub fn to_guest(&self, bytes: usize) {
        self.frames_to_guest.fetch_add(1, Relaxed);
        self.bytes_to_guest.fetch_add(bytes as u64, Relaxed);
    }

    /// A frame from the guest was refused.
    pub fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Relaxed);
    }

    /// A frame to the guest was dropped.
    pub fn dropped(&self, refusal: Refusal) {
        self.dropped[refusal as usize].fetch_add(1, Relaxed);
    }

    /// The counts now.
    pub fn snapshot(&self) -> Snapshot {
        let by_reason = |counts: &[AtomicU64]| {
            let counted =
                Refusal::ALL.iter().zip(counts).map(|(&reason, count)| (reason, count.load(Relaxed)));
            counted.filter(|&(_, count)| count > 0).collect()
        };
        Snapshot {
            frames_from_guest: self.frames_from_guest.load(Relaxed),
            bytes_from_guest: self.bytes_from_guest.load(Relaxed),
            frames_to_guest: self.frames_to_guest.load(Relaxed),
            bytes_to_guest: self.bytes_to_guest.load(Relaxed),
            refused: by_reason(&self.refused),
            dropped: by_reason(&self.dropped),
        }
    }
}
