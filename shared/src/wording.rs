//! How a person who wrote a setting is answered, in nodes and nexus: which name was probably meant, and what was given, not
//! longer than can be read. Knows no setting.

/// Characters of a value that is repeated to whoever gave it.
const SHOWN_MAX: usize = 80;

/// The one of `known` that a misspelt name probably means; a forgotten unit is no edit.
pub fn closest_name<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &'a str| {
        let lacks_end = name.strip_prefix(given).is_some_and(|end| end.starts_with('_'));
        let edits = if lacks_end { 0 } else { edits_between(given, name) };
        (edits <= 1 + given.len() / 4).then_some((edits, name))
    };
    known.into_iter().filter_map(near).min().map(|(_, name)| name)
}

/// The beginning of a long text, and that it is one.
pub fn cut_short(text: String) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Levenshtein's distance, over bytes.
fn edits_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_recognised() {
        let known = ["redis_url", "redis_url_file", "address", "name", "beat_ms"];
        for (given, meant) in [
            ("redis_ulr", Some("redis_url")),
            ("adress", Some("address")),
            ("beat", Some("beat_ms")),
            ("naem", Some("name")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest_name(given, known), meant, "{given}");
        }
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(cut_short("ä".repeat(80)), "ä".repeat(80));
        assert_eq!(cut_short("ä".repeat(81)), "ä".repeat(80) + "…");
    }
}
