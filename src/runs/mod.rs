//! Many runs at a time: within a number of threads and an amount of memory, interruptible at any
//! step.
//!
//! A [`Pool`] executes all work of this crate that uses several threads: it hands out tasks in
//! their order, reserves memory for each run, ends all runs at their next step when it is
//! cancelled, and reports progress. Results never depend on the number of threads.
//!
//! * [`simulate`] runs a list of [`Job`]s and writes the files of each into its folder.
//! * [`climb`] runs a scenario and its idealizations, which [`explain`](crate::explain) turns into
//!   an explanation.
//! * [`sweep`](crate::sweep) and its search run their cells on a pool of their own.

mod climb;
mod measure;
mod pool;
mod simulate;

pub use climb::{climb, climb_serving};
pub use pool::{Cancel, NoThreads, Pool, Progress, Resources, Silent};
pub use simulate::{Finished, Job, simulate};

use crate::explain::ExplainError;
use crate::report::ReportError;
use crate::simulation::{NoRoom, RunError};
use thiserror::Error;

/// Why runs ended without results.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RunsError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Explain(#[from] ExplainError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    NoThreads(#[from] NoThreads),
}
