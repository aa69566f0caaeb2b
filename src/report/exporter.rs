use super::artifact::{Artifact, ReportError};
use crate::metrics::RunReport;

/// Turns a run into files of one format.
pub trait Exporter {
    /// The files that it may write, with paths relative to the run's folder. Files whose names
    /// depend on the measurements are left out: the percentile files, which are all files of their
    /// folder.
    fn names(&self) -> Vec<String>;

    /// The files, with paths relative to the run's folder.
    ///
    /// # Errors
    /// [`ReportError`] where a format cannot represent a value.
    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError>;
}
