//! The paths that a file's code names, imports flattened and resolved against the file's own imports and modules.
//! Must not know what any rule makes of them.

use std::collections::HashMap;

use crate::code::Token;

/// A path such as `sectorbus::log::memory::MemoryLog`; the first part is a crate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsedPath {
    pub(crate) line: usize,
    pub(crate) parts: Vec<String>,
}

impl UsedPath {
    pub(crate) fn starts_with(&self, parts: &[&str]) -> bool {
        self.parts.len() >= parts.len() && self.parts.iter().zip(parts).all(|(mine, wanted)| mine == wanted)
    }
}

/// Paths named in `tokens`, which are the code of module `module` (its crate first).
pub(crate) fn used_in(tokens: &[Token], module: &[String]) -> Vec<UsedPath> {
    let mut reader = Reader { tokens, at: 0, depth: 0, inner: Vec::new(), file: module, found: Vec::new() };
    reader.read_all();
    let found = reader.found;
    let local = local_names(&found, tokens, module);
    found.into_iter().map(|f| UsedPath { line: f.line, parts: f.resolved(&local) }).collect()
}

/// What a bare first part means in this file: imported names and child modules.
fn local_names(found: &[Found], tokens: &[Token], module: &[String]) -> HashMap<String, Vec<String>> {
    let mut local = HashMap::new();
    for pair in tokens.windows(2) {
        if pair[0].text == "mod" {
            let child = module.iter().chain(std::iter::once(&pair[1].text)).cloned().collect();
            local.insert(pair[1].text.clone(), child);
        }
    }
    for import in found.iter().filter(|f| f.imported_as.is_some() && f.parts.len() > 1) {
        local.insert(import.imported_as.clone().unwrap_or_default(), import.absolute());
    }
    local
}

struct Found {
    line: usize,
    parts: Vec<String>,
    imported_as: Option<String>,
    /// The module it stands in, inline modules included.
    module: Vec<String>,
}

impl Found {
    /// `crate`, `self` and `super` replaced; `a::self` is `a`.
    fn absolute(&self) -> Vec<String> {
        let mut parts = self.absolute_with_self();
        if parts.len() > 1 && parts.last().is_some_and(|part| part == "self") {
            parts.pop();
        }
        parts
    }
    fn absolute_with_self(&self) -> Vec<String> {
        let mut base = match self.parts[0].as_str() {
            "crate" => self.module[..1].to_vec(),
            "self" | "super" => self.module.clone(),
            _ => return self.parts.clone(),
        };
        let mut rest = &self.parts[1..];
        if self.parts[0] == "super" {
            base.pop();
        }
        while rest.first().is_some_and(|part| part == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        base
    }
    fn resolved(&self, local: &HashMap<String, Vec<String>>) -> Vec<String> {
        match local.get(&self.parts[0]) {
            Some(full) if self.imported_as.is_none() => full.iter().chain(&self.parts[1..]).cloned().collect(),
            _ => self.absolute(),
        }
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    /// Inline modules open here, each with the depth of its braces.
    inner: Vec<(String, usize)>,
    file: &'a [String],
    found: Vec<Found>,
}

impl Reader<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |t| &t.text)
    }

    fn read_all(&mut self) {
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "{" => {
                    self.depth += 1;
                    self.at += 1;
                }
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inner.retain(|(_, depth)| *depth <= self.depth);
                    self.at += 1;
                }
                "mod" if self.text(self.at + 2) == "{" => {
                    self.inner.push((self.text(self.at + 1).to_owned(), self.depth + 1));
                    self.at += 2;
                }
                "use" if self.text(self.at + 1) != "<" => {
                    self.at += 1;
                    self.read_tree(&[], true);
                }
                _ if self.starts_path() => self.read_tree(&[], false),
                _ => self.at += 1,
            }
        }
    }

    fn starts_path(&self) -> bool {
        self.tokens[self.at].is_word() && self.text(self.at + 1) == "::"
    }

    /// Reads one path, or the braces of an import, behind `prefix`; stops after it.
    fn read_tree(&mut self, prefix: &[String], import: bool) {
        let mut parts = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |t| t.line);
        if self.text(self.at) == "::" {
            self.at += 1;
        }
        loop {
            if import && self.text(self.at) == "{" {
                return self.read_group(&parts);
            }
            let Some(token) = self.tokens.get(self.at).filter(|t| t.is_word() || t.text == "*") else {
                break;
            };
            parts.push(token.text.clone());
            self.at += 1;
            if self.text(self.at) != "::" {
                break;
            }
            self.at += 1;
        }
        let imported_as = import.then(|| self.read_alias(&parts));
        if !parts.is_empty() {
            let inner = self.inner.iter().map(|(name, _)| name.clone());
            let module = self.file.iter().cloned().chain(inner).collect();
            self.found.push(Found { line, parts, imported_as, module });
        }
    }

    fn read_group(&mut self, prefix: &[String]) {
        self.at += 1;
        while !["}", ""].contains(&self.text(self.at)) {
            if self.text(self.at) == "," {
                self.at += 1;
            } else {
                let before = self.at;
                self.read_tree(prefix, true);
                self.at = self.at.max(before + 1);
            }
        }
        self.at += 1;
    }

    /// The name an import gets: what follows `as`, else its last part (`a::self` is `a`).
    fn read_alias(&mut self, parts: &[String]) -> String {
        if self.text(self.at) == "as" {
            let alias = self.text(self.at + 1).to_owned();
            self.at += 2;
            return alias;
        }
        parts.iter().rev().find(|part| *part != "self").cloned().unwrap_or_default()
    }
}

#[cfg(test)]
fn paths_of(text: &str) -> Vec<String> {
    let module = ["sectorbus", "log", "memory"].map(str::to_owned);
    let used = used_in(&crate::code::tokens(text), &module);
    used.iter().map(|path| path.parts.join("::")).collect()
}

#[test]
fn imports_are_flattened_and_resolved() {
    let text = "use crate::{ids::{self, RoomId as R}, state}; use super::Log; use std::env as e; pub mod redis;";
    let expected = ["sectorbus::ids", "sectorbus::ids::RoomId", "sectorbus::state", "sectorbus::log::Log", "std::env"];
    assert_eq!(paths_of(text), expected);
    assert_eq!(
        paths_of(&format!("{text} e::var(); R::x(); ids::a(); redis::b();"))[5..],
        ["std::env::var", "sectorbus::ids::RoomId::x", "sectorbus::ids::a", "sectorbus::log::memory::redis::b"]
    );
}

#[test]
fn inline_modules_count_when_super_is_resolved() {
    assert_eq!(
        paths_of("mod tests { use super::*; } use super::x;"),
        ["sectorbus::log::memory::*", "sectorbus::log::x"]
    );
}
