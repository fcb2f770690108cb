//! Trust boundary: gvproxy, which an attacker could take over, writes frames for the guest.
//! Property: the guard and the policy oracle agree on every frame.
#![no_main]

use bottle_core::subnet::Subnet;
use bottle_oracle::{compare, frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (guard, bottle) = compare::both(Subnet::FIXED, &[20_123, 29_999]);
    compare::to_guest(&guard, &bottle, data);
    let [which, changes @ ..] = data else { return };
    let all = frames::to_guest(&bottle);
    let mut frame = all[usize::from(*which) % all.len()].clone();
    for change in changes.chunks_exact(2) {
        frames::Change::Byte(usize::from(change[0]), change[1]).apply(&mut frame);
    }
    frames::Change::Checksum.apply(&mut frame);
    compare::to_guest(&guard, &bottle, &frame);
});
