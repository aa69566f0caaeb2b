use super::{Artifact, Exporter, ReportError};
use crate::metrics::RunReport;

/// `steps.csv`: a row a step.
pub(super) struct StepsCsv;

impl Exporter for StepsCsv {
    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let failed = |error: csv::Error| ReportError::format("steps.csv", error);
        let mut writer = csv::Writer::from_writer(Vec::with_capacity(128 * run.series.len()));
        let mut heading: Vec<String> =
            ["step", "context_tokens", "read_kv_tokens", "alpha", "latency_ns", "bound_ns"].map(str::to_owned).to_vec();
        for tier in &run.tiers {
            heading.extend([format!("{tier}_read_bytes"), format!("{tier}_used_bytes")]);
        }
        heading.extend(["migrated_in_bytes", "migrated_out_bytes", "late_tokens"].map(str::to_owned));
        writer.write_record(&heading).map_err(failed)?;
        let mut row: Vec<String> = Vec::with_capacity(heading.len());
        for step in run.series.steps() {
            row.clear();
            row.extend([
                step.step.to_string(),
                step.context.to_string(),
                step.read_kv_tokens.to_string(),
                step.alpha().to_string(),
                step.latency.exact_ns(),
                step.bound.exact_ns(),
            ]);
            for (read, used) in step.by_tier {
                row.extend([read.get().to_string(), used.get().to_string()]);
            }
            row.extend([
                step.migrated_in.get().to_string(),
                step.migrated_out.get().to_string(),
                step.late_tokens.to_string(),
            ]);
            writer.write_record(&row).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| ReportError::format("steps.csv", error))?;
        Ok(vec![Artifact::new("steps.csv", bytes)])
    }
}
