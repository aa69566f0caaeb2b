//! Why a file of cases cannot be used: file, line, field, value and remedy.

use crate::config::ConfigError;
use crate::simulation::{FieldError, ScenarioError};
use thiserror::Error;

/// Why a file of cases cannot be used.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum InvalidCase {
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error("{origin}: {message}")]
    Csv { origin: String, message: String },
    #[error("{origin}:1: there is no column '{missing}': the first line must name the columns {columns}")]
    NoColumn { origin: String, missing: &'static str, columns: String },
    #[error("{origin}:1: the column '{name}' is there twice: leave one out")]
    ColumnTwice { origin: String, name: String },
    #[error("{origin}: there are no cases: write a row for each, under {columns}")]
    NoCases { origin: String, columns: String },
    #[error("{origin}:{line}: {column} is '{value}': {remedy}")]
    Value { origin: String, line: u64, column: &'static str, value: String, remedy: String },
    #[error("{origin}:{line}: case '{case}': {source}")]
    Field { origin: String, line: u64, case: String, source: Box<FieldError> },
    #[error("{origin}:{line}: case '{case}': {source}")]
    Scenario { origin: String, line: u64, case: String, source: Box<ScenarioError> },
}
