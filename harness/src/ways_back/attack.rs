//! An attack, and what it needs.

use super::target::{Target, Verdict};
use anyhow::Result;
use bottle_host::defence::Defence;

/// One attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name, in reports and on the command line.
    pub name: &'static str,
    /// The defence against it.
    pub defence: Defence,
    /// What the attack needs from its guest.
    pub needs: Needs,
    /// Carries out the attack. Returns a verdict on what the target cannot judge by itself.
    pub run: fn(&mut Target) -> Result<Verdict>,
}

impl Attack {
    /// Creates a quick attack that any guest can make.
    pub fn new(name: &'static str, defence: Defence, run: fn(&mut Target) -> Result<Verdict>) -> Self {
        Self { name, defence, needs: Needs::Any, run }
    }
}

/// What an attack needs from its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any guest. The attack is quick enough for every test run.
    Any,
    /// The stand-in, and more than a few seconds. `--quick` omits it.
    Long,
    /// A real virtual machine.
    Machine,
}
