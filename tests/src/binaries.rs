//! The workspace's own binaries for tests that start processes: the ones that belong to the running test binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;

static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The binary beside this test binary, built if it is not there or older than `sources` (folders of the workspace).
pub fn built(name: &str, sources: &[&str]) -> Result<PathBuf> {
    // Held while it is built: other tests of this process wait for the same one.
    let mut found = FOUND.lock();
    if let Some(path) = found.get(name) {
        return Ok(path.clone());
    }
    let path = find(name, sources)?;
    found.insert(name.to_owned(), path.clone());
    Ok(path)
}

fn find(name: &str, sources: &[&str]) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("a test binary lies in target/<profile>/deps")?;
    let binary = folder.join(name);
    let built = binary.metadata().and_then(|metadata| metadata.modified()).ok();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_older = |built| sources.iter().any(|source| newest(&workspace.join(source)).is_some_and(|new| new > built));
    if built.is_none_or(is_older) {
        build(name, folder, &workspace)?;
    }
    Ok(binary)
}

fn build(name: &str, folder: &Path, workspace: &Path) -> Result<()> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(other) => other,
    };
    // The whole workspace's features, as the test command builds them: nothing else is compiled anew.
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--workspace", "--bin", name, "--profile", profile]).current_dir(workspace);
    if let Some(target) = folder.parent() {
        build.env("CARGO_TARGET_DIR", target);
    }
    ensure!(build.status()?.success(), "cannot build {name}");
    Ok(())
}

/// When the youngest file of a folder was written.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() { newest(&path) } else { entry.metadata().ok()?.modified().ok() }
    });
    times.max()
}
