//! `compose/` without a container engine: its files are read by a compose implementation and checked, and the same
//! topology is started from real binaries, with the files' own commands, settings, ports and checks.

mod files;
mod normal;
mod rights;
mod running;
mod topology;

use std::time::Duration;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
