use crate::metrics::{Recorder, RunReport, Timeline};
use crate::report::{self, ReportError};
use crate::simulation::{Outcome, RunError, Scenario, Watch, run};
use rayon::iter::{ParallelBridge, ParallelIterator};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// A scenario to run and the folder for its files.
pub struct Job<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Where its files go.
    pub folder: PathBuf,
    /// The steps of which to write a timeline.
    pub timeline: Option<Range<usize>>,
}

/// A run that has ended.
pub struct Finished {
    /// What to report.
    pub report: RunReport,
    /// How it ended.
    pub outcome: Outcome,
}

/// Why runs ended without results.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum StudyError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("cannot start {jobs} threads: {message}. Ask for fewer with --jobs")]
    Threads { jobs: usize, message: String },
}

/// Set to end all runs at their next step.
pub type Cancel = AtomicBool;

/// Told how many steps more have been simulated.
pub trait Progress: Sync {
    /// So many steps more.
    fn advance(&self, steps: u64);
}

/// Runs all `jobs` on so many threads (0: one a core), the longest first, and writes the files of each as it ends. The
/// results are in the order of `jobs` and do not depend on the number of threads.
///
/// # Errors
/// The first error; nothing half-written stays behind.
pub fn simulate(
    jobs: &[Job<'_>],
    threads: usize,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<Finished>, StudyError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    // As many as cores even for fewer jobs, as the files of a run are made on several.
    let threads = if threads == 0 { cores() } else { threads.min(jobs.len().max(cores())) };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| StudyError::Threads { jobs: threads, message: error.to_string() })?;
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(work(jobs[index].scenario)));
    let mut finished = pool.install(|| {
        order
            .into_iter()
            .par_bridge()
            .map(|index| Ok((index, one(&jobs[index], cancel, progress)?)))
            .collect::<Result<Vec<_>, StudyError>>()
    })?;
    finished.sort_by_key(|(index, _)| *index);
    Ok(finished.into_iter().map(|(_, finished)| finished).collect())
}

/// In proportion to the time that a run takes: steps times tokens times layers.
fn work(scenario: &Scenario) -> u64 {
    let tokens = scenario.prefill() + scenario.decode();
    scenario.decode() as u64 * tokens as u64 * scenario.model().layers().len() as u64
}

fn one(job: &Job<'_>, cancel: &Cancel, progress: &dyn Progress) -> Result<Finished, StudyError> {
    let is_over = || cancel.load(Ordering::Relaxed);
    let advance = |steps| progress.advance(steps);
    let watch = Watch::new(&is_over, &advance);
    let timeline = job.timeline.clone().map(|steps| Timeline::new(job.scenario, steps));
    let mut probe = (Recorder::new(job.scenario), (watch, timeline));
    let outcome = run(job.scenario, &mut probe)?;
    let (recorder, (watch, timeline)) = probe;
    watch.finish();
    let mut report = recorder.finish(job.scenario, &outcome);
    report.charge(job.scenario).map_err(|source| RunError::Trace { step: outcome.steps, source })?;
    let mut files = report::run_files(&report)?;
    if let Some(timeline) = &timeline {
        files.extend(report::timeline_files(timeline)?);
    }
    // An interruption between computing and writing counts: nothing is written then.
    if is_over() {
        return Err(RunError::Interrupted.into());
    }
    report::write_run(&job.folder, &files)?;
    Ok(Finished { report, outcome })
}
