//! Results as files and as text: a file of this folder a format.
//!
//! [`placement_bar`] draws where the bytes of runs are as stacked bars: a [`PlacementRow`] is a bar
//! (what and when, and the bytes on each tier by name), and a run has one for each of its weights
//! and its KV, at the start and at the end. The same rows become a part of a page with
//! [`html::placement_bar`], whose text a template includes as `{{ placement|safe }}`;
//! `html/page.html` has it between a group's settings and its plots.
//!
//! An [`Exporter`] turns a [`RunReport`] into [`Artifact`]s; [`write()`] puts them into a folder, each whole or not at all.
//!
#![doc = include_str!("README.md")]

mod apart;
mod bars;
mod canvas;
mod chart;
mod claim;
mod csv;
mod curves;
mod explanation;
pub mod grids;
mod heat;
mod hgrm;
mod hlog;
pub mod html;
mod index;
mod json;
mod labels;
mod layout;
mod legend;
mod lettering;
mod named;
mod output;
mod parquet;
mod percentiles;
pub mod pictures;
mod placement;
mod raster;
mod scale;
mod several;
mod shapes;
mod table;
mod timeline;
pub mod trace_pictures;

pub use claim::{Claim, claim};
pub use curves::curve_files;
pub use explanation::{FILES as EXPLANATION, explain_schema, explanation_files, explanation_json, explanation_text};
pub(crate) use hlog::MARK as LOG_MARK;
pub use index::write_index;
pub use json::{summary_json, summary_schema};
pub use labels::shortened as shortened_labels;
pub use layout::{layout_table, share_cells, share_columns};
pub use output::{Artifact, ReportError, replace, run_file_names, write, write_run, write_streamed};
pub use percentiles::percentile_picture;
pub use placement::{PlacementRow, placement_bar};
pub use several::shown_runs;
pub use table::{Column, Table};
pub use timeline::timeline_files;

use crate::metrics::{Histograms, RunReport, Timings};
use crate::simulation::Scenario;
use crate::units::{Bytes, SimTime};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::time::Duration;

/// The files of a run's distributions, for what has no other series: a `.hgrm` each and the log of all.
///
/// # Errors
/// As [`Exporter::export`].
pub fn histogram_files(histograms: &Histograms, span: SimTime) -> Result<Vec<Artifact>, ReportError> {
    distribution_files(&histograms.named().collect::<Vec<_>>(), span)
}

/// The same of any distributions, by their names: a `.hgrm` each and the log of all, taken over `span`.
///
/// # Errors
/// As [`Exporter::export`].
pub fn distribution_files(named: &[(String, &Timings)], span: SimTime) -> Result<Vec<Artifact>, ReportError> {
    let mut files = hgrm::percentile_files(named.iter().cloned())?;
    files.push(hlog::histogram_log(named.iter().cloned(), Duration::from_nanos(span.as_ps() / 1_000))?);
    Ok(files)
}

/// Turns a run into files of one format.
pub trait Exporter {
    /// The files, with paths relative to the run's folder.
    ///
    /// # Errors
    /// [`ReportError`] where a format cannot hold what it is given.
    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError>;
}

/// Every file of a run's folder, `summary.json` first: it names the others that are read back with
/// it, by their checksums, which are also noted in the run's summary.
///
/// # Errors
/// As [`Exporter::export`].
pub fn run_files(run: &mut RunReport) -> Result<Vec<Artifact>, ReportError> {
    let exporters: [&(dyn Exporter + Sync); 6] = [
        &csv::StepsCsv,
        &parquet::StepsParquet,
        &hgrm::PercentileFiles,
        &hlog::HistogramLog,
        &pictures::RunPictures,
        &html::RunPage,
    ];
    // On all cores that have nothing else to do; in this order all the same.
    let report = &*run;
    let exported: Vec<_> =
        exporters.par_iter().map(|exporter| exporter.export(report)).collect::<Result<_, ReportError>>()?;
    let mut files: Vec<Artifact> = exported.into_iter().flatten().collect();
    run.summary.files = files.iter().filter_map(Artifact::checksum).collect();
    files.splice(0..0, json::SummaryJson.export(run)?);
    Ok(files)
}

/// The files that are read back with a run's `summary.json`.
pub(crate) const READ_BACK: [&str; 2] = ["steps.csv", "histograms.hlog"];

/// The memory that the files of a run of `scenario` take while they are made: rows, series and
/// pictures of all steps.
#[must_use]
pub fn memory_needed(scenario: &Scenario) -> Bytes {
    let tiers = scenario.memory().tiers().len() as u64;
    Bytes::new(scenario.decode() as u64 * (A_STEP.0 + A_STEP.1 * tiers))
}

/// What the files take of a step, and what they take of it for each tier. A run of 60,000 short
/// steps on two tiers takes 263 B a step more than one of 10,000, with its series (resident
/// memory); wide numbers take up to twice as much.
const A_STEP: (u64, u64) = (400, 64);
