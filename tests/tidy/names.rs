//! Words that say nothing must not name a type.

use crate::Breach;
use crate::code;
use crate::tree::Tree;

const EMPTY_WORDS: [&str; 6] = ["Manager", "Handler", "Service", "Processor", "Util", "Helper"];
const DECLARES: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

pub(crate) fn breaches(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        for pair in code::tokens(&file.text).windows(2) {
            let name = &pair[1].text;
            let empty = words(name).into_iter().find(|word| EMPTY_WORDS.contains(&word.trim_end_matches('s')));
            if let Some(word) = empty.filter(|_| DECLARES.contains(&pair[0].text.as_str())) {
                let why = format!("`{name}`: \"{word}\" says nothing; name what it owns");
                breaches.push(Breach { file: file.name.clone(), line: pair[1].line, why });
            }
        }
    }
    breaches
}

/// The words of a CamelCase name.
fn words(name: &str) -> Vec<&str> {
    let starts: Vec<usize> = name.match_indices(char::is_uppercase).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([name.len()]);
    starts.iter().zip(ends).map(|(start, end)| &name[*start..end]).collect()
}

#[test]
fn an_empty_word_in_a_type_name_is_a_breach() {
    let tree = crate::tree::tree_of(&[(
        "node/src/room.rs",
        "struct RoomManager;\nenum Utils {}\nstruct Utility;\n// struct Helper;\nuse a::ConnectionManager;",
    )]);
    let found: Vec<_> = breaches(&tree).into_iter().map(|b| b.line).collect();
    assert_eq!(found, [1, 2]);
}
