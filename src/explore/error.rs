//! What is refused, and why the server does not start.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::io;
use thiserror::Error;

/// Why `tiersim explore` does not start or go on.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ExploreError {
    #[error("port {0} is in use by another program: leave out --port to take a free one, or name another")]
    PortInUse(u16),
    #[error("cannot listen on 127.0.0.1:{port}: {source}. Leave out --port to take a free one")]
    Listen { port: u16, source: io::Error },
    #[error("cannot start {what}: {source}")]
    Start { what: &'static str, source: io::Error },
    #[error("the system gives no random numbers for the address: {0}")]
    Random(getrandom::Error),
    #[error("the scenario cannot be explored: {0}")]
    Base(String),
}

/// A request that is not answered as it asked: the status, why, and the field of the state that is
/// to blame. As a body it is `{error, field}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong, and what to do.
    pub message: String,
    /// The field of the state, where one is to blame.
    pub field: Option<&'static str>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), field: None }
    }

    /// The body is not what the API takes.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A value is not allowed.
    pub(super) fn value(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, message) }
    }

    /// Too much is asked for at once.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// A newer request has taken its place.
    pub(super) fn replaced() -> Self {
        Self::new(StatusCode::CONFLICT, "a newer request of this session takes the place of this one")
    }

    /// A simulation panicked.
    pub(super) fn panicked() -> Self {
        let message = "the simulation failed: this is a fault of tiersim, whose details are on its standard error";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// As JSON: a body, or a line of a stream that has begun.
    pub(super) fn json(&self) -> Value {
        match self.field {
            Some(field) => json!({ "error": self.message, "field": field }),
            None => json!({ "error": self.message }),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, [("content-type", "application/json")], self.json().to_string()).into_response()
    }
}
