//! The files of a run's folder: the list of formats, and the removal of an earlier run's files.
//!
//! An [`Exporter`] is a format. It creates its files and lists all files that it may create, so
//! that the files of an earlier run are removed without the writer knowing any format.

use super::artifact::{Artifact, HISTOGRAMS, ReportError};
use super::explanation::FILES as EXPLANATION;
use super::exporter::Exporter;
use super::output::{entries, put_in_place};
use super::{csv, hgrm, hlog, html, json, parquet, pictures, requests, sequences, several, timeline};
use crate::metrics::RunReport;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::path::{Path, PathBuf};

/// The formats of a run's files but for `summary.json`, in the order of its list of checksums.
const EXPORTERS: [&(dyn Exporter + Sync); 11] = [
    &csv::StepsCsv,
    &parquet::StepsParquet,
    &sequences::SequenceFiles,
    &requests::RequestFiles,
    &requests::EngineFiles,
    &requests::RequestsTrace,
    &hgrm::PercentileFiles,
    &hlog::HistogramLog,
    &pictures::RunPictures,
    &requests::RequestPictures,
    &html::RunPage,
];

/// Every file of a run's folder, `summary.json` first: it names the others that are read back with
/// it, by their checksums, which are also noted in the run's summary.
///
/// # Errors
/// As [`Exporter::export`].
pub fn run_files(run: &mut RunReport) -> Result<Vec<Artifact>, ReportError> {
    // On all cores that have nothing else to do; in this order all the same.
    let report = &*run;
    let exported: Vec<_> =
        EXPORTERS.par_iter().map(|exporter| exporter.export(report)).collect::<Result<_, ReportError>>()?;
    let mut files: Vec<Artifact> = exported.into_iter().flatten().collect();
    run.summary.files = files.iter().filter_map(Artifact::checksum).collect();
    files.splice(0..0, json::SummaryJson.export(run)?);
    Ok(files)
}

/// Writes a run's `artifacts` as [`write`](super::write) does, and removes the files of an earlier
/// run from `folder`: histograms and pictures that this one does not write, the explanation of that
/// run, and the page beside `folder` that shows it among others.
///
/// # Errors
/// As [`write`](super::write).
pub fn write_run(folder: &Path, artifacts: &[Artifact]) -> Result<(), ReportError> {
    let histograms = entries(&folder.join(HISTOGRAMS));
    let of_runs = histograms.filter(|path| path.extension().is_some_and(|extension| extension == "hgrm"));
    let stale = of_runs.chain(run_file_names().into_iter().map(|name| folder.join(name)));
    let stale = stale.chain(several::stale(folder, artifacts)).collect();
    put_in_place(folder, artifacts, stale)
}

/// The files that a run may write, without its histograms, by their names within its folder.
#[must_use]
pub fn run_file_names() -> Vec<PathBuf> {
    let summary: &dyn Exporter = &json::SummaryJson;
    let formats = std::iter::once(summary).chain(EXPORTERS.into_iter().map(|exporter| exporter as &dyn Exporter));
    let names = formats.flat_map(Exporter::names).map(PathBuf::from);
    names.chain(timeline::FILES.into_iter().chain(EXPLANATION).map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::synthetic::{requests, serve};
    use crate::units::SimTime;
    use crate::workload::GoalsConfig;

    /// A run that serves requests writes files that are listed, so that they are removed again, and
    /// no file of its steps.
    #[test]
    fn files_of_requests_are_listed() {
        let goals = GoalsConfig { ttft: Some(SimTime::from_ns(2e9)), ..GoalsConfig::default() };
        let mut report = serve(requests(600, SimTime::from_ns(1.4e8), goals)).report;
        let files = run_files(&mut report).unwrap();
        let listed = run_file_names();
        for file in &files {
            assert!(file.path.starts_with(HISTOGRAMS) || listed.contains(&file.path), "{}", file.path.display());
        }
        let has = |name: &str| files.iter().any(|file| file.path == Path::new(name));
        for name in
            ["summary.json", "requests.parquet", "engine.csv", "requests_timeline.json", "report.html", "batch.png"]
        {
            assert!(has(name), "{name}");
        }
        for name in ["ttft", "tpot", "request_tpot", "e2e", "request_queueing", "kv_load_latency", "token_latency"] {
            assert!(has(&format!("{HISTOGRAMS}/{name}.hgrm")), "{name}");
        }
        assert!(!has("steps.csv") && !has("alpha.svg"));
    }
}
