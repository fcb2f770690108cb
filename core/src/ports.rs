//! One port for each active sidecar.

use crate::sidecar::Sidecar;
use crate::slug::Slug;
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::RangeInclusive;
use sha2::{Digest, Sha256};

const DOMAIN: &[u8] = b"bottle/port/v1";

/// The ports of sidecars. They are above those of services that people run by hand, and below those
/// (32768 and up) that Linux picks for clients.
pub const RANGE: RangeInclusive<u16> = 20_000..=29_999;

/// Every sidecar has a lane of its own: every third port of [`RANGE`]. So two sidecars never want
/// the same port, and one that has to move displaces nobody else.
const LANES: u16 = 3;
const LANE_LEN: u16 = (*RANGE.end() - *RANGE.start() + 1) / LANES;

/// No port in a sidecar's lane is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no free port for {0} between {start} and {end}; stop something that listens there",
    start = RANGE.start(),
    end = RANGE.end()
)]
pub struct RangeFull(pub Sidecar);

/// Returns the ports that a sidecar of a bottle may have, in order of preference: one that the slug
/// decides, and then those after it, all the way round its lane. The order for a slug and a sidecar never
/// changes.
pub fn candidates(slug: &Slug, sidecar: Sidecar) -> impl Iterator<Item = u16> + use<> {
    let digest = Sha256::new()
        .chain_update(DOMAIN)
        .chain_update([0])
        .chain_update(sidecar.name())
        .chain_update([0])
        .chain_update(slug.as_str())
        .finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    let first = u64::from_be_bytes(head) % u64::from(LANE_LEN);
    let lane = match sidecar {
        Sidecar::Pipelock => 0,
        Sidecar::GitGate => 1,
        Sidecar::Supervise => 2,
    };
    (0..LANE_LEN).map(move |step| {
        // Both terms are below LANE_LEN, so the sum and the product stay far below 65,536.
        let place = (first + u64::from(step)) % u64::from(LANE_LEN);
        let [low, high, ..] = place.to_le_bytes();
        *RANGE.start() + lane + LANES * u16::from_le_bytes([low, high])
    })
}

/// Gives each of `sidecars` the first of its [`candidates`] that is not in `taken`.
///
/// The ports are distinct, inside [`RANGE`], never in `taken`, and depend on nothing but the arguments.
/// A port that becomes taken moves only the sidecar that had it.
///
/// # Errors
/// Returns [`RangeFull`] if a sidecar finds no port.
pub fn allocate(
    slug: &Slug,
    sidecars: &BTreeSet<Sidecar>,
    taken: &BTreeSet<u16>,
) -> Result<BTreeMap<Sidecar, u16>, RangeFull> {
    sidecars
        .iter()
        .map(|&sidecar| {
            let port = candidates(slug, sidecar).find(|port| !taken.contains(port));
            port.map(|port| (sidecar, port)).ok_or(RangeFull(sidecar))
        })
        .collect()
}
