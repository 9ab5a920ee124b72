//! Two files of summaries side by side: each figure of each scenario, the ratio, and which of the two is better.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::load::summary::{Better, FIGURES, Summary};

/// Smaller differences are noise of the machine.
const SAME_WITHIN: f64 = 0.02;

/// A table of what both files have; several lines of one scenario count with their medians.
pub fn compare(a: &Path, b: &Path) -> Result<String> {
    let (of_a, of_b) = (read(a)?, read(b)?);
    let mut table = format!("{:<18} {:<26} {:>14} {:>14} {:>7}\n", "scenario", "figure", "a", "b", "b/a");
    for (scenario, a) in &of_a {
        let Some(b) = of_b.get(scenario) else {
            writeln!(table, "{scenario:<18} only in a")?;
            continue;
        };
        for figure in FIGURES {
            let (Some(a), Some(b)) = ((figure.of)(a), (figure.of)(b)) else { continue };
            let (ratio, better) = (ratio(a, b), verdict(a, b, figure.better));
            let name = figure.name;
            writeln!(table, "{scenario:<18} {name:<26} {a:>14.3} {b:>14.3} {ratio:>7}  {better}, {}", figure.better)?;
        }
    }
    for scenario in of_b.keys().filter(|scenario| !of_a.contains_key(*scenario)) {
        writeln!(table, "{scenario:<18} only in b")?;
    }
    Ok(table)
}

fn ratio(a: f64, b: f64) -> String {
    if a == 0.0 { "-".to_owned() } else { format!("{:.3}", b / a) }
}

fn verdict(a: f64, b: f64, better: Better) -> &'static str {
    if (a - b).abs() <= a.abs().max(b.abs()) * SAME_WITHIN {
        "same"
    } else if (b < a) == (better == Better::Lower) {
        "b is better"
    } else {
        "b is worse"
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Summary>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let mut runs: BTreeMap<String, Vec<Summary>> = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let summary: Summary = serde_json::from_str(line)
            .with_context(|| format!("{shown}:{}: not a line of `sectorbus-load --json`", at + 1))?;
        runs.entry(summary.scenario.clone()).or_default().push(summary);
    }
    ensure!(!runs.is_empty(), "{shown} is empty: lines of `sectorbus-load --json` are accepted");
    runs.into_iter().map(|(scenario, runs)| Ok((scenario, Summary::median(&runs)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_knows_which_direction_is_better() {
        assert_eq!(verdict(10.0, 5.0, Better::Lower), "b is better");
        assert_eq!(verdict(10.0, 5.0, Better::Higher), "b is worse");
        assert_eq!(verdict(10.0, 10.1, Better::Lower), "same");
        assert_eq!(verdict(0.0, 0.0, Better::Lower), "same");
        assert_eq!(verdict(0.0, 1.0, Better::Lower), "b is worse");
    }
}
