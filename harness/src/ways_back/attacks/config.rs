//! Attacks on config.

use crate::ways_back::Attack;

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    Vec::new()
}
