//! No token is ever repeated: not in a log line at any level, not in a close reason, not in a body. All log lines of
//! this process are kept, through the filter that a node logs with when told to say everything.

use std::io::Write;
use std::sync::{Arc, LazyLock, Once};

use parking_lot::Mutex;
use sectorbus_node::cli::log_filter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

static LINES: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(Arc::default);

/// Said once at the least severe level, as the node would.
const HEARD: &str = "the log is heard";

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From the first call on, everything logged in this process is kept.
pub(crate) fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let lines = fmt::layer().with_ansi(false).with_writer(|| Kept);
        tracing_subscriber::registry().with(lines.with_filter(log_filter(tracing::Level::TRACE))).init();
        tracing::trace!(target: "sectorbus", "{HEARD}");
    });
}

pub(crate) fn logged() -> String {
    String::from_utf8_lossy(&LINES.lock()).into_owned()
}

/// Neither `said` nor any log line so far repeats the token, or the part of it that is worth stealing.
pub(crate) fn assert_not_repeated(token: &str, said: &str) {
    let logged = logged();
    assert!(logged.contains(HEARD), "nothing is heard of the log: {logged}");
    for part in token.split('.').filter(|part| part.len() >= 12) {
        assert!(!said.contains(part), "the token is repeated to the client: {said}");
        let line = logged.lines().find(|line| line.contains(part));
        assert_eq!(line, None, "the token is logged");
    }
}
