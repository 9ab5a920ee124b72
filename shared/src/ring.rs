//! Which node owns which room: a consistent-hash ring over the living incarnations, the same on every node.
//! Points are made from the texts of incarnations and rooms with a hash that is pinned here and by
//! `shared/vectors/ring.json`. Knows nothing of who is alive: `membership` says so.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hash, Hasher};

use consistent_hash_ring::{Ring as Points, RingBuilder};

use crate::ids::{Incarnation, RingVersion, RoomId};

/// Names the hash and the number of virtual nodes: nodes that differ in it must not share a region.
///
/// A text is hashed with FNV-1a (64 bit) over its bytes, then finished with splitmix64; an incarnation's points are
/// that number and what splitmix64 makes of it again and again. A room belongs to the first point at or above its own.
pub fn ring_hash_pin() -> &'static str {
    const _: () = assert!(crate::limits::RING_VIRTUAL_NODES == 2_000, "the pin names the number");
    "fnv1a64-splitmix64-2000"
}

/// Who owns which room at one ring version. Immutable: a change is a new ring, swapped in whole.
#[derive(Clone)]
pub struct Ring {
    version: RingVersion,
    members: Vec<Incarnation>,
    points: Points<Node, PinnedHash>,
}

impl Ring {
    /// A ring that owns nothing, version 0.
    pub fn empty() -> Self {
        Self::build(RingVersion(0), &[], 1)
    }

    /// A ring of these nodes, whatever their order. Quadratic in the number of points (`virtual_nodes` per node;
    /// 20,000 points take tens of milliseconds): build it off the event loop.
    pub fn build(version: RingVersion, incarnations: &[Incarnation], virtual_nodes: usize) -> Self {
        let mut members = incarnations.to_vec();
        members.sort();
        members.dedup();
        let nodes = members.iter().cloned().map(Node);
        let points = RingBuilder::new(PinnedHash).vnodes(virtual_nodes).nodes_iter(nodes).build();
        Self { version, members, points }
    }

    /// The node that should own the room; `None` if the ring is empty.
    pub fn owner(&self, room: &RoomId) -> Option<&Incarnation> {
        self.points.try_get(Key(room)).map(|node| &node.0)
    }

    pub fn version(&self) -> RingVersion {
        self.version
    }

    /// In order of their names.
    pub fn members(&self) -> &[Incarnation] {
        &self.members
    }

    pub fn contains(&self, incarnation: &Incarnation) -> bool {
        self.members.binary_search(incarnation).is_ok()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("version", &self.version).field("members", &self.members).finish()
    }
}

/// Hashes as its text's bytes. The derived `Hash` of a text is not promised to stay the same between Rust releases.
#[derive(Clone, PartialEq, Eq)]
struct Node(Incarnation);

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_str().as_bytes());
    }
}

/// Hashes as its text's bytes, without making the text.
struct Key<'a>(&'a RoomId);

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        struct Bytes<'h, H>(&'h mut H);
        impl<H: Hasher> Write for Bytes<'_, H> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        // Writing into a hasher cannot fail.
        let _ = write!(Bytes(state), "{}", self.0);
    }
}

#[derive(Clone, Default)]
struct PinnedHash;

impl BuildHasher for PinnedHash {
    type Hasher = PinnedHasher;
    fn build_hasher(&self) -> PinnedHasher {
        PinnedHasher(FNV_OFFSET)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a over bytes; a number alone (how the ring makes the next point from the last) replaces the state, so that
/// it does not depend on the machine's byte order.
struct PinnedHasher(u64);

impl Hasher for PinnedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
    fn finish(&self) -> u64 {
        splitmix64(self.0)
    }
}

fn splitmix64(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeName, SectorId};
    use crate::limits::RING_VIRTUAL_NODES;

    const ROOMS: usize = 100_000;

    /// Names as operators choose them: one of several shapes per set, and joined within one day.
    fn names(seed: u64, count: usize) -> Vec<Incarnation> {
        let mut state = seed;
        let mut next = || {
            state = splitmix64(state);
            state
        };
        let name = |number: usize, random: u64| match seed % 4 {
            0 => format!("node-{number}"),
            1 => format!("gw-eu-west-1{}", char::from(b'a' + number as u8)),
            2 => format!("{random:016x}"),
            _ => format!("ip-10-0-{}-{}", random % 4, number + 17),
        };
        (0..count)
            .map(|number| {
                let joined_ms = 1_790_000_000_000 + next() % 86_400_000;
                Incarnation::new(&NodeName::new(&name(number, next())).unwrap(), joined_ms)
            })
            .collect()
    }

    fn rooms() -> Vec<RoomId> {
        (0..ROOMS).map(|n| RoomId::Sector(SectorId::new(&n.to_string()).unwrap())).collect()
    }

    fn owners<'a>(ring: &'a Ring, rooms: &[RoomId]) -> Vec<&'a Incarnation> {
        rooms.iter().map(|room| ring.owner(room).unwrap()).collect()
    }

    /// (max - min) / mean over the nodes.
    fn spread(ring: &Ring, owners: &[&Incarnation]) -> f64 {
        let mut counts = vec![0usize; ring.members().len()];
        for owner in owners {
            counts[ring.members().binary_search(owner).unwrap()] += 1;
        }
        let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        (max - min) as f64 * counts.len() as f64 / owners.len() as f64
    }

    /// Checks one set of names; answers (spread, share moved by an eleventh node).
    fn judge_set(seed: u64, rooms: &[RoomId]) -> (f64, f64) {
        let eleven = names(seed, 11);
        let ten = Ring::build(RingVersion(1), &eleven[..10], RING_VIRTUAL_NODES);
        let grown = Ring::build(RingVersion(2), &eleven, RING_VIRTUAL_NODES);
        let before = owners(&ten, rooms);
        let after = owners(&grown, rooms);
        let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| **new == &eleven[10]), "a room moved between two old nodes");
        (spread(&ten, &before), moved.len() as f64 / rooms.len() as f64)
    }

    #[test]
    fn load_is_even_and_growth_moves_little_over_100_sets_of_names() {
        let rooms = &rooms();
        let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
        let judged: Vec<(f64, f64)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let seeds = (first..100).step_by(threads as usize);
                    scope.spawn(move || seeds.map(|seed| judge_set(seed, rooms)).collect::<Vec<_>>())
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let worst_spread = judged.iter().map(|(spread, _)| *spread).fold(0.0, f64::max);
        let worst_moved = judged.iter().map(|(_, moved)| *moved).fold(0.0, f64::max);
        eprintln!("worst spread {worst_spread:.4}, worst moved {worst_moved:.4}");
        assert_eq!(judged.len(), 100);
        assert!(worst_spread <= 0.15, "(max - min) / mean is {worst_spread}");
        assert!(worst_moved <= 0.12, "an eleventh node moved {worst_moved} of the rooms");
    }

    #[test]
    fn order_and_repeats_of_the_members_do_not_matter() {
        let members = names(7, 5);
        let mut shuffled: Vec<_> = members.iter().rev().cloned().collect();
        shuffled.push(members[2].clone());
        let (a, b) = (Ring::build(RingVersion(3), &members, 64), Ring::build(RingVersion(3), &shuffled, 64));
        assert_eq!(a.members(), b.members());
        for room in rooms().iter().take(1_000) {
            assert_eq!(a.owner(room), b.owner(room));
        }
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        assert_eq!(Ring::empty().owner(&RoomId::Global), None);
        assert_eq!(Ring::empty().version(), RingVersion(0));
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        pin: String,
        virtual_nodes: usize,
        hashes: Vec<(String, String)>,
        rings: Vec<RingVector>,
    }

    #[derive(serde::Deserialize)]
    struct RingVector {
        members: Vec<Incarnation>,
        owners: Vec<(RoomId, Incarnation)>,
    }

    #[test]
    fn hash_and_owners_are_those_of_the_vectors() {
        let vectors: Vectors = serde_json::from_str(include_str!("../vectors/ring.json")).unwrap();
        assert_eq!(vectors.pin, ring_hash_pin());
        assert_eq!(vectors.virtual_nodes, RING_VIRTUAL_NODES);
        for (text, expected) in &vectors.hashes {
            let mut hasher = PinnedHash.build_hasher();
            hasher.write(text.as_bytes());
            assert_eq!(&format!("{:016x}", hasher.finish()), expected, "{text}");
        }
        for vector in &vectors.rings {
            let ring = Ring::build(RingVersion(1), &vector.members, vectors.virtual_nodes);
            for (room, owner) in &vector.owners {
                assert_eq!(ring.owner(room), Some(owner), "{room}");
            }
        }
    }
}
