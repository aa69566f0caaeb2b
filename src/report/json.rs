use super::artifact::{Artifact, ReportError};
use super::exporter::Exporter;
use crate::metrics::{RunReport, Summary};
use serde::Serialize;

/// `summary.json`.
pub(super) struct SummaryJson;

impl Exporter for SummaryJson {
    fn names(&self) -> Vec<String> {
        vec!["summary.json".to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        Ok(vec![Artifact::new("summary.json", summary_json(&run.summary)? + "\n")])
    }
}

/// The JSON Schema of a run's `summary.json`, as published in `src/report/summary.schema.json`.
///
/// # Errors
/// As [`summary_json`].
pub fn summary_schema() -> Result<String, ReportError> {
    summary_json(&schemars::schema_for!(Summary)).map(|text| text + "\n")
}

/// The text of `summary.json`, of a run or a replay, without the last line's end.
///
/// # Errors
/// [`ReportError::Format`] if JSON cannot represent a value, which does not happen for summaries.
pub fn summary_json(summary: &impl Serialize) -> Result<String, ReportError> {
    serde_json::to_string_pretty(summary).map_err(|error| ReportError::format("summary.json", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        assert!(
            summary_schema().unwrap() == include_str!("summary.schema.json"),
            "write it anew: cargo run -- schema > src/report/summary.schema.json"
        );
    }
}
