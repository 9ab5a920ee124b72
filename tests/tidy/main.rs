//! The repository's own rules, as tests: what each file must say, where each outside thing may be touched, which
//! parts may know of each other. Reads files; must not need any crate of the workspace.
//! Each test prints every breach as `file:line: what and why`.

mod code;
mod paths;
mod tree;

mod columns;
mod doors;
mod names;
mod places;
mod reach;
mod shape;

use tree::Tree;

/// A breach of a rule: where, and what and why.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    /// From 1.
    line: usize,
    why: String,
}

fn expect_none(breaches: Vec<Breach>) {
    let list: Vec<String> = breaches.iter().map(|b| format!("{}:{}: {}", b.file, b.line, b.why)).collect();
    assert!(list.is_empty(), "{} breaches:\n{}\n", list.len(), list.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    expect_none(shape::headers(&Tree::read()));
}

#[test]
fn files_stay_short() {
    expect_none(shape::lengths(&Tree::read()));
}

#[test]
fn no_file_is_dead() {
    expect_none(reach::dead_files(&Tree::read()));
}

#[test]
fn each_outside_thing_has_one_door() {
    expect_none(doors::breaches(&Tree::read()));
}

#[test]
fn columns_do_not_know_each_other() {
    expect_none(columns::breaches(&Tree::read()));
}

#[test]
fn type_names_say_what_the_type_is() {
    expect_none(names::breaches(&Tree::read()));
}

#[test]
fn nothing_names_this_machine_or_a_registry() {
    expect_none(places::breaches(&Tree::read()));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    expect_none(places::page_breaches(&Tree::read()));
}

#[test]
fn the_readme_has_a_row_for_every_invariant() {
    expect_none(places::readme_breaches(&Tree::read()));
}
