//! Decoding hostile bytes allocates no more than a small multiple of what was received, whatever their headers claim.
//! A test binary of its own, because it replaces the allocator with one that counts.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::prelude::*;
use sectorbus::protocol::{ClientFrame, Codec, ServerFrame};
use sectorbus::state::{Entry, Parts, RoomState};

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
    assert!(entry <= allowed, "{entry} of {allowed} for {bytes:02x?}");
    let empty = RoomState::new().to_parts();
    for part in 0..4 {
        let mut parts = Parts { ..empty.clone() };
        *[&mut parts.public, &mut parts.own, &mut parts.system, &mut parts.dormant][part] = Bytes::from(bytes.to_vec());
        let used = peak(|| RoomState::from_parts(&parts));
        assert!(used <= allowed, "part {part}: {used} of {allowed} for {bytes:02x?}");
    }
}

/// Frames too, from either side and in both codecs.
fn check_frame(codec: Codec, message: &[u8]) {
    let allowed = message.len() * MULTIPLE + CONSTANT;
    let from_client = peak(|| ClientFrame::decode(codec, message));
    let from_server = peak(|| ServerFrame::decode(codec, message));
    assert!(
        from_client <= allowed && from_server <= allowed,
        "{from_client}, {from_server} of {allowed}: {message:02x?}"
    );
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
    // One answer per 9 bytes, one entity per 3 bytes.
    let answer = [0x94, 0xa1, b'p', 1, 1, 0xa3, b'a', b'c', b'k'];
    let mut answers = vec![1, 0x96, 1, 0xdc, 0x03, 0xe8];
    (0..1_000).for_each(|_| answers.extend(answer));
    answers.extend([0x80, 0x80, 0x90, 0x93, 0, 0x80, 0]);
    assert!(Entry::decode(&answers).is_ok());
    check(&answers);

    let mut entities = vec![1, 0x92, 0, 0xde, 0x00, 0x80];
    (0..128u8).for_each(|alias| entities.extend([alias, 0x80]));
    check(&entities);
}

/// A frame's start in msgpack: a map of one, its name, a map of one, a field's name.
fn field_of(frame: &str, field: &str) -> Vec<u8> {
    let text = |text: &str| [&[0xa0 | text.len() as u8][..], text.as_bytes()].concat();
    [vec![0x81], text(frame), vec![0x81], text(field)].concat()
}

#[test]
fn a_frame_that_claims_four_billion_elements_allocates_nothing_for_them() {
    let mut starts = vec![
        vec![],
        vec![0x81],
        vec![0x94, 0, 1, 1],
        vec![0x94, 0],
        vec![0x94, 0, 1, 1, 0x93, 1, 1],
        field_of("hello", "unknown"),
        field_of("act", "action"),
    ];
    for field in ["features", "token", "device", "cursor"] {
        starts.push(field_of("hello", field));
    }
    for field in ["entities", "own", "marks", "sector"] {
        starts.push(field_of("snapshot", field));
    }
    for field in ["pending", "fields", "limits"] {
        starts.push(field_of("welcome", field));
    }
    starts.extend([field_of("own", "set"), field_of("reject", "facts"), field_of("moved", "snapshot")]);
    for start in starts {
        for marker in CLAIMS {
            check_frame(Codec::Msgpack, &[&start[..], &[marker, 0xff, 0xff, 0xff, 0xff]].concat());
        }
    }
}

#[test]
fn the_densest_frames_stay_within_the_multiple() {
    let many = |count: usize, of: &str| vec![of; count].join(",");
    check_frame(Codec::Json, format!("{{\"hello\":{{\"features\":[{}]}}}}", many(4_000, "\"\"")).as_bytes());
    check_frame(Codec::Json, format!("{{\"hello\":{{\"x\":[{}]}}}}", many(5_000, "1")).as_bytes());
    check_frame(Codec::Json, "[".repeat(16_000).as_bytes());
    check_frame(Codec::Msgpack, &[0x91; 16_000]);
    // A delta of many empty removals: two bytes each.
    let mut delta = vec![0xdc, 0x1f, 0x43, 0, 1, 1];
    (0..8_000).for_each(|_| delta.extend([0x91, 1]));
    assert!(ServerFrame::decode(Codec::Msgpack, &delta).is_ok());
    check_frame(Codec::Msgpack, &delta);
    let entities = many(2_000, "{\"entity\":1,\"fields\":{}}");
    check_frame(Codec::Json, format!("{{\"snapshot\":{{\"entities\":[{entities}]}}}}").as_bytes());
}

/// Messages as a hostile peer's generator makes them: pieces of frames of either codec.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "hello", "act", "welcome", "snapshot", "features", "entities", "marks", "x", "{", "}", "[", "]", "\"", ":", ",",
    ];
    let piece = prop_oneof![
        prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        prop::sample::select(&WORDS[..8]).prop_map(|word| [&[0xa0 | word.len() as u8][..], word.as_bytes()].concat()),
        prop_oneof![Just(0xdd), Just(0xdf), Just(0xdb), 0x80u8..0xa8, Just(0xff), 0u8..4].prop_map(|byte| vec![byte]),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_refused_within_the_multiple(
        message in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), pieces()]
    ) {
        Codec::ALL.into_iter().for_each(|codec| check_frame(codec, &message));
    }

    #[test]
    fn bytes_behind_a_frame_are_refused(behind in proptest::collection::vec(any::<u8>(), 1..20)) {
        for codec in Codec::ALL {
            let frame = ClientFrame::Resync {}.encode(codec);
            let blank = codec == Codec::Json && behind.iter().all(|byte| b" \n\r\t".contains(byte));
            let read = ClientFrame::decode(codec, &[&frame[..], &behind].concat());
            prop_assert_eq!(read.is_ok(), blank);
            let delta = [0x93, 0, 1, 1];
            if codec == Codec::Msgpack {
                prop_assert!(ServerFrame::decode(codec, &[&delta[..], &behind].concat()).is_err());
            }
        }
    }

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
