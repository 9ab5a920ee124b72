//! Why a request was not done: what is wrong and what is accepted, as RFC 9457 has it.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use sectorbus::log::LogError;

/// The body of every answer that is not 2xx.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// The status in words.
    title: &'static str,
    status: u16,
    /// What is wrong, for programs.
    code: &'static str,
    /// What is wrong, for people.
    detail: String,
    /// What would have been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<String>,
    /// The room's version, where that is what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// Which of the changes is wrong, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<u32>,
}

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    body: Box<ProblemBody>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        let (detail, status_number) = (detail.into(), status.as_u16());
        let body =
            ProblemBody { title, status: status_number, code, detail, accepted: None, version: None, change: None };
        Self { status, body: Box::new(body), retry_after: None }
    }

    pub fn accepted(mut self, accepted: impl Into<String>) -> Self {
        self.body.accepted = Some(accepted.into());
        self
    }

    pub fn at_version(mut self, version: u64) -> Self {
        self.body.version = Some(version);
        self
    }

    pub fn of_change(mut self, change: u32) -> Self {
        self.body.change = Some(change);
        self
    }

    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(Duration::from_secs(1))
    }

    pub fn code(&self) -> &'static str {
        self.body.code
    }

    #[cfg(test)]
    pub fn body(&self) -> &ProblemBody {
        &self.body
    }
}

/// Of the listener: there is nothing under this path.
pub async fn no_path() -> Problem {
    Problem::not_found("path").accepted("the paths that /api/v1/openapi.json lists, /metrics, /healthz and /readyz")
}

/// Of the listener: what is under this path is asked for otherwise.
pub async fn no_method() -> Problem {
    let detail = "nothing answers this method here";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail).accepted("those of the header Allow")
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        tracing::warn!(%error, "the backend's request cannot be answered");
        match error {
            LogError::Corrupt(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "a stored record cannot be read")
            }
            LogError::NotExecuted(_) | LogError::Ambiguous(_) => {
                Self::unavailable("log_unavailable", "the log does not answer: ask again")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
