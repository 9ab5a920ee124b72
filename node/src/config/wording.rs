//! Helps that turn a mistake into a message: what was given, and on which line.

use figment::value::Value;
use sectorbus::wording::cut_short;

/// A value as the file would say it, cut short.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
            (Some(whole), ..) => whole.to_string(),
            (_, Some(whole), _) => whole.to_string(),
            (.., Some(real)) => real.to_string(),
            _ => "a number".to_owned(),
        },
        Value::Array(..) => "a list".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        _ => "something else".to_owned(),
    };
    cut_short(text)
}

/// The line, from 1, on which a top-level key or table stands.
pub(super) fn line_of(text: &str, name: &str) -> Option<usize> {
    let names_it = |line: &str| {
        let line = line.trim_start().trim_start_matches('[').trim_start_matches(['"', '\'']);
        let rest = line.strip_prefix(name)?.trim_start_matches(['"', '\'']).trim_start();
        rest.starts_with(['=', '.', ']']).then_some(())
    };
    text.lines().position(|line| names_it(line).is_some()).map(|at| at + 1)
}

/// A TOML error without the excerpt of the file, which may show a secret.
pub(super) fn without_excerpt(error: &figment::Error) -> String {
    let text = error.to_string();
    let is_excerpt =
        |line: &str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    let kept: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_excerpt(line)).collect();
    kept.join(": ")
}
