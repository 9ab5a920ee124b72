//! Files that are part of the crate and built elsewhere. Knows nothing of who serves them.

/// The JavaScript client as one module for browsers, built from `client/`.
pub const CLIENT_JS: &str = include_str!("../assets/client.js");
