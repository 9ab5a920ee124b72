//! The page's JavaScript computes what the vectors say: its checksum, its room, its queue of actions, run by Node.js.
//! Without a Node.js of at least 20 on PATH nothing is run, and a line says so.

use std::io::Write;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const NODE_JS_MIN: u32 = 20;

/// The major version of the Node.js on PATH.
fn node_js() -> Option<u32> {
    let said = Command::new("node").arg("--version").output().ok()?.stdout;
    String::from_utf8(said).ok()?.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[test]
fn the_pages_javascript_holds_every_vector() {
    let found = node_js();
    if found.is_none_or(|major| major < NODE_JS_MIN) {
        // Past the harness, which would hide it.
        let found = found.map_or("none".to_owned(), |major| format!("version {major}"));
        writeln!(std::io::stderr(), "SKIPPED the page's JavaScript: Node.js {NODE_JS_MIN} is needed, found {found}")
            .expect("standard error takes a line");
        return;
    }
    // The page's modules end in .js; Node.js takes them for modules only where a package says so.
    let folder = std::env::temp_dir().join(format!("sectorbus-vectors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder of the test's own");
    let copy = |from: &str| {
        let from = Path::new(ROOT).join(from);
        let name = from.file_name().expect("a file").to_owned();
        std::fs::copy(&from, folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    };
    for name in ["checksum.js", "room.js", "actions.js"] {
        copy(&format!("demo/assets/{name}"));
    }
    copy("tests/demo/vectors.mjs");
    std::fs::write(folder.join("package.json"), r#"{"type":"module"}"#).expect("a package");
    let vectors = Path::new(ROOT).join("shared/vectors/state.json");
    let ran = Command::new("node").arg(folder.join("vectors.mjs")).arg(vectors).output().expect("Node.js runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    let _ = std::fs::remove_dir_all(&folder);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let held: u32 = said.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(held > 50, "only {held} cases: {said}");
}
