//! Which .rs files a build reaches: from each crate's roots along its `mod` lines. The rest is dead.

use std::collections::BTreeSet;

use crate::Breach;
use crate::code::{self, Token};
use crate::tree::{File, Tree};

pub(crate) fn dead_files(tree: &Tree) -> Vec<Breach> {
    let mut reached = BTreeSet::new();
    for root in roots(tree) {
        follow(tree, root, true, &mut reached);
    }
    let dead = tree.rust().filter(|file| !reached.contains(&file.name));
    let why = "no `mod` line leads here: it is not compiled";
    dead.map(|file| Breach { file: file.name.clone(), line: 1, why: why.to_owned() }).collect()
}

/// Files that cargo itself starts from: the usual places, and every `path = "….rs"` of a Cargo.toml.
fn roots(tree: &Tree) -> Vec<&File> {
    let mut roots = Vec::new();
    for (folder, manifest) in tree.files.iter().filter_map(|f| Some((f.name.strip_suffix("Cargo.toml")?, f))) {
        let named: Vec<String> = manifest.text.lines().filter_map(|line| target_path(folder, line)).collect();
        roots.extend(tree.rust().filter(|file| {
            let Some(inner) = file.name.strip_prefix(folder) else {
                return false;
            };
            let usual = ["src/lib.rs", "src/main.rs", "build.rs"].contains(&inner);
            usual || is_found_by_cargo(inner) || named.contains(&file.name)
        }));
    }
    roots
}

/// `tests/x.rs`, `tests/x/main.rs`, and so on: targets without a line in Cargo.toml.
fn is_found_by_cargo(inner: &str) -> bool {
    let found = ["src/bin/", "tests/", "examples/", "benches/"].iter().find_map(|start| inner.strip_prefix(start));
    found.is_some_and(|rest| !rest.contains('/') || (rest.ends_with("/main.rs") && rest.matches('/').count() == 1))
}

fn target_path(folder: &str, line: &str) -> Option<String> {
    let (_, after) = line.split_once("path = \"")?;
    let (path, _) = after.split_once('"')?;
    path.ends_with(".rs").then(|| format!("{folder}{path}"))
}

fn follow(tree: &Tree, file: &File, is_root: bool, reached: &mut BTreeSet<String>) {
    if !reached.insert(file.name.clone()) {
        return;
    }
    let (folder, own) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
    // `a/b.rs` keeps its modules in `a/b/`; a root and `mod.rs` keep them beside themselves.
    let beside = is_root || own == "mod.rs";
    let base = if beside { folder.to_owned() } else { file.name.trim_end_matches(".rs").to_owned() };
    for module in modules(&code::tokens(&file.text)) {
        for candidate in [format!("{base}/{module}.rs"), format!("{base}/{module}/mod.rs")] {
            if let Some(child) = tree.get(&candidate) {
                follow(tree, child, false, reached);
            }
        }
    }
    for path in explicit_paths(&file.text) {
        if let Some(child) = tree.get(&normal(&format!("{folder}/{path}"))) {
            follow(tree, child, false, reached);
        }
    }
}

/// Names behind `mod`, with the inline modules they stand in: `a/b` for `mod a { mod b; }`.
fn modules(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let after = |n: usize| tokens.get(at + n).map_or("", |t| t.text.as_str());
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                open.retain(|(_, inside)| *inside <= depth);
            }
            "mod" if after(2) == "{" => open.push((after(1), depth + 1)),
            "mod" if after(2) == ";" => {
                let parts: Vec<&str> = open.iter().map(|(name, _)| *name).chain([after(1)]).collect();
                found.push(parts.join("/"));
            }
            _ => {}
        }
    }
    found
}

/// What `#[path = "…"]` names.
fn explicit_paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.split('"').next())
}

/// Without `x/../`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn a_file_without_a_mod_line_is_a_breach() {
    let tree = crate::tree::tree_of(&[
        ("node/Cargo.toml", "[[test]]\nname = \"x\"\npath = \"faults/main.rs\""),
        ("node/src/lib.rs", "mod a;\nmod inline { mod deep; }\n// mod dead;\n#[path = \"../odd.rs\"]\nmod odd;"),
        ("node/src/a.rs", "mod b;"),
        ("node/src/a/b.rs", ""),
        ("node/src/inline/deep.rs", ""),
        ("node/src/dead.rs", ""),
        ("node/src/b.rs", ""),
        ("node/odd.rs", ""),
        ("node/faults/main.rs", "mod kill;"),
        ("node/faults/kill/mod.rs", ""),
        ("node/tests/auto.rs", ""),
    ]);
    let found: Vec<_> = dead_files(&tree).into_iter().map(|b| b.file).collect();
    assert_eq!(found, ["node/src/dead.rs", "node/src/b.rs"]);
}
