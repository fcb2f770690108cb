//! `bottle watch`: bottles, inbox and log in a terminal.

use crate::desk::Operator;
use bottle_host::failure::Outcome;
use bottle_ui::watch;

pub fn watch() -> Outcome {
    watch::run(Operator::new()?)
}
