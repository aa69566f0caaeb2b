use crate::metrics::{Recorder, RunReport, Timeline};
use crate::report::{self, ReportError};
use crate::simulation::{NoRoom, Outcome, Room, RunError, Scenario, SkipsMade, Watch, run_abreast, usable_memory};
use crate::units::Bytes;
use rayon::iter::{ParallelBridge, ParallelIterator};
use std::cmp::Reverse;
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
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
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

/// What runs may use.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// How many run at a time; 0: one a core.
    pub threads: usize,
    /// What they may take together.
    pub memory: Bytes,
}

impl Resources {
    /// `None` is the default: a run for each core, in the memory that is usable now.
    #[must_use]
    pub fn new(threads: Option<u16>, memory: Option<Bytes>) -> Self {
        Self { threads: threads.map_or(0, usize::from), memory: memory.unwrap_or_else(usable_memory) }
    }
}

/// Runs all `jobs`, those that share their skip sets in lockstep, and writes the files of each as
/// it ends. The results are in the order of `jobs` and do not depend on `resources`.
///
/// # Errors
/// The first error; nothing half-written stays behind. [`StudyError::NoRoom`] is found before the
/// first run.
pub fn simulate(
    jobs: &[Job<'_>],
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<Finished>, StudyError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    // As many as cores even for fewer jobs, as the files of a run are made on several.
    let Resources { threads, memory } = resources;
    let room = Room::new(memory);
    let needed = jobs.iter().map(|job| room.check(job.scenario, report::memory_needed(job.scenario)));
    let needed = needed.collect::<Result<Vec<Bytes>, NoRoom>>()?;
    let threads = if threads == 0 { cores() } else { threads.min(jobs.len().max(cores())) };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| StudyError::Threads { jobs: threads, message: error.to_string() })?;
    let groups = within(groups(jobs, threads), &needed, memory);
    let made = if groups.len() < threads { SkipsMade::Ahead } else { SkipsMade::Between };
    let finished = pool.install(|| {
        groups
            .into_iter()
            .par_bridge()
            .map(|group| {
                let bytes = group.iter().map(|&index| needed[index]).sum();
                let held = room.hold(bytes, || cancel.load(Ordering::Relaxed)).ok_or(RunError::Interrupted)?;
                let ended = together(jobs, group, made, cancel, progress)?;
                // Files are made on several threads: one that makes some must not wait for room.
                drop(held);
                ended.into_iter().map(|run| files_of(jobs, run, cancel)).collect::<Result<Vec<_>, StudyError>>()
            })
            .collect::<Result<Vec<_>, StudyError>>()
    })?;
    let mut finished: Vec<(usize, Finished)> = finished.into_iter().flatten().collect();
    finished.sort_by_key(|(index, _)| *index);
    Ok(finished.into_iter().map(|(_, finished)| finished).collect())
}

/// Jobs that share their skip sets together, but in enough groups for so many threads: the most work first.
fn groups(jobs: &[Job<'_>], threads: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        match groups.iter_mut().find(|group| jobs[group[0]].scenario.shares_skips(job.scenario)) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    let work_of = |group: &Vec<usize>| group.iter().map(|&index| work(jobs[index].scenario)).sum::<u64>();
    // Twice as many as threads, so that none waits long for the last.
    while threads > 1
        && groups.len() < 2 * threads
        && let Some(largest) = groups.iter_mut().filter(|group| group.len() > 1).max_by_key(|group| work_of(group))
    {
        let half = largest.len() / 2;
        let split_off = largest.split_off(half);
        groups.push(split_off);
    }
    groups.sort_by_key(|group| Reverse(work_of(group)));
    groups
}

/// The same groups, with those split that need more memory than there is.
fn within(groups: Vec<Vec<usize>>, needed: &[Bytes], limit: Bytes) -> Vec<Vec<usize>> {
    let mut fitting: Vec<Vec<usize>> = Vec::with_capacity(groups.len());
    for group in groups {
        let (mut part, mut bytes) = (Vec::new(), Bytes::ZERO);
        for index in group {
            if !part.is_empty() && bytes + needed[index] > limit {
                fitting.push(std::mem::take(&mut part));
                bytes = Bytes::ZERO;
            }
            bytes += needed[index];
            part.push(index);
        }
        fitting.push(part);
    }
    fitting
}

/// In proportion to the time that a run takes: steps times tokens times layers.
fn work(scenario: &Scenario) -> u64 {
    let tokens = scenario.prefill() + scenario.decode();
    scenario.decode() as u64 * tokens as u64 * scenario.model().layers().len() as u64
}

/// A run that has ended, by the place of its job, and what was seen of its timeline.
type Ended = (usize, Finished, Option<Timeline>);

/// Runs the jobs of a group in lockstep.
fn together(
    jobs: &[Job<'_>],
    group: Vec<usize>,
    made: SkipsMade,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<Ended>, StudyError> {
    let is_over = || cancel.load(Ordering::Relaxed);
    let advance = |steps| progress.advance(steps);
    let scenarios: Vec<&Scenario> = group.iter().map(|&index| jobs[index].scenario).collect();
    let mut probes: Vec<_> = group
        .iter()
        .map(|&index| {
            let Job { scenario, timeline, .. } = &jobs[index];
            let timeline = timeline.clone().map(|steps| Timeline::new(scenario, steps));
            (Recorder::new(scenario), (Watch::new(&is_over, &advance), timeline))
        })
        .collect();
    let outcomes = run_abreast(&scenarios, made, &mut probes)?;
    let ended = group.into_iter().zip(probes).zip(outcomes).map(|((index, (recorder, (watch, timeline))), outcome)| {
        watch.finish();
        let report = recorder.finish(jobs[index].scenario, &outcome);
        (index, Finished { report, outcome }, timeline)
    });
    Ok(ended.collect())
}

/// Writes the files of a run that has ended.
fn files_of(
    jobs: &[Job<'_>],
    (index, finished, timeline): Ended,
    cancel: &Cancel,
) -> Result<(usize, Finished), StudyError> {
    let is_over = || cancel.load(Ordering::Relaxed);
    let Finished { report, outcome } = finished;
    let mut finished = written(&jobs[index], report, outcome, timeline.as_ref(), &is_over)?;
    if jobs.len() > 1 {
        // From here on there are as many of them as runs.
        finished.report.histograms.shrink();
    }
    Ok((index, finished))
}

/// Writes the files of a run that has ended.
fn written(
    job: &Job<'_>,
    mut report: RunReport,
    outcome: Outcome,
    timeline: Option<&Timeline>,
    is_over: &dyn Fn() -> bool,
) -> Result<Finished, StudyError> {
    report.charge(job.scenario).map_err(|source| RunError::Trace { step: outcome.steps, source })?;
    let mut files = report::run_files(&mut report)?;
    if let Some(timeline) = timeline {
        files.extend(report::timeline_files(timeline)?);
    }
    // An interruption between computing and writing counts: nothing is written then.
    if is_over() {
        return Err(RunError::Interrupted.into());
    }
    report::write_run(&job.folder, &files)?;
    Ok(Finished { report, outcome })
}
