//! The repository's files, read once per test. Knows which folders are not the repository's own; knows no rule.

use std::fs;
use std::path::Path;

use crate::code;
use crate::paths::{self, UsedPath};

/// One text file.
pub(crate) struct File {
    /// From the repository's root, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }
    /// The folder of the crate it belongs to: `shared`, `node`, …
    pub(crate) fn house(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
    /// Every path that its code names, resolved as far as the file itself tells.
    pub(crate) fn used_paths(&self) -> Vec<UsedPath> {
        paths::used_in(&code::tokens(&self.text), &self.module())
    }
    /// Its module path: the crate's name, then the modules (`sectorbus`, `log`, `memory`).
    fn module(&self) -> Vec<String> {
        let crate_name = match self.house() {
            "shared" => "sectorbus".to_owned(),
            house => format!("sectorbus_{house}"),
        };
        let inner = self.name.split_once("/src/").map_or("", |(_, inner)| inner);
        let inner = inner.trim_end_matches(".rs").trim_end_matches("/mod");
        let modules = inner.split('/').filter(|part| !part.is_empty() && *part != "lib" && *part != "main");
        std::iter::once(crate_name).chain(modules.map(str::to_owned)).collect()
    }
}

pub(crate) struct Tree {
    /// Ordered by name.
    pub(crate) files: Vec<File>,
}

impl Tree {
    pub(crate) fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
        let mut files = Vec::new();
        read_folder(root, "", &mut files);
        files.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(files.iter().any(|f| f.name == "Cargo.toml"), "the workspace's root is not where it should be");
        Tree { files }
    }
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.is_rust())
    }
    pub(crate) fn get(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|f| f.name == name)
    }
}

fn read_folder(folder: &Path, prefix: &str, into: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let entry = entry.expect("a folder of the repository can be listed");
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = entry.path();
        if is_foreign(&path, &name) {
            continue;
        }
        if path.is_dir() {
            read_folder(&path, &format!("{prefix}{name}/"), into);
        } else if let Ok(text) = fs::read_to_string(&path) {
            into.push(File { name: format!("{prefix}{name}"), text });
        }
    }
}

/// Built or fetched, not written here. Cargo marks its target folders with a tag file, whatever they are called.
fn is_foreign(path: &Path, name: &str) -> bool {
    let hidden = name.starts_with('.') && ![".ci", ".gitignore"].contains(&name);
    hidden || ["build", "dist", "node_modules", "__pycache__"].contains(&name) || path.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
pub(crate) fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
pub(crate) fn tree_of(files: &[(&str, &str)]) -> Tree {
    Tree { files: files.iter().map(|(name, text)| file(name, text)).collect() }
}
