//! What is wrong with requests.

use crate::config::ConfigError;
use thiserror::Error;

/// Requests that cannot be read, generated or served.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RequestsError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{file}: {message}")]
    Read { file: String, message: String },
    /// Rows are lines of the file, from 1.
    #[error("{file}, row {row}: {message}")]
    Line { file: String, row: usize, message: String },
    #[error("{file}, row {row}, {column}: {message}")]
    Row { file: String, row: usize, column: String, message: String },
    #[error("{file}: no request{filter}: a run needs at least one")]
    Empty { file: String, filter: String },
    #[error("requests.{field}: {message}")]
    Field { field: String, message: String },
}

impl RequestsError {
    /// That of a field of [`RequestsConfig`](super::RequestsConfig).
    pub(super) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { field: field.into(), message: message.into() }
    }
}
