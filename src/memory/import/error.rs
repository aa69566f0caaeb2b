//! What is wrong with the output of a benchmark.

use thiserror::Error;

/// Why a benchmark's output cannot be used; the caller adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ImportError {
    #[error("line {line}: {what}: '{value}' {problem}")]
    Value { line: usize, what: String, value: String, problem: String },
    #[error("{what}: {problem}")]
    Missing { what: String, problem: String },
}

impl ImportError {
    pub(super) fn value(line: usize, what: impl Into<String>, value: &str, problem: impl Into<String>) -> Self {
        let value = crate::config::shortened(value, 60).into_owned();
        Self::Value { line, what: what.into(), value, problem: problem.into() }
    }

    pub(super) fn missing(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), problem: problem.into() }
    }
}

/// A measured figure: a finite number above 0, below what any machine has.
pub(super) fn figure(line: usize, what: &str, text: &str) -> Result<f64, ImportError> {
    match text.trim().parse::<f64>() {
        Ok(value) if value > 0.0 && value < MOST => Ok(value),
        Ok(_) => Err(ImportError::value(
            line,
            what,
            text.trim(),
            "is no figure above 0 that a machine could have: measure again",
        )),
        Err(_) => Err(ImportError::value(
            line,
            what,
            text.trim(),
            "is no number: give the benchmark's output as it was printed",
        )),
    }
}

/// GB/s, MB/s, nanoseconds, tokens/s: more than this is no measurement.
const MOST: f64 = 1e12;
