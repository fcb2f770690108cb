//! The header before each frame on a tap, which says who computes the frame's TCP checksum.
//!
//! The link is memory, not a wire, so nobody on it has to compute a checksum over the bytes. A tap
//! accepts a segment whose checksum field has only the sum of the pseudo-header, and a kernel that sends
//! the segment on completes it (`struct virtio_net_hdr`, `linux/virtio_net.h`).

use crate::guard::Mac;

/// The length of the header, in bytes.
pub const HEADER_LEN: usize = 10;

/// The places in a frame of an IPv4 packet, of its TCP segment if the packet has no options, and of the
/// segment's checksum.
const IPV4: usize = 2 * size_of::<Mac>() + 2;
const TCP: usize = IPV4 + 20;
const CHECKSUM: usize = TCP + 16;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const UNFINISHED: u8 = 1;

/// A frame on its way to a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'f> {
    header: [u8; HEADER_LEN],
    before: &'f [u8],
    /// What replaces the checksum, and how many of its bytes are used: both or none.
    sum: ([u8; 2], usize),
    after: &'f [u8],
}

impl<'f> Outgoing<'f> {
    /// Leaves a TCP segment's checksum to whoever needs it. Every other frame stays as it is.
    pub fn new(frame: &'f [u8]) -> Self {
        Self::unfinished(frame).unwrap_or_else(|| Self::whole(frame))
    }

    /// Leaves a frame as it is.
    pub fn whole(frame: &'f [u8]) -> Self {
        Self { header: [0; HEADER_LEN], before: frame, sum: ([0; 2], 0), after: &[] }
    }

    /// Returns the parts that are written in one piece: the header, and then the frame.
    pub fn parts(&self) -> [&[u8]; 4] {
        let (sum, len) = &self.sum;
        [&self.header, self.before, &sum[..*len], self.after]
    }

    fn unfinished(frame: &'f [u8]) -> Option<Self> {
        let packet = frame.get(IPV4..)?;
        let [version_ihl, _, l0, l1, _, _, f0, f1, _, protocol, _, _, addresses @ ..] =
            packet.first_chunk::<20>()?;
        let kind = frame.get(IPV4 - 2..IPV4)?;
        let is_fragment = u16::from_be_bytes([*f0, *f1]) & 0x3fff != 0;
        if kind != [0x08, 0x00] || *version_ihl != 0x45 || *protocol != 6 || is_fragment {
            return None;
        }
        let segment = u16::from_be_bytes([*l0, *l1]).checked_sub(20)?;
        // The segment has its whole header, and so a place for the checksum.
        if segment < 20 || packet.len() < 40 {
            return None;
        }
        let words = addresses.as_chunks::<2>().0.iter().map(|&word| u32::from(u16::from_be_bytes(word)));
        let sum: u32 = words.sum::<u32>() + u32::from(*protocol) + u32::from(segment);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let [.., high, low] = sum.to_be_bytes();
        let place = |at: usize| u16::try_from(at).unwrap_or_default().to_ne_bytes();
        let ([s0, s1], [c0, c1]) = (place(TCP), place(CHECKSUM - TCP));
        Some(Self {
            header: [UNFINISHED, 0, 0, 0, 0, 0, s0, s1, c0, c1],
            before: frame.get(..CHECKSUM)?,
            sum: ([high, low], 2),
            after: frame.get(CHECKSUM + 2..)?,
        })
    }
}
