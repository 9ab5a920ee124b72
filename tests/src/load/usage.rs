//! What a process uses, as Linux tells it in `/proc`. Linux only.

use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks of `/proc/<pid>/stat`: USER_HZ, 100 on every Linux that Rust supports.
const TICKS_PER_S: u64 = 100;

/// CPU time, user and system, of all threads of a process since it started. Resolution 10 ms.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The second field is a name in parentheses that may hold anything; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').context("/proc/<pid>/stat has no name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("/proc/<pid>/stat is short")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_S))
}

/// Resident memory of a process, bytes.
pub fn rss_bytes_of(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Raises this process's limit of open files, which its children inherit, and says so on stderr.
pub fn allow_open_files(count: u64) -> Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let soft = soft.split_whitespace().next().unwrap_or("unlimited");
    if soft == "unlimited" || soft.parse::<u64>().is_ok_and(|soft| soft >= count) {
        return Ok(());
    }
    let pid = std::process::id().to_string();
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={count}:{count}")])
        .status()
        .context("prlimit (of util-linux) is needed to raise the limit of open files")?;
    anyhow::ensure!(
        status.success(),
        "cannot raise the limit of open files from {soft} to {count}: run as root or raise it before"
    );
    eprintln!("raised the limit of open files from {soft} to {count}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        assert!(rss_bytes_of(pid).expect("rss") > 100_000);
        cpu_of(pid).expect("cpu");
    }
}
