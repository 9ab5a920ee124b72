//! What a node process does in its life that is no invariant: whom it shows as gone, how it brings players back, when it
//! refuses to start, how it leaves. Real processes on a real redis-server.

mod calls;
mod encrypted;
mod hostile;
mod keys;
mod leave;
mod presence;
mod refusals;
mod resume;
mod revoked;
mod settings;

use std::time::Duration;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
