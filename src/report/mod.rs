//! Results as files and as text: each file of this folder is a format or a part of one.
//!
//! [`placement_bar`] draws the layout of runs as stacked bars: a [`PlacementRow`] is a bar (the
//! kind of bytes, the moment, and the bytes on each tier by name), and a run has one for each of
//! its weights and its KV, at the start and at the end. The same rows become a part of a page with
//! [`html::placement_bar`], whose text a template includes as `{{ placement|safe }}`;
//! `html/page.html` has it between a group's settings and its plots.
//!
//! An [`Exporter`] turns a [`RunReport`](crate::metrics::RunReport) into [`Artifact`]s; [`write()`]
//! puts them into a folder, each atomically.
//!
#![doc = include_str!("README.md")]

mod accuracy;
mod apart;
mod artifact;
mod bars;
mod canvas;
mod chart;
mod claim;
mod csv;
mod curves;
mod explanation;
mod exporter;
pub(crate) mod grids;
mod groups;
mod heat;
mod hgrm;
mod hlog;
pub mod html;
mod index;
mod json;
mod labelled;
mod labels;
mod layout;
mod legend;
mod lettering;
mod named;
mod numbers;
mod output;
mod parquet;
mod percentiles;
pub mod pictures;
mod placement;
mod raster;
mod requests;
mod rows;
mod run_files;
mod scale;
mod scene;
mod sequences;
mod several;
mod shapes;
mod strokes;
mod table;
mod timeline;
pub(crate) mod trace_pictures;
pub(crate) mod winners;

pub use accuracy::{
    BatchCurves, BatchLine, BatchPoint, MeasuredGroup, RunningCurves, accuracy_picture, batch_picture, running_picture,
};
pub(crate) use artifact::READ_BACK;
pub use artifact::{Artifact, ReportError};
pub use claim::{Claim, claim};
pub use curves::{batch_curves, curve_files};
pub use explanation::{
    FILES as EXPLANATION, explain_schema, explanation_files, explanation_json, explanation_text,
    serving_explanation_files, serving_explanation_json, serving_explanation_text, write_explanation,
};
pub use exporter::Exporter;
pub use groups::group_table;
pub(crate) use hlog::MARK as LOG_MARK;
pub use index::write_index;
pub use json::{summary_json, summary_schema};
pub use labelled::Labelled;
pub use labels::shortened as shortened_labels;
pub use layout::{layout_table, share_cells, share_columns};
pub use output::write;
pub(crate) use output::{replace, write_streamed};
pub use percentiles::percentile_picture;
pub use placement::{PlacementRow, placement_bar};
pub use requests::request_pictures;
pub use run_files::{run_file_names, run_files, write_run};
pub use several::shown_runs;
pub use table::{Column, Table};
pub use timeline::timeline_files;

use crate::metrics::{Histograms, Timings};
use crate::simulation::Scenario;
use crate::units::{Bytes, SimTime};
use std::time::Duration;

/// The files of a run's distributions: a `.hgrm` each, and the log of all.
///
/// # Errors
/// As [`Exporter::export`].
pub fn histogram_files(histograms: &Histograms, span: SimTime) -> Result<Vec<Artifact>, ReportError> {
    distribution_files(&histograms.named().collect::<Vec<_>>(), span)
}

/// The same of any distributions, by their names: a `.hgrm` each and the log of all, taken over
/// `span`.
///
/// # Errors
/// As [`Exporter::export`].
pub fn distribution_files(named: &[(String, &Timings)], span: SimTime) -> Result<Vec<Artifact>, ReportError> {
    let mut files = hgrm::percentile_files(named.iter().cloned())?;
    files.push(hlog::histogram_log(named.iter().cloned(), Duration::from_nanos(span.as_ps() / 1_000))?);
    Ok(files)
}

/// The memory that the files of a run of `scenario` take while they are made: rows, series and
/// pictures of all steps.
#[must_use]
pub fn memory_needed(scenario: &Scenario) -> Bytes {
    let tiers = scenario.memory().tiers().len() as u64;
    if let Some(requests) = scenario.requests() {
        return Bytes::new(OF_SERVING + requests.all.len() as u64 * A_REQUEST);
    }
    Bytes::new(scenario.steps() as u64 * (A_STEP.0 + A_STEP.1 * tiers))
}

/// The memory that the files take for a step, and for each tier of a step. A run of 60,000 short
/// steps on two tiers takes 263 B a step more than one of 10,000, with its series (resident
/// memory); wide numbers take up to twice as much.
const A_STEP: (u64, u64) = (400, 64);

/// The memory that the files of a run take that serves requests, whatever its steps, and for each
/// request.
const OF_SERVING: u64 = 48 << 20;
const A_REQUEST: u64 = 1 << 10;
