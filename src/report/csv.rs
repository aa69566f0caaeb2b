use super::artifact::{Artifact, ReportError};
use super::exporter::Exporter;
use crate::metrics::{RunReport, step_columns};

/// `steps.csv`: a row a step, with the columns of [`crate::metrics::STEP_COLUMNS`].
pub(super) struct StepsCsv;

impl Exporter for StepsCsv {
    fn names(&self) -> Vec<String> {
        vec!["steps.csv".to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        if run.requests.is_some() {
            return Ok(Vec::new());
        }
        let failed = |error: csv::Error| ReportError::format("steps.csv", error);
        let columns = step_columns(&run.tiers, run.summary.is_single(), run.summary.cache.is_some());
        let mut writer = csv::Writer::from_writer(Vec::with_capacity(128 * run.series.len()));
        writer.write_record(columns.iter().map(|column| &column.name)).map_err(failed)?;
        for step in run.series.steps() {
            let row = columns.iter().map(|column| column.value(&step).to_string());
            writer.write_record(row).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| ReportError::format("steps.csv", error))?;
        Ok(vec![Artifact::new("steps.csv", bytes)])
    }
}
