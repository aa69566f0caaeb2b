use super::artifact::{Artifact, ReportError};
use crate::metrics::RunReport;

/// Turns a run into files of one format.
pub trait Exporter {
    /// The files that it may make, with paths relative to the run's folder. What it names by what
    /// was measured is left out: the percentile files, which are all files of their folder.
    fn names(&self) -> Vec<String>;

    /// The files, with paths relative to the run's folder.
    ///
    /// # Errors
    /// [`ReportError`] where a format cannot hold what it is given.
    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError>;
}
