//! Watches a run that serves requests.

use super::summary::RequestsSummary;
use crate::simulation::{ServingOutcome, ServingProbe};
use crate::units::{RequestId, Table};
use crate::workload::RequestRecord;

/// Watches a run that serves requests.
#[derive(Clone, Debug, Default)]
pub struct RequestsRecorder {}

impl ServingProbe for RequestsRecorder {}

/// What reports show of requests, besides the summary.
#[derive(Clone, Debug)]
pub struct RequestsReport {
    /// The figures.
    pub summary: Option<RequestsSummary>,
    /// What became of each request.
    pub records: Table<RequestId, RequestRecord>,
}

impl RequestsRecorder {
    /// The figures of the run that ended so.
    #[must_use]
    pub fn finish(self, outcome: &ServingOutcome) -> RequestsReport {
        RequestsReport { summary: None, records: outcome.records.clone() }
    }
}
