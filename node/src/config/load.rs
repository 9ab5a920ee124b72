//! Reads a configuration: file and environment merged, every value put where the table says, every problem reported.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use sectorbus::ids::BadId;
use sectorbus::wording::closest_name;

use super::error::{ConfigError, Place, Problem};
use super::settings::{Given, SETTINGS, Setting};
use super::wording::{line_of, shown, without_excerpt};
use super::{ENV_PREFIX, JwtConfig, NodeConfig, Secret, reread};

/// The process's variables that are settings, or look like it. The only place that reads the environment.
pub fn process_env() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect()
}

impl NodeConfig {
    /// Reads `file` (TOML; `None`: environment only) and `env` (name, value), which wins. All problems are reported,
    /// not only the first. Names in `env` without [`ENV_PREFIX`] are not looked at.
    pub fn load(file: Option<&Path>, env: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let sources = Sources::read(file, env).map_err(|problem| ConfigError { problems: vec![problem] })?;
        let mut problems = sources.unknown();
        let config = sources.config(&mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems }),
        }
    }
}

/// Variables as a figment provider: all texts, so that a name or a secret of digits stays what it is.
struct EnvTexts(Vec<(String, String)>);

const ENV_SOURCE: &str = "environment";

impl Provider for EnvTexts {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENV_SOURCE)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let named = |(name, text): &(String, String)| {
            let key = name.strip_prefix(ENV_PREFIX)?;
            Some((setting_key(key), Value::String(Tag::Default, text.clone())))
        };
        Ok(Profile::Default.collect(self.0.iter().filter_map(named).collect()))
    }
}

/// `BEAT_MS` is `beat_ms`. Anything not wholly upper case stays as it is, and so is unknown.
fn setting_key(key: &str) -> String {
    let is_upper = !key.bytes().any(|b| b.is_ascii_lowercase());
    if is_upper { key.to_ascii_lowercase() } else { format!("{ENV_PREFIX}{key}") }
}

/// What was given, merged, and where.
pub(super) struct Sources<'a> {
    figment: Figment,
    values: Dict,
    file: Option<(&'a Path, String)>,
}

impl<'a> Sources<'a> {
    fn read(path: Option<&'a Path>, env: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut figment = Figment::new();
        let mut file = None;
        if let Some(path) = path {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Problem::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
            figment = figment.merge(Toml::string(&text));
            let parsed = figment.data();
            parsed.map_err(|error| Problem::Syntax { path: path.to_owned(), reason: without_excerpt(&error) })?;
            file = Some((path, text));
        }
        let figment = figment.merge(EnvTexts(env));
        let values = figment.data().ok().and_then(|mut data| data.remove(&Profile::Default)).unwrap_or_default();
        Ok(Self { figment, values, file })
    }

    pub(super) fn given(&self, name: &str) -> Option<Given<'_>> {
        let value = self.values.get(name)?;
        Some(Given { value, from_env: self.is_from_env(value) })
    }

    fn is_from_env(&self, value: &Value) -> bool {
        self.figment.get_metadata(value.tag()).is_some_and(|source| source.name == ENV_SOURCE)
    }

    fn place(&self, name: &str) -> Place {
        match (&self.file, self.values.get(name)) {
            (Some((path, text)), Some(value)) if !self.is_from_env(value) => {
                Place::File { path: path.to_path_buf(), line: line_of(text, name) }
            }
            _ => Place::Env(env_name(name)),
        }
    }

    fn unknown(&self) -> Vec<Problem> {
        let is_known = |name: &str| SETTINGS.iter().any(|setting| setting.name == name);
        let unknown = self.values.keys().filter(|name| !is_known(name));
        unknown
            .map(|name| {
                let place = self.place(name);
                let bare = name.strip_prefix(ENV_PREFIX).unwrap_or(name).to_ascii_lowercase();
                let closest =
                    closest_name(&bare, SETTINGS.iter().map(|setting| setting.name)).map(|known| match place {
                        Place::Env(_) => env_name(known),
                        Place::File { .. } => known.to_owned(),
                    });
                let given = if matches!(place, Place::Env(_)) { env_name(name) } else { name.clone() };
                Problem::Unknown { place, given, closest }
            })
            .collect()
    }

    /// `None` only if something was pushed to `problems`.
    fn config(&self, problems: &mut Vec<Problem>) -> Option<NodeConfig> {
        let region = self.identity("region", problems);
        let node_name = self.identity("node_name", problems);
        let jwt = self.jwt(problems);
        if self.given("resume_secret").is_none() && self.given("resume_secret_file").is_none() {
            problems.push(missing("resume_secret", &["resume_secret_file"]));
        }
        let resume_secret = self.secret("resume_secret", "resume_secret_file", problems);
        // A stand-in lets the rest be checked too, so that one start shows all problems.
        let stand_in = || Secret::new([0; sectorbus::limits::SECRET_BYTES_MIN]).ok();
        let mut config = NodeConfig::new(
            region.or_else(|| "x".parse().ok())?,
            node_name.or_else(|| "x".parse().ok())?,
            jwt.or_else(|| stand_in().map(JwtConfig::from))?,
            resume_secret.or_else(stand_in)?,
        );
        for setting in SETTINGS {
            if let Some(given) = self.given(setting.name)
                && setting.kind.set(&mut config, &given).is_none()
            {
                problems.push(self.refused(setting));
            }
        }
        config.tls = self.tls(problems);
        config.redis_ca = self.redis_ca(problems);
        match (self.given("redis_url").is_some(), self.given("redis_url_file").is_some()) {
            (false, false) => problems.push(missing("redis_url", &["redis_url_file"])),
            (true, true) => problems.push(self.both("redis_url", "redis_url_file")),
            _ => {}
        }
        if problems.is_empty() {
            problems.extend(config.contradictions());
            config.given = reread::Given::of(|name| self.values.get(name).cloned());
        }
        Some(config)
    }

    fn identity<T: std::str::FromStr<Err = BadId>>(
        &self,
        name: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let Some(given) = self.given(name) else {
            problems.push(missing(name, &[]));
            return None;
        };
        let read = given.text().and_then(|text| text.parse().ok());
        if read.is_none() {
            problems.push(self.refused(setting(name)));
        }
        read
    }

    /// `None`: neither is given, or something was pushed to `problems`.
    pub(super) fn secret(
        &self,
        inline: &'static str,
        file: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Secret> {
        let read = match (self.given(inline), self.given(file)) {
            (None, None) => return None,
            (Some(_), Some(_)) => Err(self.both(inline, file)),
            (Some(given), None) => {
                let secret = given.text().and_then(|text| Secret::new(text).ok());
                secret.ok_or_else(|| self.refused(setting(inline)))
            }
            (None, Some(given)) => self.secret_file(file, &given),
        };
        read.map_err(|problem| problems.push(problem)).ok()
    }

    fn secret_file(&self, name: &'static str, given: &Given<'_>) -> Result<Secret, Problem> {
        let (path, key) = self.file(name, given)?;
        let end = key.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
        Secret::new(&key[..end]).map_err(|error| self.refused_file(name, path, &error.to_string()))
    }

    /// The path that a setting gives, and what is in the file.
    pub(super) fn file<'g>(&self, name: &'static str, given: &'g Given<'_>) -> Result<(&'g str, Vec<u8>), Problem> {
        let path = given.text().ok_or_else(|| self.refused(setting(name)))?;
        let text = std::fs::read(path).map_err(|error| self.refused_file(name, path, &error.to_string()))?;
        Ok((path, text))
    }

    pub(super) fn refused_file(&self, name: &'static str, path: &str, why: &str) -> Problem {
        Problem::Refused {
            place: self.place(name),
            setting: name,
            found: Some(format!("{path:?} ({why})")),
            accepted: setting(name).kind.accepted(),
        }
    }

    fn refused(&self, setting: &'static Setting) -> Problem {
        let found = self.values.get(setting.name).filter(|_| !setting.kind.is_secret()).map(shown);
        Problem::Refused {
            place: self.place(setting.name),
            setting: setting.name,
            found,
            accepted: setting.kind.accepted(),
        }
    }

    fn both(&self, inline: &str, file: &str) -> Problem {
        Problem::Both { first: self.named_place(inline), second: self.named_place(file) }
    }

    /// The place with the setting's name, which a file's place lacks.
    fn named_place(&self, name: &str) -> String {
        match self.place(name) {
            Place::Env(variable) => variable,
            place => format!("{name} ({place})"),
        }
    }
}

fn setting(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.name == name).expect("a name from the table")
}

/// `others` would do as well.
pub(super) fn missing(name: &'static str, others: &[&str]) -> Problem {
    let or_others = match others {
        [] => String::new(),
        [other] => format!(" (or {other})"),
        [first @ .., last] => format!(" (or {} or {last})", first.join(", ")),
    };
    let setting = setting(name);
    Problem::Missing { setting: name, or_others, env: setting.env(), accepted: setting.kind.accepted() }
}

fn env_name(name: &str) -> String {
    if name.starts_with(ENV_PREFIX) { name.to_owned() } else { format!("{ENV_PREFIX}{}", name.to_ascii_uppercase()) }
}
