//! Attacks through configuration that a guest leaves for the host to read, and through what the guest puts at
//! the paths that a configuration names.

mod operator;
mod paths;
mod programs;
mod provenance;

use crate::ways_back::attack::Attack;

/// Returns every attack in this folder.
pub fn attacks() -> Vec<Attack> {
    [provenance::attacks(), paths::attacks(), programs::attacks()].concat()
}
