//! Which check a token failed, worded for logs and named for close reasons. Never holds the token or a part of it.

use sectorbus::protocol::TOKEN_SUBPROTOCOL_PREFIX;

/// Which check a token failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error(
        "no token: send Authorization: Bearer, a {TOKEN_SUBPROTOCOL_PREFIX}<token> subprotocol, ?token=, or a token in hello"
    )]
    Missing,
    #[error("different tokens in different places of one request")]
    Ambiguous,
    #[error("not a JWT")]
    Malformed,
    #[error("the token's alg is not the one its key is for: HS256, RS256, ES256 or EdDSA")]
    WrongAlgorithm,
    #[error("the token's header has crit: no extension is known here")]
    UnknownCrit,
    #[error("no key has the token's kid")]
    UnknownKey,
    #[error("the token's signature does not match")]
    BadSignature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token is from another issuer")]
    WrongIssuer,
    #[error("the token is for another region")]
    WrongRegion,
    #[error("the token is of another player than the session")]
    WrongPlayer,
    #[error("the token or its player was revoked")]
    Revoked,
    #[error("the token lacks the claim {0}")]
    MissingClaim(&'static str),
    #[error("the token's claim {0} is not what is accepted")]
    BadClaim(&'static str),
}

impl AuthError {
    /// The check's name, for close reasons and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            AuthError::Missing => "missing",
            AuthError::Ambiguous => "ambiguous",
            AuthError::Malformed => "malformed",
            AuthError::WrongAlgorithm => "wrong_algorithm",
            AuthError::UnknownCrit => "unknown_crit",
            AuthError::UnknownKey => "unknown_key",
            AuthError::BadSignature => "bad_signature",
            AuthError::Expired => "expired",
            AuthError::NotYetValid => "not_yet_valid",
            AuthError::WrongAudience => "wrong_audience",
            AuthError::WrongIssuer => "wrong_issuer",
            AuthError::WrongRegion => "wrong_region",
            AuthError::WrongPlayer => "wrong_player",
            AuthError::Revoked => "revoked",
            AuthError::MissingClaim(_) => "missing_claim",
            AuthError::BadClaim(_) => "bad_claim",
        }
    }
}
