//! How a file begins and how long it may be.

use crate::Breach;
use crate::tree::{File, Tree};

const HEADER_LINES_MAX: usize = 6;
const LINES_MAX: usize = 500;
/// Files that may be longer, each with the reason why it is still one idea.
const LONGER: [(&str, &str); 0] = [];
const COUNTED: [&str; 8] = ["rs", "js", "ts", "css", "html", "py", "lua", "sh"];

/// A file of a crate's own code opens with one to six `//!` lines; one of tests/ with at least one.
pub(crate) fn headers(tree: &Tree) -> Vec<Breach> {
    tree.rust().filter_map(|file| wrong_header(file).map(|why| breach(file, why))).collect()
}

fn wrong_header(file: &File) -> Option<String> {
    let lines = file.text.lines().take_while(|line| line.starts_with("//!")).count();
    let most = if file.house() == "tests" { usize::MAX } else { HEADER_LINES_MAX };
    match lines {
        0 => Some("no `//!` header: say what this file owns and what it must not know".to_owned()),
        n if n > most => Some(format!("the header has {n} lines, at most {most}: the rest belongs to the items")),
        _ => None,
    }
}

pub(crate) fn lengths(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        let counted = file.name.rsplit_once('.').is_some_and(|(_, end)| COUNTED.contains(&end));
        let lines = file.text.lines().count();
        let excused = LONGER.iter().any(|(name, _)| *name == file.name);
        if counted && lines > LINES_MAX && !excused {
            breaches.push(breach(file, format!("{lines} lines, at most {LINES_MAX}: probably two ideas")));
        }
        if excused && lines <= LINES_MAX {
            breaches.push(breach(file, "is short again: take it off the list in tests/tidy/shape.rs".to_owned()));
        }
    }
    breaches
}

fn breach(file: &File, why: String) -> Breach {
    Breach { file: file.name.clone(), line: 1, why }
}

#[test]
fn a_missing_or_endless_header_and_a_long_file_are_breaches() {
    let tree = crate::tree::tree_of(&[
        ("node/src/a.rs", "use x;\n//! late"),
        ("node/src/b.rs", &"//! x\n".repeat(7)),
        ("node/src/c.rs", "//! x"),
        ("tests/d.rs", &"//! x\n".repeat(501)),
    ]);
    let found: Vec<_> = headers(&tree).into_iter().chain(lengths(&tree)).map(|b| b.file).collect();
    assert_eq!(found, ["node/src/a.rs", "node/src/b.rs", "tests/d.rs"]);
}
