//! The attacks, by the part of bottle that they attack.

mod apply;
mod audit;
mod config;
mod confine;
mod copy;
mod git;
mod peer;
mod proxy;
mod publish;
mod shown;
mod ssh;
mod stream;
mod supervise;
mod swap;
mod verify;

use crate::ways_back::attack::Attack;

/// Returns every attack.
pub fn all() -> Vec<Attack> {
    [
        copy::attacks(),
        apply::attacks(),
        config::attacks(),
        git::attacks(),
        shown::attacks(),
        ssh::attacks(),
        audit::attacks(),
        peer::attacks(),
        stream::attacks(),
        confine::attacks(),
        proxy::attacks(),
        publish::attacks(),
        supervise::attacks(),
        verify::attacks(),
    ]
    .concat()
}
