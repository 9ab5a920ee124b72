//! Who may read which topics: patterns of names, of which the first that fits counts. What a topic is, is `session`'s and
//! `feeds`' business.

use sectorbus::ids::{TeamId, TopicId};

pub(super) const ACCEPTED: &str = "<pattern>=everyone or <pattern>=team:<id>, a pattern being a topic's name, or its beginning and *; several as a list or separated by commas, no pattern twice";

/// Names that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(TopicId),
    BeginsWith(String),
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        let Some(beginning) = text.strip_suffix('*') else { return Some(Self::Exactly(text.parse().ok()?)) };
        // With anything after it, it is a name.
        TopicId::new(&format!("{beginning}x")).is_ok().then(|| Self::BeginsWith(beginning.to_owned()))
    }

    fn fits(&self, topic: &TopicId) -> bool {
        match self {
            Self::Exactly(name) => name == topic,
            Self::BeginsWith(beginning) => topic.as_str().starts_with(beginning),
        }
    }
}

/// Who may read a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBy {
    Everyone,
    /// Its members, while they are.
    Team(TeamId),
}

/// One pattern, and who may read the topics that it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRule {
    pattern: Pattern,
    read_by: ReadBy,
}

impl TopicRule {
    /// `<pattern>=everyone` or `<pattern>=team:<id>`.
    pub fn read(text: &str) -> Option<Self> {
        let (pattern, read_by) = text.split_once('=')?;
        let read_by = match read_by.split_once(':') {
            None if read_by == "everyone" => ReadBy::Everyone,
            Some(("team", id)) => ReadBy::Team(id.parse().ok()?),
            _ => return None,
        };
        Some(Self { pattern: Pattern::read(pattern)?, read_by })
    }
}

/// `None`: no rule fits, nobody may read it.
pub fn read_by<'a>(rules: &'a [TopicRule], topic: &TopicId) -> Option<&'a ReadBy> {
    rules.iter().find(|rule| rule.pattern.fits(topic)).map(|rule| &rule.read_by)
}

/// `None`: two of one pattern, of which the second would say nothing.
pub(super) fn unique(rules: Vec<TopicRule>) -> Option<Vec<TopicRule>> {
    let is_new = |(at, rule): (usize, &TopicRule)| rules[..at].iter().all(|before| before.pattern != rule.pattern);
    rules.iter().enumerate().all(is_new).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<TopicRule> {
        texts.iter().map(|text| TopicRule::read(text).unwrap_or_else(|| panic!("{text}"))).collect()
    }

    #[test]
    fn the_first_pattern_that_fits_says_who_reads() {
        let rules = rules(&["market:gold=team:red", "market:*=everyone", "galnet=everyone", "m*=team:blue"]);
        let team = |id: &str| ReadBy::Team(id.parse().unwrap());
        for (topic, expected) in [
            ("market:gold", Some(team("red"))),
            ("market:golden", Some(ReadBy::Everyone)),
            ("market:ore:iron", Some(ReadBy::Everyone)),
            ("galnet", Some(ReadBy::Everyone)),
            ("galnet:1", None),
            ("market", Some(team("blue"))),
            ("Market:ore", None),
        ] {
            assert_eq!(read_by(&rules, &topic.parse().unwrap()), expected.as_ref(), "{topic}");
        }
        assert_eq!(read_by(&[], &"galnet".parse().unwrap()), None);
        assert_eq!(
            read_by(&[TopicRule::read("*=everyone").unwrap()], &"x:y".parse().unwrap()),
            Some(&ReadBy::Everyone)
        );
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "galnet",
            "galnet=",
            "=everyone",
            "galnet=nobody",
            "galnet=team:",
            "galnet=team:a b",
            "gal*net=everyone",
            "market:**=everyone",
            "market::*=everyone",
            ":*=everyone",
            "a b=everyone",
            "galnet=everyone=everyone",
            &format!("{}=everyone", "x".repeat(65)),
            &format!("{}*=everyone", "x".repeat(64)),
        ] {
            assert_eq!(TopicRule::read(text), None, "{text}");
        }
        assert_eq!(unique(rules(&["a:*=everyone", "a:*=team:red"])), None);
        assert!(unique(rules(&["a:*=everyone", "a:b=team:red"])).is_some());
    }
}
