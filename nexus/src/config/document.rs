//! The file as TOML whose values know their lines, and the problems found in it so far. Which settings there are is
//! `settings`' business; what they mean together, `mod`'s and `mirror`'s.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use sectorbus::ids::RegionName;
use sectorbus::wording::{closest_name, cut_short};
use toml_edit::{ImDocument, Item, TableLike, Value};

use super::FORMAT;
use super::error::{Place, Problem};
use super::settings::{SettingDoc, setting, settings_of};

/// A file that is TOML.
pub(super) struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    parsed: ImDocument<&'a str>,
    problems: RefCell<Vec<Problem>>,
    /// What may stand once, with the line where it did.
    seen: RefCell<BTreeMap<(&'static str, String), usize>>,
}

impl<'a> Document<'a> {
    pub(super) fn parse(path: &'a Path, text: &'a str) -> Result<Self, Problem> {
        let parsed = ImDocument::parse(text).map_err(|error| {
            let at = Place { path: path.to_owned(), line: line_of(text, error.span()) };
            // Without the excerpt that it shows else: a line may hold a password.
            Problem::Syntax { at, reason: error.message().lines().collect::<Vec<_>>().join(": ") }
        })?;
        Ok(Self { path, text, parsed, problems: RefCell::default(), seen: RefCell::default() })
    }

    /// What stands above all tables. Tells of what is no setting there.
    pub(super) fn root(&self) -> Part<'_> {
        Part::of(self, "", 1, self.parsed.as_table())
    }

    pub(super) fn place(&self, line: usize) -> Place {
        Place { path: self.path.to_owned(), line }
    }

    pub(super) fn found(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(Problem::line);
        problems
    }
}

/// A table of the file, and which part it is: empty, `hub`, `region` or `mirror`.
pub(super) struct Part<'a> {
    document: &'a Document<'a>,
    name: &'static str,
    line: usize,
    table: &'a dyn TableLike,
}

impl<'a> Part<'a> {
    fn of(document: &'a Document<'a>, name: &'static str, line: usize, table: &'a dyn TableLike) -> Self {
        let part = Self { document, name, line, table };
        part.tell_unknown();
        part
    }

    pub(super) fn kind(&self) -> &'static str {
        self.name
    }

    /// Of its header.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    fn tell_unknown(&self) {
        let known: Vec<&'static str> = settings_of(self.name).map(|setting| setting.name).collect();
        for (given, item) in self.table.iter().filter(|(given, _)| !known.contains(given)) {
            let closest = closest_name(given, known.iter().copied());
            let (at, part, accepted) = (self.place_of(given, item), self.written(), known.join(", "));
            self.document.found(Problem::Unknown { at, given: given.to_owned(), part, closest, accepted });
        }
    }

    /// As the file has it.
    fn written(&self) -> String {
        match self.name {
            "" => String::new(),
            "hub" => "[hub]".to_owned(),
            several => format!("[[{several}]]"),
        }
    }

    fn place_of(&self, name: &str, item: &Item) -> Place {
        let key = self.table.get_key_value(name).and_then(|(key, _)| key.span());
        let line = key.or_else(|| item.span()).map_or(self.line, |span| line_of(self.document.text, Some(span)));
        self.document.place(line)
    }

    fn given(&self, name: &str) -> Option<(Place, &'a Item)> {
        let item = self.table.get(name)?;
        Some((self.place_of(name, item), item))
    }

    /// Where a setting stands, or the table that lacks it.
    pub(super) fn place(&self, name: &str) -> Place {
        self.given(name).map_or_else(|| self.document.place(self.line), |(place, _)| place)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    pub(super) fn found(&self, problem: Problem) {
        self.document.found(problem);
    }

    fn setting(&self, name: &str) -> &'static SettingDoc {
        setting(self.name, name)
    }

    fn refuse(&self, at: Place, name: &str, item: &Item) {
        let setting = self.setting(name);
        let found = (!setting.is_secret).then(|| shown(item));
        self.found(Problem::Refused { at, setting: name.to_owned(), found, accepted: setting.accepted.to_owned() });
    }

    /// Refuses what a setting is, for another reason than its form.
    pub(super) fn refuse_for(&self, name: &str, found: Option<String>, accepted: &str) {
        let (at, setting) = (self.place(name), name.to_owned());
        self.found(Problem::Refused { at, setting, found, accepted: accepted.to_owned() });
    }

    pub(super) fn missing(&self, name: &str, accepted: &str) {
        let at = self.document.place(self.line);
        let (setting, part) = (name.to_owned(), self.written());
        self.found(Problem::Missing { at, setting, part, accepted: accepted.to_owned() });
    }

    /// `None`: it is not there or something is wrong, which is told.
    pub(super) fn optional<T>(&self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, item) = self.given(name)?;
        let value = item.as_str().and_then(read);
        if value.is_none() {
            self.refuse(at, name, item);
        }
        value
    }

    /// `None`: something is wrong, which is told.
    pub(super) fn required<T>(&self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        if !self.has(name) {
            self.missing(name, self.setting(name).accepted);
        }
        self.optional(name, read)
    }

    /// What is in the file that a setting names. `None`: it is not there or something is wrong, which is told.
    pub(super) fn file(&self, name: &'static str) -> Option<Vec<u8>> {
        let path = self.optional(name, |text| Some(text.to_owned()))?;
        let refuse = |error: std::io::Error| {
            self.refuse_for(name, Some(format!("{path:?} ({error})")), self.setting(name).accepted);
        };
        std::fs::read(&path).map_err(refuse).ok()
    }

    /// A list of texts with at least one. Each text that `read` refuses is told with its own line.
    pub(super) fn list<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str, Place) -> Result<T, Problem>,
    ) -> Option<Result<Vec<T>, ()>> {
        let (at, item) = self.given(name)?;
        let Some(values) = item.as_array().filter(|values| !values.is_empty()) else {
            self.refuse(at, name, item);
            return Some(Err(()));
        };
        let mut all = Ok(Vec::new());
        for value in values {
            let at = self.document.place(line_of(self.document.text, value.span()));
            let accepted = self.setting(name).accepted;
            let refused = |found| Problem::Refused {
                at: at.clone(),
                setting: name.to_owned(),
                found: Some(found),
                accepted: accepted.to_owned(),
            };
            let one = value.as_str().ok_or_else(|| refused(shown_value(value))).and_then(|text| read(text, at.clone()));
            match (one, &mut all) {
                (Ok(one), Ok(before)) => before.push(one),
                (Ok(_), Err(())) => {}
                (Err(problem), _) => {
                    self.found(problem);
                    all = Err(());
                }
            }
        }
        Some(all)
    }

    /// The number of the file's format, which must be this one.
    pub(super) fn format(&self) {
        match self.given("format") {
            None => self.missing("format", self.setting("format").accepted),
            Some((_, item)) if item.as_integer() == Some(FORMAT) => {}
            Some((at, item)) => self.refuse(at, "format", item),
        }
    }

    /// `None`: it is missing or something else, which is told.
    pub(super) fn table(&self, name: &'static str) -> Option<Part<'a>> {
        let Some((at, item)) = self.given(name) else {
            self.missing(name, self.setting(name).accepted);
            return None;
        };
        let Some(table) = item.as_table_like() else {
            self.refuse(at, name, item);
            return None;
        };
        Some(Part::of(self.document, name, at.line, table))
    }

    /// All tables of this name; none if it is something else, which is told.
    pub(super) fn tables(&self, name: &'static str) -> Vec<Part<'a>> {
        let Some((at, item)) = self.given(name) else { return Vec::new() };
        let Some(tables) = item.as_array_of_tables() else {
            self.refuse(at, name, item);
            return Vec::new();
        };
        let line = |span| line_of(self.document.text, span);
        tables.iter().map(|table| Part::of(self.document, name, line(table.span()), table)).collect()
    }

    /// The region that this part names, if it does; whatever else is wrong with it.
    pub(super) fn region_name(&self) -> Option<RegionName> {
        self.table.get("name")?.as_str()?.parse().ok()
    }

    /// Tells if another part of this kind has the same.
    pub(super) fn refuse_twice(&self, setting: &'static str, value: &str) {
        let at = self.place(setting);
        let mut seen = self.document.seen.borrow_mut();
        match seen.get(&(setting, value.to_owned())) {
            None => drop(seen.insert((setting, value.to_owned()), at.line)),
            Some(first) => {
                let (what, first) = (format!("{setting} = {value:?}"), *first);
                self.found(Problem::Twice { at, what, first });
            }
        }
    }
}

/// From 1, of where a span begins; 1 if there is none.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// As the file has it, cut short.
fn shown(item: &Item) -> String {
    match item {
        Item::Value(value) => shown_value(value),
        Item::ArrayOfTables(_) => "tables".to_owned(),
        _ => "a table".to_owned(),
    }
}

fn shown_value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{:?}", text.value()),
        Value::Integer(number) => number.value().to_string(),
        Value::Float(number) => number.value().to_string(),
        Value::Boolean(flag) => flag.value().to_string(),
        Value::Datetime(time) => time.value().to_string(),
        Value::Array(values) if values.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::InlineTable(_) => "a table".to_owned(),
    };
    cut_short(text)
}
