//! Trust boundary: root in the guest can write any bytes to the mounted socket.
//! Property: the guard and the policy oracle agree on every frame, and every reply is right.
#![no_main]

use bottle_core::subnet::Subnet;
use bottle_oracle::{compare, frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (guard, bottle) = compare::both(Subnet::FIXED, &[20_123, 29_999]);
    compare::from_guest(&guard, &bottle, data);
    // The same bytes again as changes to a valid frame, so that the fuzzer gets past the checksum.
    let [which, changes @ ..] = data else { return };
    let all = frames::from_guest(&guard, &bottle);
    let mut frame = all[usize::from(*which) % all.len()].clone();
    for change in changes.chunks_exact(3) {
        frames::Change::Byte(usize::from(change[0]) + 256 * usize::from(change[1] & 3), change[2]).apply(&mut frame);
    }
    frames::Change::Checksum.apply(&mut frame);
    compare::from_guest(&guard, &bottle, &frame);
});
