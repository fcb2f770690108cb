//! The states of a bottle, derived from what exists.

use serde::Serialize;
use std::fmt;

/// A bottle's state. It follows from what runs, not from a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its machine runs and its keeper lives.
    Running,
    /// A `bottle run` is using it.
    Ephemeral,
    /// Its machine exists and does not run.
    Stopped,
    /// A part of it exists without the rest.
    Broken(Break),
    /// Its run has ended, and only files are left.
    Ended,
    /// It is a machine of the pool, and not a bottle yet.
    Warm,
}

/// What is wrong with a bottle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// Its machine runs without a keeper.
    Unkept,
    /// Its keeper lives without a machine, and no command is under way.
    Homeless,
    /// Its keeper lives, and its sockets are gone.
    Unreachable,
    /// Its machine is there, and its plan is not.
    Unplanned,
}

/// The facts that determine a bottle's state.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether its machine runs, or `None` if it has none.
    pub machine: Option<bool>,
    /// Whether its keeper lives.
    pub keeper: bool,
    /// Whether its sockets exist.
    pub sockets: bool,
    /// Whether its plan can be read.
    pub plan: bool,
    /// Whether a command is changing it now, so that the rest may be incomplete.
    pub busy: bool,
}

impl State {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ephemeral => "ephemeral",
            Self::Stopped => "stopped",
            Self::Broken(_) => "broken",
            Self::Ended => "ended",
            Self::Warm => "warm",
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unkept => "its machine has no keeper and reaches nothing; `bottle up` gives it a new one",
            Self::Homeless => "its keeper has no machine; `bottle cleanup` ends it",
            Self::Unreachable => "its keeper's sockets are gone; `bottle restart` makes new ones",
            Self::Unplanned => {
                "its files are gone; `bottle up --renew` creates it again, `bottle rm` removes it"
            }
        })
    }
}

impl From<Facts> for State {
    fn from(facts: Facts) -> Self {
        let Facts { machine, keeper, sockets, plan, busy } = facts;
        match (machine, keeper) {
            (Some(true), true) if !sockets => Self::Broken(Break::Unreachable),
            (Some(true), true) => Self::Running,
            (Some(true), false) if !busy => Self::Broken(Break::Unkept),
            (Some(_), false) if !plan && !busy => Self::Broken(Break::Unplanned),
            (Some(false) | None, true) if !busy => Self::Broken(Break::Homeless),
            (Some(_), _) => Self::Stopped,
            (None, true) => Self::Ephemeral,
            (None, false) => Self::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> impl Iterator<Item = Facts> {
        let both = [false, true];
        let machines = [None, Some(false), Some(true)];
        machines.into_iter().flat_map(move |machine| {
            (0..16_u8).map(move |bits| {
                let at = |bit: u8| both[usize::from(bits >> bit & 1)];
                Facts { machine, keeper: at(0), sockets: at(1), plan: at(2), busy: at(3) }
            })
        })
    }

    #[test]
    fn a_bottle_runs_only_with_its_machine_its_keeper_and_its_sockets() {
        for facts in every() {
            let whole = facts.machine == Some(true) && facts.keeper && facts.sockets;
            assert_eq!(State::from(facts) == State::Running, whole, "{facts:?}");
        }
    }

    #[test]
    fn a_command_under_way_breaks_nothing_but_sockets() {
        for facts in every().filter(|facts| facts.busy) {
            let state = State::from(facts);
            assert!(
                !matches!(state, State::Broken(why) if why != Break::Unreachable),
                "{facts:?}: {state:?}"
            );
        }
    }

    #[test]
    fn a_keeper_or_a_machine_alone_is_broken() {
        for facts in every().filter(|facts| !facts.busy && facts.plan) {
            let alone = (facts.machine == Some(true)) != facts.keeper;
            let broken = matches!(State::from(facts), State::Broken(Break::Unkept | Break::Homeless));
            assert_eq!(broken, alone, "{facts:?}");
        }
    }
}
