//! What is mirrored, between which regions, and what goes first: rules, of which the first that fits counts. Pure: knows
//! nothing of files, links or Redis.

use std::fmt;

use sectorbus::ids::{RegionName, RoomId};
use sectorbus::metrics::Label;

/// What a rule is about.
pub use sectorbus::metrics::What;

/// All that rules may be about.
pub(crate) const EVERYTHING: [What; 6] =
    [What::Feeds, What::Logs, What::Presence, What::Counts, What::Revocations, What::Jumps];

/// What goes first where there is much to carry: larger goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Normal,
    Critical,
}

impl Class {
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "critical" => Some(Class::Critical),
            "normal" => Some(Class::Normal),
            _ => None,
        }
    }
}

/// A room by its name, or all whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomPattern {
    Exactly(RoomId),
    BeginsWith(String),
}

impl RoomPattern {
    /// A room's name, or the beginning of one and `*`; `*` alone: any. `None` for another region's room, too.
    pub fn read(text: &str) -> Option<Self> {
        if text.contains('@') {
            return None;
        }
        let Some(beginning) = text.strip_suffix('*') else { return Some(Self::Exactly(text.parse().ok()?)) };
        // With anything after it, it is a room.
        let fits = beginning.is_empty() || format!("{beginning}x").parse::<RoomId>().is_ok();
        fits.then(|| Self::BeginsWith(beginning.to_owned()))
    }

    /// Fits sectors alone, and names none: nothing follows the logs of such.
    pub fn is_of_unnamed_sectors(&self) -> bool {
        matches!(self, Self::BeginsWith(beginning) if beginning.starts_with("sector:"))
    }

    pub fn fits(&self, room: &RoomId) -> bool {
        match self {
            Self::Exactly(name) => name == room,
            Self::BeginsWith(beginning) => room.to_string().starts_with(beginning.as_str()),
        }
    }
}

impl fmt::Display for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(room) => room.fmt(f),
            Self::BeginsWith(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRule {
    pub what: What,
    /// Empty for what has no rooms.
    pub rooms: Vec<RoomPattern>,
    /// `None`: all regions.
    pub from: Option<Vec<RegionName>>,
    /// `None`: all others.
    pub to: Option<Vec<RegionName>>,
    pub class: Class,
}

impl MirrorRule {
    fn is_about(&self, what: What, room: Option<&RoomId>) -> bool {
        let fits = || room.is_some_and(|room| self.rooms.iter().any(|pattern| pattern.fits(room)));
        self.what == what && (!has_rooms(what) || fits())
    }

    fn takes_from(&self, region: &RegionName) -> bool {
        self.from.as_ref().is_none_or(|from| from.contains(region))
    }

    fn gives_to(&self, region: &RegionName) -> bool {
        self.to.as_ref().is_none_or(|to| to.contains(region))
    }

    fn gives_to_another_than(&self, region: &RegionName) -> bool {
        self.to.as_ref().is_none_or(|to| to.iter().any(|to| to != region))
    }
}

/// All rules, in the order in which they count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<MirrorRule>);

impl Rules {
    pub fn new(rules: Vec<MirrorRule>) -> Self {
        Self(rules)
    }

    pub fn iter(&self) -> impl Iterator<Item = &MirrorRule> {
        self.0.iter()
    }

    /// Whether, and with which class, `from`'s is mirrored to `to`. `room`: for what has rooms. A region's own never is.
    pub fn class_of(&self, what: What, room: Option<&RoomId>, from: &RegionName, to: &RegionName) -> Option<Class> {
        if from == to {
            return None;
        }
        let fits = |rule: &&MirrorRule| rule.is_about(what, room) && rule.takes_from(from) && rule.gives_to(to);
        self.0.iter().find(fits).map(|rule| rule.class)
    }

    /// The same for a room's log: that of `global` has the counts.
    pub fn class_of_log(&self, room: &RoomId, from: &RegionName, to: &RegionName) -> Option<Class> {
        let counts = || self.class_of(What::Counts, None, from, to).filter(|_| *room == RoomId::Global);
        self.class_of(What::Logs, Some(room), from, to).or_else(counts)
    }

    /// The same upwards.
    pub fn class_up_log(&self, room: &RoomId, from: &RegionName) -> Option<Class> {
        let counts = || self.class_up(What::Counts, None, from).filter(|_| *room == RoomId::Global);
        self.class_up(What::Logs, Some(room), from).or_else(counts)
    }

    /// Sectors whose logs another region gets, each named by itself: nothing marks their changes, they are followed.
    pub fn sectors_from(&self, region: &RegionName) -> Vec<RoomId> {
        let about = |rule: &&MirrorRule| {
            rule.what == What::Logs && rule.takes_from(region) && rule.gives_to_another_than(region)
        };
        let exact = |pattern: &RoomPattern| match pattern {
            RoomPattern::Exactly(room @ RoomId::Sector(_)) => Some(room.clone()),
            RoomPattern::Exactly(_) | RoomPattern::BeginsWith(_) => None,
        };
        let mut sectors: Vec<RoomId> =
            self.0.iter().filter(about).flat_map(|rule| &rule.rooms).filter_map(exact).collect();
        sectors.sort_unstable();
        sectors.dedup();
        sectors
    }

    /// Whether any logs are mirrored: who reads a team's roster elsewhere may ask its home to change it.
    pub fn takes_rosters(&self) -> bool {
        self.0.iter().any(|rule| rule.what == What::Logs)
    }

    /// Whether, and with which class, something of a region goes to redis-nexus: as some other region gets it.
    pub fn class_up(&self, what: What, room: Option<&RoomId>, from: &RegionName) -> Option<Class> {
        let fits =
            |rule: &&MirrorRule| rule.is_about(what, room) && rule.takes_from(from) && rule.gives_to_another_than(from);
        self.0.iter().filter(fits).map(|rule| rule.class).max()
    }
}

/// What is mirrored if nothing else is said: between all regions what players say and are told, teams, who is there, what
/// is revoked, and jumps; no sectors.
impl Default for Rules {
    fn default() -> Self {
        let rule = |what, rooms: &[&str], class| {
            let rooms = rooms.iter().filter_map(|room| RoomPattern::read(room)).collect();
            MirrorRule { what, rooms, from: None, to: None, class }
        };
        Self(vec![
            rule(What::Revocations, &[], Class::Critical),
            rule(What::Jumps, &[], Class::Critical),
            rule(What::Feeds, &["player:*"], Class::Critical),
            rule(What::Feeds, &["global", "team:*"], Class::Normal),
            rule(What::Logs, &["team:*"], Class::Normal),
            rule(What::Presence, &[], Class::Normal),
            rule(What::Counts, &[], Class::Normal),
        ])
    }
}

/// Whether rules about it name rooms.
pub fn has_rooms(what: What) -> bool {
    matches!(what, What::Feeds | What::Logs)
}

/// As the configuration has it.
pub fn read_what(text: &str) -> Option<What> {
    EVERYTHING.into_iter().find(|what| What::VALUES[what.index()] == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RegionName {
        text.parse().unwrap()
    }

    fn rule(what: What, rooms: &[&str], from: Option<&[&str]>, to: Option<&[&str]>, class: Class) -> MirrorRule {
        let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect::<Vec<_>>();
        let rooms = rooms.iter().map(|text| RoomPattern::read(text).unwrap()).collect();
        MirrorRule { what, rooms, from: from.map(names), to: to.map(names), class }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = Rules::new(vec![
            rule(What::Feeds, &["team:red"], Some(&["eu"]), Some(&["us"]), Class::Critical),
            rule(What::Feeds, &["team:*", "global"], None, Some(&["us", "asia"]), Class::Normal),
            rule(What::Presence, &[], Some(&["us"]), None, Class::Normal),
        ]);
        let of = |room: &str, from: &str, to: &str| {
            rules.class_of(What::Feeds, Some(&room.parse().unwrap()), &name(from), &name(to))
        };
        for (room, from, to, expected) in [
            ("team:red", "eu", "us", Some(Class::Critical)),
            ("team:red", "eu", "asia", Some(Class::Normal)),
            ("team:red", "us", "eu", None),
            ("team:reddish", "eu", "us", Some(Class::Normal)),
            ("global", "asia", "us", Some(Class::Normal)),
            ("player:ann", "eu", "us", None),
            ("team:red", "us", "us", None),
        ] {
            assert_eq!(of(room, from, to), expected, "{room} {from} {to}");
        }
        assert_eq!(rules.class_of(What::Presence, None, &name("us"), &name("eu")), Some(Class::Normal));
        assert_eq!(rules.class_of(What::Presence, None, &name("eu"), &name("us")), None);
        assert_eq!(rules.class_of(What::Logs, Some(&RoomId::Global), &name("eu"), &name("us")), None);
    }

    #[test]
    fn what_anybody_gets_goes_up_with_its_highest_class() {
        let rules = Rules::new(vec![
            rule(What::Feeds, &["team:*"], None, Some(&["eu"]), Class::Normal),
            rule(What::Feeds, &["team:red"], Some(&["us"]), None, Class::Critical),
        ]);
        let up = |room: &str, from: &str| rules.class_up(What::Feeds, Some(&room.parse().unwrap()), &name(from));
        assert_eq!(up("team:red", "us"), Some(Class::Critical));
        assert_eq!(up("team:blue", "us"), Some(Class::Normal));
        assert_eq!(up("team:blue", "eu"), None, "to itself only");
        assert_eq!(up("global", "us"), None);
    }

    #[test]
    fn sectors_are_named_each_and_the_log_of_global_has_the_counts() {
        let (eu, us) = (name("eu"), name("us"));
        let rules = Rules::new(vec![
            rule(What::Logs, &["sector:4", "sector:2", "team:*", "sector:4"], Some(&["eu"]), None, Class::Normal),
            rule(What::Counts, &[], None, Some(&["us"]), Class::Critical),
        ]);
        let sectors = |region| rules.sectors_from(region).iter().map(RoomId::to_string).collect::<Vec<_>>();
        assert_eq!((sectors(&eu), sectors(&us)), (vec!["sector:2".to_owned(), "sector:4".to_owned()], vec![]));
        let of = |room: &str, from, to| rules.class_of_log(&room.parse().unwrap(), from, to);
        assert_eq!(of("global", &eu, &us), Some(Class::Critical));
        assert_eq!((of("global", &us, &eu), of("sector:2", &eu, &us)), (None, Some(Class::Normal)));
        assert_eq!((of("sector:3", &eu, &us), of("sector:2", &us, &eu)), (None, None));
        assert_eq!(rules.class_up_log(&RoomId::Global, &eu), Some(Class::Critical));
        assert_eq!(rules.class_up_log(&RoomId::Global, &us), None);
    }

    #[test]
    fn the_default_rules_leave_sectors_where_they_are() {
        let rules = Rules::default();
        let (eu, us) = (name("eu"), name("us"));
        let feed = |room: &str| rules.class_of(What::Feeds, Some(&room.parse().unwrap()), &eu, &us);
        assert_eq!(feed("global"), Some(Class::Normal));
        assert_eq!(feed("player:ann"), Some(Class::Critical));
        assert_eq!(feed("team:red"), Some(Class::Normal));
        assert_eq!(feed("sector:4"), None);
        let log = |room: &str| rules.class_of(What::Logs, Some(&room.parse().unwrap()), &eu, &us);
        assert_eq!((log("team:red"), log("sector:4"), log("global")), (Some(Class::Normal), None, None));
        for what in [What::Revocations, What::Jumps] {
            assert_eq!(rules.class_of(what, None, &eu, &us), Some(Class::Critical));
        }
        for what in [What::Presence, What::Counts] {
            assert_eq!(rules.class_of(what, None, &eu, &us), Some(Class::Normal));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for good in ["global", "team:red", "team:*", "team:r*", "*", "topic:market:*"] {
            assert_eq!(RoomPattern::read(good).map(|pattern| pattern.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "team", "te*", "te*m:red", "*:red", "team:**", "team:a b", "team:red@us", "glob*", "all"] {
            assert_eq!(RoomPattern::read(bad), None, "{bad}");
        }
        let long = format!("team:{}*", "x".repeat(64));
        assert_eq!(RoomPattern::read(&long), None);
    }

    #[test]
    fn what_rules_are_about_is_read_as_it_is_counted() {
        for text in What::VALUES {
            assert!(read_what(text).is_some(), "{text}");
        }
        assert_eq!(read_what("feed"), None);
    }
}
