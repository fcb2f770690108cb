//! The kernel as the network stack: a tap in the jail's network namespace, and no process there.
//!
//! The helper creates the tap and the doors, hands them out, and ends. From then on the namespace contains no
//! process, and lives as long as the keeper holds descriptors from it. It has one interface, one neighbour
//! and no route: what the guard lets through can only end at a door.

use super::endpoint::Endpoint;
use super::namespace;
use super::running::{Running, end};
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_guest::link::tap::Tap;
use bottle_host::tools::Network;
use std::fs::File;
use std::net::TcpListener;

/// Creates the namespace of a plan.
///
/// # Errors
/// Returns an error if it is not ready within 20 s. The keeper's log has the details.
pub fn start(network: &Network, plan: &Plan, log: &File) -> Result<Running> {
    let (ours, theirs) = namespace::socket_pair()?;
    let mut command = namespace::command(network, log)?;
    // The capability only counts in its own namespace, and only until it has created a tap there.
    command.args(["--cap-add", "CAP_NET_ADMIN", "--dev-bind", "/dev/net/tun", "/dev/net/tun"]);
    namespace::make_doors(&mut command, &theirs, plan);
    command.arg("--subnet").arg(plan.subnet.octet().to_string());
    let mut child = command.spawn().context("cannot start bubblewrap")?;
    drop(theirs);
    let received = namespace::receive(&ours, &mut child, plan, 1);
    end(&mut child);
    let mut descriptors = received.context("the network namespace was not created")?;
    let tap = descriptors.pop().context("the helper handed out no tap")?;
    let doors = descriptors.into_iter().map(TcpListener::from).collect();
    Ok(Running { child: None, doors, link: Endpoint::Kernel(Tap::taken_over(tap)).into() })
}
