//! Gates to other regions, as they are written in the settings. What comes of them is the rules' business.

use std::fmt;

use sectorbus::beyond::Beyond;
use sectorbus::ids::{RegionName, SectorId};
use sectorbus::limits::GATES_MAX;

pub(super) const ACCEPTED: &str =
    "<sector> <region>:<sector there>, at most 1000; several as a list or separated by commas, none twice";
const _: () = assert!(GATES_MAX == 1_000, "as it is written above");

/// A way from a sector of this region to one of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gate {
    pub sector: SectorId,
    pub to: Beyond,
}

/// As it is read.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sector, self.to)
    }
}

impl Gate {
    /// `<sector> <region>:<sector there>`.
    pub fn read(text: &str) -> Option<Self> {
        let (sector, to) = text.split_once(' ')?;
        Some(Self { sector: sector.parse().ok()?, to: to.trim_start().parse().ok()? })
    }

    /// It stands in a universe of so many sectors, and leads out of this region.
    pub(super) fn is_of(&self, region: &RegionName, sectors: u32) -> bool {
        let number =
            self.sector.as_str().parse::<u32>().ok().filter(|number| number.to_string() == self.sector.as_str());
        number.is_some_and(|number| (1..=sectors.max(1)).contains(&number)) && self.to.region != *region
    }
}

/// `None`: too many, or one twice.
pub(super) fn unique(gates: Vec<Gate>) -> Option<Vec<Gate>> {
    let is_new = |(at, gate): (usize, &Gate)| !gates[..at].contains(gate);
    (gates.len() <= GATES_MAX && gates.iter().enumerate().all(is_new)).then_some(gates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_read_as_it_is_written_and_stands_in_this_universe() {
        let gate = Gate::read("7 us:3").unwrap();
        assert_eq!((gate.to_string().as_str(), gate.to.sector.as_str()), ("7 us:3", "3"));
        for wrong in ["", "7", "7 us", "us:3", "7us:3", "a b us:3", "7 us:3:4", "7 us:"] {
            assert_eq!(Gate::read(wrong), None, "{wrong}");
        }
        let here = RegionName::new("eu").unwrap();
        assert!(gate.is_of(&here, 7) && !gate.is_of(&here, 6) && !gate.is_of(&gate.to.region.clone(), 7));
        for sector in ["0", "07", "x"] {
            assert!(!Gate::read(&format!("{sector} us:3")).unwrap().is_of(&here, 7), "{sector}");
        }
        assert!(unique(vec![gate.clone(), Gate::read("7 us:4").unwrap()]).is_some());
        assert_eq!(unique(vec![gate.clone(), gate]), None);
    }
}
