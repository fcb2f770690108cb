//! smolvm's own networks, as its command creates them: controls, which must be found leaking.

use super::canaries::{HostCanaries, known_canaries};
use super::probed::Probed;
use crate::environment::Environment;
use anyhow::Result;
use bottle_core::helper::HELPER;
use bottle_verify::questions::Questions;
use bottle_verify::scope::Scope;
use bottle_verify::talk::Talk;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The gateway of smolvm's networks, unless `--guest-subnet` changes it.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 96, 0, 1);
/// The same address as the only network that may be reached.
pub const GATEWAY_ALONE: &str = "100.96.0.1/32";

/// Runs the probes in a guest of this network.
pub fn probe(network: &[&str], environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    let mut guest = environment.machine(network)?;
    guest.args(["-i", "--", HELPER, "probe"]);
    let scope = Scope {
        gateway: GATEWAY,
        proxy: GATEWAY,
        doors: BTreeSet::new(),
        breadth: canaries.sample(),
        streams: false,
        machine: true,
    };
    let mut questions = Questions::default();
    questions.all(&scope, &known_canaries(), canaries.nonce());
    let mut probed = Probed::by(Talk::begin(guest, questions)?, scope)?;
    probed.has_no_witness = true;
    Ok(probed)
}
