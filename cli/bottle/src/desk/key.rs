//! Digests that stand for names.

use bottle_host::digest::hex;

/// Returns a digest that stands for a name. A name itself may be changed by what makes it safe to show.
pub fn key(name: &[u8]) -> String {
    hex(name)
}
