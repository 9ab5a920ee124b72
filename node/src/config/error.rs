//! What can be wrong with a configuration, worded for the person who has to fix it. All problems are reported at once.
//! No message holds a secret's value.

use std::fmt;
use std::path::PathBuf;

use super::settings;

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `line` counts from 1; `None` when the line could not be found.
    File { path: PathBuf, line: Option<usize> },
    /// The variable's name.
    Env(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Place::File { path, line: None } => write!(f, "{}", path.display()),
            Place::Env(variable) => f.write_str(variable),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: not TOML: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    /// `given` as written; `closest` in the same spelling.
    #[error("{place}: unknown setting {given}{}", did_you_mean(closest.as_deref()))]
    Unknown { place: Place, given: String, closest: Option<String> },
    /// `found` is `None` for what must not be repeated.
    #[error("{place}: {setting}{} is refused: accepted is {accepted}", shown(found.as_deref()))]
    Refused { place: Place, setting: &'static str, found: Option<String>, accepted: String },
    #[error(
        "{setting} is missing: set {setting}{or_others} in the file or {env} in the environment; accepted is {accepted}"
    )]
    Missing { setting: &'static str, or_others: String, env: String, accepted: String },
    #[error("{} = {} and {} = {} contradict each other: {why}", first.0, first.1, second.0, second.1)]
    Contradiction { first: (&'static str, String), second: (&'static str, String), why: &'static str },
    /// Each with the place it was given at.
    #[error("{first} and {second} contradict each other: give one of them")]
    Both { first: String, second: String },
}

fn did_you_mean(closest: Option<&str>) -> String {
    closest.map(|name| format!(": did you mean {name}?")).unwrap_or_default()
}

fn shown(found: Option<&str>) -> String {
    found.map(|found| format!(" = {found}")).unwrap_or_default()
}

/// A configuration that a node does not start with. Shown with one problem per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        if self.problems.iter().any(|problem| matches!(problem, Problem::Unknown { .. })) {
            let names: Vec<&str> = settings::SETTINGS.iter().map(|setting| setting.name).collect();
            write!(f, "\naccepted settings: {}", names.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
