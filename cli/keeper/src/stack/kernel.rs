//! The kernel as the network stack: a tap in the jail's network namespace, and nobody else there.
//!
//! The helper makes tap and doors, hands them out and ends. From then on no process is in the
//! namespace, which lives as long as the keeper holds what came from it. It has one interface, one
//! neighbour and no route: what the guard lets through can only end at a door.

use super::endpoint::Endpoint;
use super::namespace;
use super::running::{Running, end};
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_guest::link::tap::Tap;
use bottle_host::tools::Network;
use std::fs::File;
use std::net::TcpListener;

/// Makes the namespace of a plan.
///
/// # Errors
/// Where it does not come up within 20 s; its last words are in the log.
pub fn start(network: &Network, plan: &Plan, log: &File) -> Result<Running> {
    let (ours, theirs) = namespace::hand()?;
    let mut command = namespace::command(network, log)?;
    // In its own namespace alone, and for as long as it takes to make a tap there.
    command.args(["--cap-add", "CAP_NET_ADMIN", "--dev-bind", "/dev/net/tun", "/dev/net/tun"]);
    namespace::make_doors(&mut command, &theirs, plan);
    command.arg("--subnet").arg(plan.subnet.octet().to_string());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", network.bwrap.display()))?;
    drop(theirs);
    let received = namespace::receive(&ours, &mut child, plan, 1);
    end(&mut child);
    let mut descriptors = received.context("the namespace did not come up")?;
    let tap = descriptors.pop().context("there is no tap")?;
    let doors = descriptors.into_iter().map(TcpListener::from).collect();
    Ok(Running { child: None, doors, link: Endpoint::Kernel(Tap::taken_over(tap)).into() })
}
