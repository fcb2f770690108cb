//! What the guest's helper reports to the keeper: a frame that it refused, and why.
//!
//! The helper asks the guard inside the guest. The keeper believes nothing that depends on it: a report is a line in
//! the log and a counter, no more.

use crate::guard::Refusal;
use crate::wire;

/// The longest report, in bytes: the reason, and as much of a frame as a DNS question can have.
pub const MAX_REPORT: usize = 1 + 342;

/// A refused frame, cut to what a person can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'b> {
    /// Why it was refused.
    pub refusal: Refusal,
    /// Its beginning.
    pub frame: &'b [u8],
}

impl<'b> Report<'b> {
    /// Reads a report: what a frame's place on the [`wire`] holds. Returns `None` if it is not one.
    pub fn parse(bytes: &'b [u8]) -> Option<Self> {
        let (&reason, frame) = bytes.split_first()?;
        if bytes.len() > MAX_REPORT {
            return None;
        }
        Some(Self { refusal: *Refusal::ALL.get(usize::from(reason))?, frame })
    }

    /// Writes the report with its length into `buffer`, and returns it.
    pub fn write<'t>(&self, buffer: &'t mut [u8; wire::HEADER_LEN + MAX_REPORT]) -> &'t [u8] {
        let frame = self.frame.get(..MAX_REPORT - 1).unwrap_or(self.frame);
        let len = 1 + frame.len();
        let header = wire::header(len).unwrap_or_default();
        let end = wire::HEADER_LEN + len;
        buffer[..wire::HEADER_LEN].copy_from_slice(&header);
        buffer[wire::HEADER_LEN] = self.refusal as u8;
        buffer[wire::HEADER_LEN + 1..end].copy_from_slice(frame);
        &buffer[..end]
    }
}
