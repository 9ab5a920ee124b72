//! A library that processes preload to live at another time of day: compiled from `skew.c` when a test first asks for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;

const SOURCE: &str = include_str!("skew.c");

static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Puts the clock of what the command starts this many seconds ahead; 0 leaves it alone.
pub fn put_ahead(command: &mut Command, seconds: i64) -> Result<()> {
    if seconds != 0 {
        command.env("LD_PRELOAD", library()?).env("SKEW_S", seconds.to_string());
    }
    Ok(())
}

/// Beside the test's binary. Several test binaries may make it at one time: each renames its own into place.
fn library() -> Result<PathBuf> {
    let mut made = MADE.lock();
    if let Some(path) = &*made {
        return Ok(path.clone());
    }
    let test = std::env::current_exe()?;
    let folder = test.parent().context("a test binary lies in a folder")?;
    let (path, own) = (folder.join("skew.so"), format!("skew-{}", std::process::id()));
    compile(&folder.join(&own), &path)?;
    *made = Some(path.clone());
    Ok(path)
}

fn compile(own: &Path, path: &Path) -> Result<()> {
    let (source, built) = (own.with_extension("c"), own.with_extension("so"));
    std::fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&built).arg(&source);
    let status = compiler.status().context("cc is needed for clocks that differ")?;
    std::fs::remove_file(&source)?;
    ensure!(status.success(), "cc does not compile skew.c");
    std::fs::rename(&built, path).with_context(|| format!("cannot make {}", path.display()))
}
