//! Why a configuration is not imported.

use thiserror::Error;

/// What cannot be expressed exactly, or contradicts itself; the file and the line are added by
/// [`Document::error`](super::json::Document::error).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// The field is not there, or null.
    #[error("{field}: it is missing: {remedy}")]
    Missing { field: String, remedy: String },
    /// The field has a value that it cannot have, alone or beside another.
    #[error("{field}: {value} {problem}")]
    Value { field: String, value: String, problem: String },
}

/// What to do where a configuration is not understood.
pub(super) const BY_HAND: &str =
    "write the model by hand: an `architecture`, or layers in bytes (models/README.md, \"Language models\")";

impl Refusal {
    pub fn missing(field: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Missing { field: field.into(), remedy: remedy.into() }
    }

    /// The value and what is wrong with it, with the remedy, as one sentence.
    pub fn value(field: impl Into<String>, value: impl ToString, problem: impl Into<String>) -> Self {
        let value = crate::config::shortened(&value.to_string(), 80).into();
        Self::Value { field: field.into(), value, problem: problem.into() }
    }

    /// The dotted path of the field.
    pub fn field(&self) -> &str {
        match self {
            Self::Missing { field, .. } | Self::Value { field, .. } => field,
        }
    }

    /// What is wrong, without the field.
    pub fn message(&self) -> String {
        match self {
            Self::Missing { remedy, .. } => format!("it is missing: {remedy}"),
            Self::Value { value, problem, .. } => format!("{value} {problem}"),
        }
    }
}
