//! What can be wrong with a configuration, worded for the person who has to fix it: where, what was found, what is
//! accepted. All problems are reported at once. No message holds a URL's password.

use std::fmt;
use std::path::PathBuf;

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{at}: not TOML: {reason}")]
    Syntax { at: Place, reason: String },
    /// `part`: the table that it stands in, as written in the file; empty: none.
    #[error("{at}: unknown setting {given}{}{}: accepted is {accepted}", inside(part), did_you_mean(*closest))]
    Unknown { at: Place, given: String, part: String, closest: Option<&'static str>, accepted: String },
    /// `found` is `None` for what must not be repeated.
    #[error("{at}: {setting}{} is refused: accepted is {accepted}", shown(found.as_deref()))]
    Refused { at: Place, setting: String, found: Option<String>, accepted: String },
    #[error("{at}: {setting} is missing{}: accepted is {accepted}", inside(part))]
    Missing { at: Place, setting: String, part: String, accepted: String },
    #[error("{at}: {what} stands twice, first in line {first}: accepted is another one")]
    Twice { at: Place, what: String, first: usize },
    #[error("{at}: {first} and {second} have the same Redis, {place}: accepted is one of its own for each")]
    OneRedis { at: Place, first: String, second: String, place: String },
    #[error("{at}: this rule mirrors {what} to itself: accepted is a `from` and a `to` that leave two regions")]
    Cyclic { at: Place, what: String },
    #[error(
        "{at}: {setting}{} is another region's room: accepted is a room's own name, its region says `from`",
        shown(Some(found))
    )]
    OtherRegionsRoom { at: Place, setting: &'static str, found: String },
    #[error("{at}: {first} and {second} are both given: accepted is one of them")]
    Both { at: Place, first: &'static str, second: &'static str },
}

fn inside(part: &str) -> String {
    if part.is_empty() { String::new() } else { format!(" in {part}") }
}

fn did_you_mean(closest: Option<&str>) -> String {
    closest.map(|name| format!(", did you mean {name}?")).unwrap_or_default()
}

fn shown(found: Option<&str>) -> String {
    found.map(|found| format!(" = {found}")).unwrap_or_default()
}

/// A configuration that a nexus does not start with. Shown with one problem per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, in the order of the file as far as they have a line.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Problem {
    /// `None`: it is about the whole file.
    pub fn line(&self) -> Option<usize> {
        match self {
            Problem::Unreadable { .. } => None,
            Problem::Syntax { at, .. }
            | Problem::Unknown { at, .. }
            | Problem::Refused { at, .. }
            | Problem::Missing { at, .. }
            | Problem::Twice { at, .. }
            | Problem::OneRedis { at, .. }
            | Problem::Cyclic { at, .. }
            | Problem::OtherRegionsRoom { at, .. }
            | Problem::Both { at, .. } => Some(at.line),
        }
    }
}
