//! The guard allocates nothing, whatever it decides.

use bottle_core::guard::Reply;
use bottle_core::subnet::Subnet;
use bottle_core::wire;
use bottle_oracle::{compare, frames};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything goes to the system allocator and is counted.
#[expect(unsafe_code, reason = "an allocator cannot be counted from outside")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_decision_allocates() {
    let (guard, bottle) = compare::both(Subnet::try_from(42).unwrap(), &[20_000]);
    let (out, back) = (frames::from_guest(&guard, &bottle), frames::to_guest(&bottle));
    let mut stream = Vec::new();
    for frame in &out {
        stream.extend(wire::header(frame.len()).unwrap());
        stream.extend(frame);
    }
    let mut room = Reply::default();
    let before = ALLOCATIONS.load(Relaxed);
    let mut rest = &stream[..];
    let mut count = 0;
    while let Ok(Some(split)) = wire::split_frame(rest) {
        let _ = guard.from_guest(split.frame, &mut room);
        rest = split.rest;
        count += 1;
    }
    for frame in &back {
        let _ = guard.to_guest(frame);
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    assert_eq!(count, out.len());
    // The counter works: this allocation is counted.
    drop(std::hint::black_box(vec![0u8; 64]));
    assert!(ALLOCATIONS.load(Relaxed) > before);
}
