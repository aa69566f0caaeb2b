//! The figures of a run that serves requests.
//!
//! A [`RequestsRecorder`] watches the run. [`RequestsRecorder::finish`] makes the [`RunReport`] of
//! it: the same figures as of other runs where these have a meaning, the part `requests` of the
//! summary, and a [`RequestsReport`] with what became of each request and series over time.
//!
//! [`RunReport`]: super::RunReport

mod recorder;
mod report;
mod series;
mod summary;
#[cfg(test)]
pub(crate) mod synthetic;
mod timings;

pub use recorder::{Pause, RequestsRecorder, RequestsTimeline, TIMELINE_REQUESTS};
pub use report::{RequestRow, RequestsReport};
pub use series::{MOST_BINS, ServingBin, ServingSeries, TierBin};
pub use summary::{GoodputSummary, HitTokens, MoveSummary, RequestsSummary};
pub use timings::RequestTimings;
