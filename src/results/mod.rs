//! Results read back: the folders of finished runs, HdrHistogram logs, and comparisons of several
//! runs.
//!
//! [`FinishedRun`] reads a folder that a run wrote. [`differences()`] lists where the
//! configurations of runs differ, [`figures()`] sets their figures side by side, [`sentences()`]
//! describes what changed and by how much, and a [`Condition`] makes a gate of it.
//! [`Distributions`] holds those of a log or a `.hgrm` file, to merge and to subtract.

mod condition;
mod distributions;
mod figures;
mod folder;
mod parts;
mod sentences;

pub use crate::simulation::{Difference, differences};
pub use condition::{Condition, ConditionError, Holds};
pub use distributions::{Distributions, LogUnit};
pub use figures::{FigureOfRuns, figure_meant, figures};
pub use folder::FinishedRun;
pub use parts::named_parts;
pub use sentences::sentences;

use thiserror::Error;

/// Why results cannot be read.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ResultsError {
    #[error("cannot read '{path}': {message}")]
    Read { path: String, message: String },
    #[error("'{folder}' is not the folder of a run: it has no summary.json.{hint}")]
    NoRun { folder: String, hint: String },
    #[error(
        "'{folder}' is incomplete: it has no {file}. Run it again: tiersim run {folder}/summary.json --out {folder}"
    )]
    Missing { folder: String, file: &'static str },
    #[error(
        "'{folder}' is incomplete or of several runs: {message}. Run it again: tiersim run {folder}/summary.json --out {folder}"
    )]
    Torn { folder: String, message: String },
    #[error("'{path}' is not the summary of a run of tiersim: {message}")]
    NotOurs { path: String, message: String },
    #[error(
        "'{path}': schema: {found}, but this version of tiersim reads schema {known}: read it with the version that wrote it, or \
         repeat the run with this one"
    )]
    Schema { path: String, found: String, known: u32 },
    #[error("{path}:{line}: {message}")]
    Place { path: String, line: usize, message: String },
    #[error(
        "'{path}' does not say what its values are, as it is not a log of tiersim: say how long a value of 1 is with --unit ps, ns, us, ms or s"
    )]
    NoUnit { path: String },
    #[error("'{path}' has no {what}: {message}")]
    Empty { path: String, what: &'static str, message: String },
    #[error("cannot merge '{tag}': {message}")]
    Merge { tag: String, message: String },
    #[error("cannot subtract '{tag}' of '{from}': {message}")]
    Subtract { tag: String, from: String, message: String },
}
