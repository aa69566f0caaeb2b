use super::{Artifact, Exporter, ReportError};
use crate::metrics::RunReport;
use serde::Serialize;

/// `summary.json`.
pub(super) struct SummaryJson;

impl Exporter for SummaryJson {
    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        Ok(vec![Artifact::new("summary.json", summary_json(&run.summary)? + "\n")])
    }
}

/// The text of `summary.json`, of a run or a replay, without the last line's end.
///
/// # Errors
/// [`ReportError::Format`] where JSON cannot hold a value; none of ours is such.
pub fn summary_json(summary: &impl Serialize) -> Result<String, ReportError> {
    serde_json::to_string_pretty(summary).map_err(|error| ReportError::format("summary.json", error))
}
