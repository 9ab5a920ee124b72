//! The README's tables of settings and endpoints are what the code says. On a difference the test prints the table.

use sectorbus_node::config::{reread, table};
use sectorbus_node::routes::ROUTES;

const README: &str = include_str!("../../README.md");

/// What stands between two markers of the README.
fn between(name: &str) -> &'static str {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let from = README.find(&begin).expect("the marker is there") + begin.len();
    let upto = README[from..].find(&end).expect("the end marker is there");
    &README[from..from + upto]
}

fn assert_table(name: &str, expected: &str) {
    assert!(between(name) == expected, "the README's table of {name} must read:\n\n{expected}");
}

#[test]
fn the_readme_lists_every_setting() {
    let mut rows = String::from("| setting | default | accepted | meaning |\n|---|---|---|---|\n");
    for doc in table() {
        let accepted = doc.accepted.replace('|', "\\|");
        rows += &format!("| `{}` | `{}` | {accepted} | {} |\n", doc.name, doc.default, doc.meaning);
    }
    assert_table("settings", &rows);
}

#[test]
fn the_readme_names_what_sighup_takes_over() {
    let names: Vec<String> = reread().iter().map(|name| format!("`{name}`")).collect();
    let wanted = format!("<!-- reread:begin -->{}<!-- reread:end -->", names.join(", "));
    assert!(README.contains(&wanted), "the README must have:\n\n{wanted}");
}

#[test]
fn the_readme_lists_every_endpoint() {
    let mut rows = String::from("| method | path | listener | purpose |\n|---|---|---|---|\n");
    for route in ROUTES {
        rows += &format!("| {} | `{}` | `{}` | {} |\n", route.method, route.path, route.listener(), route.purpose);
    }
    assert_table("endpoints", &rows);
}
