//! smolvm's own networks, as its own command makes them: controls, which must be found leaking.

use super::subject::Probed;
use super::world::{World, canaries};
use crate::ground::Ground;
use anyhow::Result;
use bottle_core::smolfile::HELPER;
use bottle_verify::questions::Questions;
use bottle_verify::scope::Scope;
use bottle_verify::talk::Talk;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The gateway of smolvm's networks, unless `--guest-subnet` says otherwise.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 96, 0, 1);
/// The same, as the one network that may be reached.
pub const GATEWAY_ALONE: &str = "100.96.0.1/32";

/// Runs the probes in a guest of this network.
pub fn probe(network: &[&str], ground: &Ground, world: &World) -> Result<Probed> {
    let mut guest = ground.machine(network)?;
    guest.args(["-i", "--", HELPER, "probe"]);
    let scope = Scope {
        gateway: GATEWAY,
        proxy: GATEWAY,
        doors: BTreeSet::new(),
        breadth: world.sample(),
        machine: true,
    };
    let mut questions = Questions::default();
    questions.all(&scope, &canaries(), world.nonce());
    let mut probed = Probed::by(Talk::begin(guest, questions)?, scope)?;
    probed.unheard = true;
    Ok(probed)
}
