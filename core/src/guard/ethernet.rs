//! Ethernet II frames, and the hardware addresses of the link.

use super::refusal::Refusal;

/// A hardware address.
pub type Mac = [u8; 6];

/// The gateway's hardware address: gvproxy's default (`cmd/gvproxy/config.go`), stated in
/// `gvproxy.yaml` all the same.
pub const GATEWAY_MAC: Mac = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd];

/// The guest's hardware address: the one for which gvproxy leases `.2` by default.
pub const GUEST_MAC: Mac = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];

pub(super) const BROADCAST: Mac = [0xff; 6];

pub(super) const HEADER_LEN: usize = 14;

/// The shortest frame on a wire, without its checksum. Shorter content may be padded to this length, and no
/// further.
const PADDED_LEN: usize = 60;

pub(crate) mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const PROVIDER_VLAN: u16 = 0x88a8;
}

/// A checked view of an Ethernet II frame.
pub(crate) struct Ethernet<'f> {
    pub(super) destination: Mac,
    pub(super) source: Mac,
    pub(crate) kind: u16,
    pub(crate) payload: &'f [u8],
    /// How long the payload may be although its content is shorter.
    padding: usize,
}

impl<'f> Ethernet<'f> {
    pub(crate) fn parse(frame: &'f [u8]) -> Result<Self, Refusal> {
        if frame.len() > crate::wire::MAX_FRAME {
            return Err(Refusal::TooLong);
        }
        let (&destination, rest) = frame.split_first_chunk().ok_or(Refusal::Truncated)?;
        let (&source, rest) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        let (&kind, payload) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        let padding = PADDED_LEN.saturating_sub(HEADER_LEN);
        Ok(Self { destination, source, kind: u16::from_be_bytes(kind), payload, padding })
    }

    pub(super) fn is_group(&self) -> bool {
        self.destination[0] & 1 == 1
    }

    /// Checks that content of `len` bytes fills the payload, apart from the padding of a short frame.
    pub(super) fn holds(&self, len: usize) -> Result<(), Refusal> {
        if self.payload.len() < len {
            Err(Refusal::Truncated)
        } else if self.payload.len() > len.max(self.padding) {
            Err(Refusal::Trailer)
        } else {
            Ok(())
        }
    }
}
