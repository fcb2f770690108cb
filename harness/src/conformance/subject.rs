//! The networks that are judged.

use super::world::World;
use super::{built, kept, stock};
use crate::ground::{Ground, Guest};
use crate::parts::{Behind, Parts};
use anyhow::Result;
use bottle_guest::probe::Answer;
use bottle_verify::scope::Scope;
use bottle_verify::talk::Talk;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A network that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// bottle, as a user runs it: both walls, and another bottle beside it.
    Bottle,
    /// The same, with the host's kernel for a network stack.
    Kernel,
    /// bottle, with a guest whose root has killed the helper and does everything by hand.
    ByHand,
    /// The guard before a gvproxy that runs on the host, without a jail.
    GuardOnly,
    /// gvproxy in its jail, with nothing that decides on frames before it.
    JailOnly,
    /// The kernel's tap in its namespace, with nothing that decides on frames before it.
    KernelJailOnly,
    /// bottle, whose keeper is killed during the sweep.
    KeeperDies,
    /// bottle, whose gvproxy is killed during the sweep.
    GvproxyDies,
    /// bottle, whose sidecar is killed during the sweep.
    SidecarDies,
    /// Stock gvproxy on the host: a control, which must be found leaking.
    Neither,
    /// smolvm's default network, sockets that libkrun impersonates: a control.
    Tsi,
    /// smolvm's virtio-net: a control.
    VirtioNet,
    /// smolvm, with nothing allowed but its gateway: a control.
    AllowCidr,
    /// smolvm, "localhost only": a control.
    LocalhostOnly,
    /// smolvm, private addresses blocked: a control.
    BlockPrivate,
}

/// What a guest said, and what it was asked about.
pub struct Probed {
    pub scope: Scope,
    pub answers: Vec<Answer>,
    pub asked: usize,
    /// Whether a guest has no door that could answer as a witness.
    pub unheard: bool,
}

impl Probed {
    /// Hears a guest to the end.
    pub fn by(talk: Talk, scope: Scope) -> Result<Self> {
        let asked = talk.asked();
        Ok(Self { scope, answers: talk.end()?, asked, unheard: false })
    }
}

impl Subject {
    /// Every subject that a guest of this kind can be.
    pub fn all(guest: Guest) -> Vec<Self> {
        Self::value_variants()
            .iter()
            .copied()
            .filter(|subject| !(subject.is_stock() && guest == Guest::Namespace))
            .collect()
    }

    /// As the command line and reports call it.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is one of smolvm's own networks.
    pub fn is_stock(self) -> bool {
        matches!(
            self,
            Self::Tsi | Self::VirtioNet | Self::AllowCidr | Self::LocalhostOnly | Self::BlockPrivate
        )
    }

    /// Whether it has to come out isolated. A control has to come out leaking.
    pub fn must_be_isolated(self) -> bool {
        self != Self::Neither && !self.is_stock()
    }

    /// Whether a guard stands before it: then nothing but a door takes a connection.
    pub fn has_guard(self) -> bool {
        self.must_be_isolated() && !matches!(self, Self::JailOnly | Self::KernelJailOnly)
    }

    /// Whether a refusal may be a silence: without a guard, with a spoofed sender's frames, or while
    /// something is dead. Everywhere else a refusal must not look like a hang.
    pub fn may_hang(self) -> bool {
        !matches!(self, Self::Bottle | Self::Kernel | Self::GuardOnly)
    }

    /// Runs every probe in a guest of this network.
    pub fn probe(self, ground: &Ground, world: &World) -> Result<Probed> {
        match self {
            Self::Bottle => kept::bottle("gvproxy", ground, world),
            Self::Kernel => kept::bottle("kernel", ground, world),
            Self::ByHand => kept::by_hand(ground, world),
            Self::KeeperDies => kept::fault(kept::Fault::Keeper, ground, world),
            Self::GvproxyDies => kept::fault(kept::Fault::Gvproxy, ground, world),
            Self::SidecarDies => kept::fault(kept::Fault::Sidecar, ground, world),
            Self::GuardOnly => built::probe(Parts { guard: true, behind: Behind::Gvproxy }, ground, world),
            Self::JailOnly => {
                built::probe(Parts { guard: false, behind: Behind::JailedGvproxy }, ground, world)
            }
            Self::KernelJailOnly => {
                built::probe(Parts { guard: false, behind: Behind::Kernel }, ground, world)
            }
            Self::Neither => built::probe(Parts { guard: false, behind: Behind::Gvproxy }, ground, world),
            Self::Tsi => stock::probe(&["--net"], ground, world),
            Self::VirtioNet => stock::probe(&["--net", "--net-backend", "virtio-net"], ground, world),
            Self::AllowCidr => stock::probe(&["--allow-cidr", stock::GATEWAY_ALONE], ground, world),
            Self::LocalhostOnly => stock::probe(&["--outbound-localhost-only"], ground, world),
            Self::BlockPrivate => stock::probe(&["--block-private"], ground, world),
        }
    }
}
