//! The networks that are judged.

use super::canaries::HostCanaries;
use super::probed::Probed;
use super::{assembled, shipped, stock};
use crate::assembly::Walls;
use crate::environment::{Environment, Guest};
use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A network that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// bottle as a user runs it, with both walls, and another bottle beside it.
    Bottle,
    /// The same, with the guest's own kernel as its network stack, so that only streams leave the guest.
    Sockets,
    /// The same, with a guest whose root has killed the helper and speaks to the keeper's socket by hand.
    SocketsByHand,
    /// bottle, with a published port, while the host asks the server behind it.
    Published,
    /// bottle, with a guest whose root has killed the helper and does everything by hand.
    ByHand,
    /// The guard, in front of a gvproxy that runs on the host without a jail.
    GuardOnly,
    /// gvproxy in its jail, with no guard in front of it.
    JailOnly,
    /// bottle, whose keeper is killed during the sweep.
    KeeperDies,
    /// bottle, whose gvproxy is killed during the sweep.
    GvproxyDies,
    /// bottle, whose sidecar is killed during the sweep.
    SidecarDies,
    /// Stock gvproxy on the host: a control, which must be found leaking.
    Neither,
    /// smolvm's default network, in which libkrun impersonates sockets: a control.
    Tsi,
    /// smolvm's virtio-net: a control.
    VirtioNet,
    /// smolvm, with only its gateway allowed: a control.
    AllowCidr,
    /// smolvm restricted to "localhost only": a control.
    LocalhostOnly,
    /// smolvm with private addresses blocked: a control.
    BlockPrivate,
}

impl Subject {
    /// Returns every subject that is possible with this kind of guest.
    pub fn all(guest: Guest) -> Vec<Self> {
        Self::value_variants()
            .iter()
            .copied()
            .filter(|subject| !(subject.is_stock() && guest == Guest::Namespace))
            .collect()
    }

    /// Returns the name that the command line and reports use.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Returns whether it is one of smolvm's own networks.
    pub fn is_stock(self) -> bool {
        matches!(
            self,
            Self::Tsi | Self::VirtioNet | Self::AllowCidr | Self::LocalhostOnly | Self::BlockPrivate
        )
    }

    /// Returns whether it must be found isolated. A control must be found leaking.
    pub fn must_be_isolated(self) -> bool {
        self != Self::Neither && !self.is_stock()
    }

    /// Returns whether it has a guard, in which case only a door accepts connections.
    pub fn has_guard(self) -> bool {
        self.must_be_isolated() && self != Self::JailOnly
    }

    /// Returns whether a refusal may be silent: without a guard, for frames with a spoofed sender, or while a
    /// process is dead. Anywhere else, a refusal must not look like a hang.
    pub fn may_hang(self) -> bool {
        !matches!(self, Self::Bottle | Self::Sockets | Self::GuardOnly)
    }

    /// Runs every probe in a guest of this network.
    pub fn probe(self, environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
        let assembled = |walls| assembled::probe(walls, environment, canaries);
        match self {
            Self::Bottle => shipped::bottle("gvproxy", environment, canaries),
            Self::Sockets => shipped::bottle("sockets", environment, canaries),
            Self::SocketsByHand => shipped::sockets_by_hand(environment, canaries),
            Self::Published => shipped::published(environment, canaries),
            Self::ByHand => shipped::by_hand(environment, canaries),
            Self::KeeperDies => shipped::fault(shipped::Fault::Keeper, environment, canaries),
            Self::GvproxyDies => shipped::fault(shipped::Fault::Gvproxy, environment, canaries),
            Self::SidecarDies => shipped::fault(shipped::Fault::Sidecar, environment, canaries),
            Self::GuardOnly => assembled(Walls { guard: true, jail: false }),
            Self::JailOnly => assembled(Walls { guard: false, jail: true }),
            Self::Neither => assembled(Walls { guard: false, jail: false }),
            Self::Tsi => stock::probe(&["--net"], environment, canaries),
            Self::VirtioNet => stock::probe(&["--net", "--net-backend", "virtio-net"], environment, canaries),
            Self::AllowCidr => stock::probe(&["--allow-cidr", stock::GATEWAY_ALONE], environment, canaries),
            Self::LocalhostOnly => stock::probe(&["--outbound-localhost-only"], environment, canaries),
            Self::BlockPrivate => stock::probe(&["--block-private"], environment, canaries),
        }
    }
}
