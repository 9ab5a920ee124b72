//! Sectors of other regions, which gates lead to. What another region has is not known here: only how it is written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{RegionName, SectorId};

/// A sector of another region. As text, and in every encoding, `<region>:<sector>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Beyond {
    pub region: RegionName,
    pub sector: SectorId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not <region>:<sector>, each 1 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct BadBeyond;

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.region, self.sector)
    }
}

impl FromStr for Beyond {
    type Err = BadBeyond;
    fn from_str(text: &str) -> Result<Self, BadBeyond> {
        let (region, sector) = text.split_once(':').ok_or(BadBeyond)?;
        let (region, sector) = (RegionName::new(region).ok(), SectorId::new(sector).ok());
        region.zip(sector).map(|(region, sector)| Self { region, sector }).ok_or(BadBeyond)
    }
}

impl TryFrom<String> for Beyond {
    type Error = BadBeyond;
    fn try_from(text: String) -> Result<Self, BadBeyond> {
        text.parse()
    }
}

impl From<Beyond> for String {
    fn from(beyond: Beyond) -> String {
        beyond.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written_and_nothing_else_is() {
        let beyond: Beyond = "us:3".parse().unwrap();
        assert_eq!((beyond.region.as_str(), beyond.sector.as_str(), beyond.to_string().as_str()), ("us", "3", "us:3"));
        for wrong in ["", "us", "us:", ":3", "us:3:4", "u s:3", &format!("{}:3", "x".repeat(65))] {
            assert_eq!(wrong.parse::<Beyond>(), Err(BadBeyond), "{wrong}");
        }
    }
}
