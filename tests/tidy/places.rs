//! What the repository's texts may point at: no path of somebody's machine, no package registry, nothing outside from
//! the page, and in the README every invariant's file.

use crate::Breach;
use crate::tree::{File, Tree};

/// Beginnings of absolute paths that exist on one machine only, and hosts of package registries. Each is written in
/// two parts, so that this file does not break its own rule.
const MACHINE_PATHS: [(&str, &str); 5] =
    [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/tmp/", "bash"), ("/Us", "ers/")];
const REGISTRIES: [(&str, &str); 8] = [
    ("crates", ".io"),
    ("static.rust", "-lang.org"),
    ("pypi", ".org"),
    ("files.python", "hosted.org"),
    ("registry.npm", "js.org"),
    ("deb.deb", "ian.org"),
    ("security.deb", "ian.org"),
    ("proxy.go", "lang.org"),
];

pub(crate) fn breaches(tree: &Tree) -> Vec<Breach> {
    // Cargo writes its registry's address into the lock file itself.
    let files = tree.files.iter().filter(|file| !file.name.ends_with("Cargo.lock"));
    files.flat_map(|file| lines_where(file, names_a_place)).collect()
}

fn lines_where(file: &File, judge: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let judged = file.text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, judge(line)?)));
    judged.map(|(line, why)| Breach { file: file.name.clone(), line, why }).collect()
}

fn names_a_place(line: &str) -> Option<String> {
    for (start, end) in MACHINE_PATHS {
        let path = format!("{start}{end}");
        if line.match_indices(&path).any(|(at, _)| !line[..at].ends_with(is_path_char)) {
            return Some(format!("`{path}` is a path of one machine"));
        }
    }
    let host =
        REGISTRIES.iter().map(|(start, end)| format!("{start}{end}")).find(|host| line.contains(host.as_str()))?;
    Some(format!("`{host}` is a registry's host: the ordinary clients know where their packages are"))
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || "._-/}*".contains(c)
}

/// The demo's page is served by the demo alone: nothing in it may load from elsewhere.
pub(crate) fn page_breaches(tree: &Tree) -> Vec<Breach> {
    let page = tree.files.iter().filter(|file| file.name.starts_with("demo/assets/"));
    page.flat_map(|file| {
        lines_where(file, |line| {
            let line = line.replace("http://www.w3.org/", "");
            let outside =
                ["https://", "http://", "src=\"//", "href=\"//", "innerHTML", "insertAdjacentHTML", "document.write"];
            let found = outside.into_iter().find(|needle| line.contains(needle))?;
            Some(format!("`{found}`: the page loads nothing from elsewhere and writes players' text as text"))
        })
    })
    .collect()
}

/// Each file of tests/invariants has its row in the README, and each row its file.
pub(crate) fn readme_breaches(tree: &Tree) -> Vec<Breach> {
    let Some(readme) = tree.get("README.md") else {
        return vec![Breach { file: "README.md".to_owned(), line: 1, why: "there is no README".to_owned() }];
    };
    let mut breaches = lines_where(readme, |line| {
        let named = line.split('`').find(|part| part.starts_with("tests/invariants/") && part.ends_with(".rs"))?;
        tree.get(named).is_none().then(|| format!("`{named}` does not exist"))
    });
    let files = tree.files.iter().filter(|f| f.name.starts_with("tests/invariants/") && f.is_rust());
    let is_shared = |name: &str| ["/main.rs", "/mod.rs", "/support.rs"].iter().any(|end| name.ends_with(end));
    for file in files.filter(|f| !is_shared(&f.name)) {
        if !readme.text.contains(&format!("`{}`", file.name)) {
            let why = format!("no row of the invariants' table names `{}`", file.name);
            breaches.push(Breach { file: "README.md".to_owned(), line: 1, why });
        }
    }
    breaches
}

#[test]
fn a_machine_path_and_a_registry_are_breaches() {
    assert!(names_a_place(concat!("see /wo", "rk/notes")).is_some());
    assert!(names_a_place(concat!("index = \"https://index.crates", ".io/\"")).is_some());
    assert!(names_a_place(concat!("target/wo", "rk/x and frame/ho", "me/")).is_none());
}

#[test]
fn the_readme_and_the_invariants_must_agree() {
    let tree = crate::tree::tree_of(&[
        ("README.md", "intro\n| once | `tests/invariants/once.rs` |\n| x | `tests/invariants/gone.rs` |"),
        ("tests/invariants/main.rs", ""),
        ("tests/invariants/once.rs", ""),
        ("tests/invariants/new.rs", ""),
    ]);
    let found: Vec<_> = readme_breaches(&tree).into_iter().map(|b| b.line).collect();
    assert_eq!(found, [3, 1]);
}

#[test]
fn a_page_that_loads_from_elsewhere_is_a_breach() {
    let page = concat!("<script src=\"http", "s://cdn/x.js\">\n<svg xmlns=\"http://www.w3.org/2000/svg\">");
    let found = page_breaches(&crate::tree::tree_of(&[("demo/assets/index.html", page)]));
    assert_eq!(found.iter().map(|b| b.line).collect::<Vec<_>>(), [1]);
}
