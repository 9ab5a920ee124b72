//! Decoding hostile bytes allocates no more than a small multiple of what was received, whatever their headers claim.
//! A test binary of its own, because it replaces the allocator with one that counts.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::prelude::*;
use sectorbus::state::{Entry, Parts, Receipts, RoomState};

struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn add(size: usize) {
    let live = LIVE.get().wrapping_add(size);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes to the system allocator unchanged; the counters are plain thread-local numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were allocated at one time while `run` ran.
fn peak<T>(run: impl FnOnce() -> T) -> usize {
    LIVE.set(0);
    PEAK.set(0);
    let kept = run();
    let peak = PEAK.get();
    drop(kept);
    peak
}

const MULTIPLE: usize = 64;
const CONSTANT: usize = 4 * 1024;

fn check(bytes: &[u8]) {
    let allowed = bytes.len() * MULTIPLE + CONSTANT;
    let entry = peak(|| Entry::decode(bytes));
    let receipts = peak(|| Receipts::decode(bytes));
    assert!(entry <= allowed && receipts <= allowed, "{entry}, {receipts} of {allowed} for {bytes:02x?}");
    let empty = RoomState::new().to_parts();
    for part in 0..4 {
        let mut parts = Parts { ..empty.clone() };
        *[&mut parts.public, &mut parts.own, &mut parts.system, &mut parts.dormant][part] = Bytes::from(bytes.to_vec());
        let used = peak(|| RoomState::from_parts(&parts));
        assert!(used <= allowed, "part {part}: {used} of {allowed} for {bytes:02x?}");
    }
}

/// Headers that claim 2^32 - 1 elements or bytes: array, map, string, binary, extension.
const CLAIMS: [u8; 5] = [0xdd, 0xdf, 0xdb, 0xc6, 0xc9];

#[test]
fn a_header_that_claims_four_billion_elements_allocates_nothing_for_them() {
    // In place of each element of each record's own shape.
    let starts: [&[u8]; 12] = [
        &[1],
        &[1, 0x96],
        &[1, 0x96, 1],
        &[1, 0x96, 1, 0x90],
        &[1, 0x96, 1, 0x90, 0x80],
        &[1, 0x96, 1, 0x90, 0x80, 0x80],
        &[1, 0x96, 1, 0x91, 0x94],
        // Inside a system change: an actor's marks with their answers.
        &[1, 0x96, 1, 0x90, 0x80, 0x80, 0x91, 0x81, 0xa1, b'a', 0x93, 0xa1, b'p', 1, 0x94, 1, 0x92, 0, 0],
        &[1, 0x91, 0x94],
        &[1, 0x94, 0, 1, 0],
        &[1, 0x94, 0, 1, 0, 0x95],
        &[1, 0x92, 0],
    ];
    for start in starts {
        for marker in CLAIMS {
            check(&[start, &[marker, 0xff, 0xff, 0xff, 0xff]].concat());
        }
    }
}

#[test]
fn the_densest_records_stay_within_the_multiple() {
    // One answer per 9 bytes, one entity per 3 bytes, one timer per 6 bytes.
    let answer = [0x94, 0xa1, b'p', 1, 1, 0xa3, b'a', b'c', b'k'];
    let mut answers = vec![1, 0xdc, 0x03, 0xe8];
    (0..1_000).for_each(|_| answers.extend(answer));
    assert!(Receipts::decode(&answers).is_ok());
    check(&answers);

    let mut entities = vec![1, 0x92, 0, 0xde, 0x00, 0x80];
    (0..128u8).for_each(|alias| entities.extend([alias, 0x80]));
    check(&entities);
}

proptest! {
    #[test]
    fn any_bytes_stay_within_the_multiple(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&[&[1u8][..], &body].concat());
    }

    #[test]
    fn nested_containers_stay_within_the_multiple(
        body in proptest::collection::vec(prop_oneof![Just(0xdd), Just(0xdf), 0x80u8..0xa8, Just(0xff), 0u8..4], 0..300)
    ) {
        check(&[&[1u8][..], &body].concat());
    }
}
