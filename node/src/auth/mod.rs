//! Who a client is. In reading order: `token` (finds the one token a request carries), `verifier` (judges it), `claims`
//! (what it says), `keys` (what it may be signed with, each key pinned to one algorithm), `jwks` and `fetch` (keys of a
//! set, and of a set behind a URL), `error` (which check failed). Never repeats a token or a key; knows no sessions.

mod token;

mod verifier;

mod claims;

mod keys;

mod jwks;

mod fetch;

mod error;

pub use claims::{Claims, DISPLAY_NAME_CHARS_MAX, JTI_BYTES_MAX, ROLES_MAX, mint};
pub use error::AuthError;
pub use fetch::{FetchError, JwksFetcher};
pub use jwks::{JWKS_BYTES_MAX, KeySource, read_jwks};
pub use keys::{BadKey, Key, KeySet, read_pem};
pub use token::{Token, find_token, settle_token};
pub use verifier::{CLOCK_LEEWAY_S, Reloaded, Verifier};

/// The wall clock as JWT counts it, seconds since 1970: for minting. Tokens are judged by the region's TIME.
pub fn now_s() -> u64 {
    jsonwebtoken::get_current_timestamp()
}
