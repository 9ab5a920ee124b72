//! The map: sectors, the warps between them, and what each sector holds at its genesis; all from one seed.
//! Only integers and its own generator, so every node computes the same universe. Players are unknown here.

use super::grid::Grid;
use super::splitmix::SplitMix;
use crate::ids::SectorId;
use crate::state::{Draft, Fields, RoomState};
use crate::value::{Field, Value};

/// Positions on the map and inside a sector are 0 to this.
pub const POSITION_MAX: i64 = 999;
/// Warps of one sector; universes of one or two sectors have fewer.
pub const WARPS_MIN: usize = 2;
pub const WARPS_MAX: usize = 5;
const PORTS_MAX: u64 = 2;
/// How far from the centre of a sector its warps lie.
const WARP_RIM: i64 = 420;
const CENTRE: i64 = 500;

// What a generator is for: numbers are part of the universe, append only.
const FOR_PLACES: u8 = 1;
const FOR_WARPS: u8 = 2;
const FOR_PORTS: u8 = 3;

/// A deterministic universe. Building it is linear in the number of sectors; share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Universe {
    seed: u64,
    /// Map position of each sector; sector "1" is at 0.
    places: Vec<(i64, i64)>,
    /// Indexes of the sectors that each sector's warps lead to, ascending.
    warps: Vec<Vec<usize>>,
}

impl Universe {
    /// `sectors` sectors (at least 1) named "1" to "n", connected, with 2 to 5 two-way warps each, mostly to sectors
    /// that are near on the map.
    pub fn new(seed: u64, sectors: u32) -> Universe {
        let count = sectors.max(1) as usize;
        let grid = Grid::for_count(count);
        let mut random = SplitMix::new(seed, FOR_PLACES, "");
        let places = (0..count).map(|index| grid.place(index, &mut random)).collect();
        let mut universe = Universe { seed, places, warps: vec![Vec::new(); count] };
        universe.lay_warps(&grid);
        universe
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// All sectors, in the order of their numbers.
    pub fn sectors(&self) -> impl Iterator<Item = SectorId> + '_ {
        (0..self.places.len()).map(sector_id)
    }

    pub fn contains(&self, sector: &SectorId) -> bool {
        self.index(sector).is_some()
    }

    /// Where this sector's warps lead, ascending by number; empty for an unknown sector.
    pub fn warps(&self, sector: &SectorId) -> Vec<SectorId> {
        let warps = self.index(sector).map(|index| &self.warps[index]);
        warps.into_iter().flatten().copied().map(sector_id).collect()
    }

    /// Where players without a record start.
    pub fn start(&self) -> SectorId {
        sector_id(0)
    }

    /// (x, y) on the map, 0 to 999 each; (0, 0) for an unknown sector.
    pub fn map_position(&self, sector: &SectorId) -> (i64, i64) {
        self.index(sector).map_or((0, 0), |index| self.places[index])
    }

    /// Where in `sector` the warp to `to` lies: towards `to` on the map. `None` if there is no such warp.
    pub fn warp_position(&self, sector: &SectorId, to: &SectorId) -> Option<(i64, i64)> {
        let (from, to) = (self.index(sector)?, self.index(to)?);
        self.warps[from].contains(&to).then(|| self.rim_towards(from, to))
    }

    /// The sector as it is before its first entry: warps and ports. Empty for an unknown sector.
    pub fn genesis(&self, sector: &SectorId) -> RoomState {
        let mut state = RoomState::new();
        let Some(index) = self.index(sector) else {
            return state;
        };
        let mut draft = Draft::new(&mut state, 0);
        for to in &self.warps[index] {
            let (x, y) = self.rim_towards(index, *to);
            draft.create(entity("warp", (Field::TO, sector_id(*to).as_str()), x, y));
        }
        let mut random = SplitMix::new(self.seed, FOR_PORTS, sector.as_str());
        for _ in 0..random.below(PORTS_MAX + 1) {
            let name = port_name(&mut random);
            let (x, y) = (random.between(200, 800), random.between(200, 800));
            draft.create(entity("port", (Field::NAME, &name), x, y));
        }
        // The genesis snapshot carries the state; there is no entry before it.
        let _ = draft.finish();
        state
    }

    /// Only the number as this universe writes it: "07" or "+7" is no sector.
    fn index(&self, sector: &SectorId) -> Option<usize> {
        let index = sector.as_str().parse::<usize>().ok()?.checked_sub(1)?;
        (index < self.places.len() && sector_id(index) == *sector).then_some(index)
    }

    /// A point on the square rim of sector `from`, in the direction of `to`, moved a little so that warps in one
    /// direction do not cover each other.
    fn rim_towards(&self, from: usize, to: usize) -> (i64, i64) {
        let ((from_x, from_y), (to_x, to_y)) = (self.places[from], self.places[to]);
        let (dx, dy) = (to_x - from_x, to_y - from_y);
        let longer = dx.abs().max(dy.abs()).max(1);
        let nudge = (to as i64 * 37) % 61 - 30;
        let (nudge_x, nudge_y) = if dx.abs() >= dy.abs() { (0, nudge) } else { (nudge, 0) };
        let at = |delta: i64, nudge: i64| (CENTRE + delta * WARP_RIM / longer + nudge).clamp(0, POSITION_MAX);
        (at(dx, nudge_x), at(dy, nudge_y))
    }

    /// A path through all sectors makes it connected; closing its ends gives each two; near ones get more.
    fn lay_warps(&mut self, grid: &Grid) {
        let count = self.places.len();
        for index in 1..count {
            self.join(index - 1, index);
        }
        if count > WARPS_MIN {
            for end in [0, count - 1] {
                if let Some(near) = self.nearest_unjoined(end, 0..count) {
                    self.join(end, near);
                }
            }
        }
        for index in 0..count {
            let mut random = SplitMix::new(self.seed, FOR_WARPS, sector_id(index).as_str());
            let wanted = WARPS_MIN + random.below((WARPS_MAX - WARPS_MIN) as u64) as usize;
            while self.warps[index].len() < wanted {
                match self.nearest_unjoined(index, grid.around(index, count)) {
                    Some(near) => self.join(index, near),
                    None => break,
                }
            }
        }
        self.warps.iter_mut().for_each(|warps| warps.sort_unstable());
    }

    fn join(&mut self, a: usize, b: usize) {
        if a != b && !self.warps[a].contains(&b) {
            self.warps[a].push(b);
            self.warps[b].push(a);
        }
    }

    /// The nearest of `candidates` on the map that is not joined to `index` and has room for a warp.
    fn nearest_unjoined(&self, index: usize, candidates: impl IntoIterator<Item = usize>) -> Option<usize> {
        let joinable = |other: &usize| {
            *other != index && !self.warps[index].contains(other) && self.warps[*other].len() < WARPS_MAX
        };
        candidates.into_iter().filter(joinable).min_by_key(|other| (self.distance_squared(index, *other), *other))
    }

    fn distance_squared(&self, a: usize, b: usize) -> i64 {
        let ((ax, ay), (bx, by)) = (self.places[a], self.places[b]);
        (ax - bx).pow(2) + (ay - by).pow(2)
    }
}

fn sector_id(index: usize) -> SectorId {
    SectorId::new(&(index + 1).to_string()).expect("digits are a name")
}

fn entity(kind: &str, named: (Field, &str), x: i64, y: i64) -> Fields {
    Fields::from([
        (Field::KIND, Value::from(kind)),
        (named.0, Value::from(named.1)),
        (Field::X, Value::Int(x)),
        (Field::Y, Value::Int(y)),
    ])
}

const FIRST: [&str; 12] =
    ["Amber", "Brass", "Cinder", "Drift", "Ember", "Frost", "Gale", "Hollow", "Iron", "Juniper", "Kestrel", "Lantern"];
const SECOND: [&str; 12] = [
    "Anchorage",
    "Bazaar",
    "Crossing",
    "Dock",
    "Exchange",
    "Forge",
    "Gate",
    "Harbour",
    "Landing",
    "Market",
    "Quay",
    "Yard",
];

fn port_name(random: &mut SplitMix) -> String {
    let mut pick = |words: [&'static str; 12]| words[random.below(words.len() as u64) as usize];
    format!("{} {}", pick(FIRST), pick(SECOND))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn id(n: u32) -> SectorId {
        SectorId::new(&n.to_string()).unwrap()
    }

    fn reachable(universe: &Universe) -> usize {
        let (mut seen, mut open) = (BTreeSet::new(), vec![universe.start()]);
        while let Some(sector) = open.pop() {
            if seen.insert(sector.clone()) {
                open.extend(universe.warps(&sector));
            }
        }
        seen.len()
    }

    #[test]
    fn every_universe_is_connected_with_two_to_five_two_way_warps() {
        for (seed, count) in (0..40).flat_map(|seed| [3, 4, 5, 7, 12, 50, 101, 400].map(|count| (seed, count))) {
            let universe = Universe::new(seed, count);
            assert_eq!(reachable(&universe), count as usize, "seed {seed}, {count} sectors");
            for sector in universe.sectors() {
                let warps = universe.warps(&sector);
                assert!(
                    (WARPS_MIN..=WARPS_MAX).contains(&warps.len()),
                    "seed {seed}, {count} sectors: {sector} {warps:?}"
                );
                assert!(warps.iter().all(|to| *to != sector && universe.warps(to).contains(&sector)));
                assert!(warps.is_sorted_by_key(|to| to.as_str().parse::<u32>().unwrap()));
            }
        }
    }

    #[test]
    fn one_or_two_sectors_have_the_warps_that_are_possible() {
        assert_eq!(Universe::new(1, 0), Universe::new(1, 1));
        assert!(Universe::new(1, 1).warps(&id(1)).is_empty());
        assert_eq!(Universe::new(1, 2).warps(&id(1)), [id(2)]);
    }

    #[test]
    fn only_its_own_sectors_are_contained() {
        let universe = Universe::new(7, 20);
        assert!(universe.contains(&id(1)) && universe.contains(&id(20)));
        for not in ["0", "21", "01", "x", "-1", "99999999999999999999"] {
            assert!(!universe.contains(&SectorId::new(not).unwrap()), "{not}");
        }
        assert_eq!(universe.genesis(&id(21)), RoomState::new());
    }

    #[test]
    fn positions_are_on_the_map_apart_and_warps_mostly_short() {
        let universe = Universe::new(42, 100);
        let places: BTreeSet<_> = universe.sectors().map(|sector| universe.map_position(&sector)).collect();
        assert_eq!(places.len(), 100);
        assert!(places.iter().all(|(x, y)| (0..=999).contains(x) && (0..=999).contains(y)));
        let lengths: Vec<i64> = (0..100)
            .flat_map(|a| universe.warps[a].iter().map(move |b| (a, *b)))
            .map(|(a, b)| universe.distance_squared(a, b))
            .collect();
        let short = lengths.iter().filter(|squared| **squared < 280 * 280).count();
        assert!(short * 100 >= lengths.len() * 95, "{short} of {}", lengths.len());
    }

    #[test]
    fn a_genesis_has_a_warp_entity_per_warp_and_at_most_two_ports() {
        let universe = Universe::new(42, 60);
        let mut ports = [0; 3];
        for sector in universe.sectors() {
            let state = universe.genesis(&sector);
            let of_kind = |kind: &'static str| {
                state.public().iter().filter(move |(_, fields)| fields[&Field::KIND].as_text() == Some(kind))
            };
            let to: Vec<_> = of_kind("warp").map(|(_, fields)| fields[&Field::TO].as_text().unwrap()).collect();
            assert_eq!(to, universe.warps(&sector).iter().map(SectorId::as_str).collect::<Vec<_>>());
            ports[of_kind("port").count()] += 1;
            assert_eq!(state.system().next_alias() as usize, state.public().len() + 1);
            assert_eq!(state.sums(), state.sums_from_scratch());
        }
        assert!(ports.iter().all(|count| *count > 0), "{ports:?}");
    }

    #[test]
    fn seed_42_is_pinned() {
        let universe = Universe::new(42, 50);
        let warps = |n| universe.warps(&id(n)).iter().map(|to| to.to_string()).collect::<Vec<_>>().join(" ");
        let sums = universe.sectors().fold(0u32, |sum, sector| {
            let (x, y) = universe.map_position(&sector);
            let place = u32::try_from(x * 1_000 + y).unwrap();
            sum.wrapping_mul(31).wrapping_add(universe.genesis(&sector).public().sum()).wrapping_add(place)
        });
        let got = format!("{} | {} | {} | {sums:08x}", warps(1), warps(25), warps(50));
        assert_eq!(got, "2 16 | 23 24 26 40 | 46 47 48 49 | 38ec8809");
    }
}
