//! When a machine has waited enough.

use bottle_host::pool::Pressure;
use std::fmt;
use std::time::Duration;

/// What is known of a machine that waits.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// For how long its process has run, if it still does.
    pub age: Option<Duration>,
    /// Whether the programs that made it are the ones that are there.
    pub is_current: bool,
    /// Whether a run asked for such machines lately, and for as many.
    pub is_wanted: bool,
    /// Whether it computes or writes, although nobody told it to.
    pub is_restless: bool,
    /// How much of this machine's memory is taken.
    pub pressure: Pressure,
}

/// Why a machine does not wait any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its process has ended.
    Ended,
    /// smolvm or bottle was replaced.
    Replaced,
    /// It has waited for as long as a machine may.
    Old,
    /// It was not idle.
    Restless,
    /// This machine's memory is short.
    Memory,
    /// Nobody asks for such machines any more.
    Unwanted,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "it ended by itself",
            Self::Replaced => "smolvm or bottle was replaced",
            Self::Old => "its time was over",
            Self::Restless => "it was busy, although nothing had been started in it",
            Self::Memory => "memory is short",
            Self::Unwanted => "no run asks for one any more",
        })
    }
}

/// Returns why a machine does not wait any longer, if it does not.
pub fn verdict(facts: &Facts, longest: Duration) -> Option<Why> {
    let Facts { age, is_current, is_wanted, is_restless, pressure } = *facts;
    let Some(age) = age else { return Some(Why::Ended) };
    [
        (!is_current, Why::Replaced),
        (age >= longest, Why::Old),
        (is_restless, Why::Restless),
        (pressure == Pressure::High, Why::Memory),
        (!is_wanted, Why::Unwanted),
    ]
    .into_iter()
    .find_map(|(is_so, why)| is_so.then_some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_waits_only_while_nothing_speaks_against_it() {
        let hour = Duration::from_secs(3600);
        let good = Facts {
            age: Some(hour - Duration::from_secs(1)),
            is_current: true,
            is_wanted: true,
            is_restless: false,
            pressure: Pressure::Some,
        };
        assert_eq!(verdict(&good, hour), None);
        for (facts, why) in [
            (Facts { age: None, ..good }, Why::Ended),
            (Facts { age: Some(hour), ..good }, Why::Old),
            (Facts { is_current: false, ..good }, Why::Replaced),
            (Facts { is_wanted: false, ..good }, Why::Unwanted),
            (Facts { is_restless: true, ..good }, Why::Restless),
            (Facts { pressure: Pressure::High, ..good }, Why::Memory),
        ] {
            assert_eq!(verdict(&facts, hour), Some(why));
        }
    }
}
