//! The figures of a run that serves requests.
//!
//! A [`RequestsRecorder`] watches the run and becomes a [`RequestsReport`]: the part `requests` of
//! a summary, a row for each request, and series over time.

mod recorder;
mod summary;

pub use recorder::{RequestsRecorder, RequestsReport};
pub use summary::{GoodputSummary, HitTokens, MoveSummary, RequestsSummary};
