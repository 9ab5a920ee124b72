//! Which metrics and labels a PromQL expression names. Not a parser: Prometheus itself says whether it is one.

use std::collections::BTreeSet;

const AGGREGATIONS: [&str; 5] = ["sum", "min", "max", "count", "avg"];
const OPERATORS: [&str; 5] = ["or", "and", "unless", "bool", "offset"];
/// What names labels in parentheses.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Each metric with a label that its selector names; the empty label for the metric alone.
    pub(crate) selected: BTreeSet<(String, String)>,
    /// Labels that are grouped by or matched on.
    pub(crate) grouped: BTreeSet<String>,
}

impl Named {
    pub(crate) fn metrics(&self) -> BTreeSet<&str> {
        self.selected.iter().map(|(metric, _)| metric.as_str()).collect()
    }
}

pub(crate) fn named(expression: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            rest = after(rest, ']');
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_name(first) {
            let (word, tail) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
            rest = take_word(&mut named, word, tail.trim_start());
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    named
}

/// What is left after a word and, if it is a metric or a grouping, its labels.
fn take_word<'a>(named: &mut Named, word: &str, tail: &'a str) -> &'a str {
    if GROUPINGS.contains(&word) {
        let inside = tail.trim_start_matches('(').split(')').next().unwrap_or_default();
        named.grouped.extend(inside.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()));
        return after(tail, ')');
    }
    let is_function = tail.starts_with('(') || AGGREGATIONS.contains(&word) || OPERATORS.contains(&word);
    if is_function {
        return tail;
    }
    named.selected.insert((word.to_owned(), String::new()));
    let Some(selector) = tail.strip_prefix('{') else { return tail };
    let labels = selector.split('}').next().unwrap_or_default().split(',');
    let labels = labels.filter_map(|matcher| Some(matcher.split(['=', '!']).next()?.trim().to_owned()));
    named.selected.extend(labels.filter(|label| !label.is_empty()).map(|label| (word.to_owned(), label)));
    after(selector, '}')
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

#[test]
fn metrics_and_labels_of_an_expression_are_found() {
    let found = named("sum by (le, a) (rate(x_total{b=\"1\", c!~\"or d\"}[5m])) > 0.1 or 2 * max(l:y:sum) offset 1h");
    let selected = [("l:y:sum", ""), ("x_total", ""), ("x_total", "b"), ("x_total", "c")];
    assert_eq!(found.selected, selected.map(|(metric, label)| (metric.to_owned(), label.to_owned())).into());
    assert_eq!(found.grouped, ["le", "a"].map(str::to_owned).into());
    assert_eq!(found.metrics().len(), 2);
}
