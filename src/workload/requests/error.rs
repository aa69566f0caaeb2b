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
    #[error("{file}, row {row}, {column}: {message}")]
    Row { file: String, row: usize, column: String, message: String },
    #[error("{file}: no request in it{filter}")]
    Empty { file: String, filter: String },
    #[error("requests.{field}: {message}")]
    Field { field: String, message: String },
}
