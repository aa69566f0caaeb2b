//! Simulation of a list of scenarios, with the files of each: the common part of `run`, `compare`,
//! `strategies` and the study.
//!
//! Runs whose attention skips the same tokens (same trace, model and lengths) advance in lockstep,
//! step by step, so that each skip set is generated or read once for all of them. Groups are split
//! where there are fewer groups than threads, or where one needs more memory than there is. The
//! group with the most work starts first, so that no thread is left with the longest one at the
//! end.

use super::pool::cores;
use super::{Cancel, Pool, Progress, Resources, RunsError};
use crate::metrics::{Recorder, RunReport, Timeline};
use crate::report;
use crate::simulation::{NoRoom, RunError, Scenario, SkipThread, Watch, run_in_lockstep};
use crate::units::{Bytes, Step};
use crate::workload::Sequence;
use std::cmp::Reverse;
use std::ops::Range;
use std::path::PathBuf;

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
    /// Its figures, series and histograms.
    pub report: RunReport,
    /// Why it ended early, if it did.
    pub error: Option<RunError>,
}

/// Runs all `jobs`, those that share their skip sets in lockstep, and writes the files of each as
/// it ends. The results are in the order of `jobs` and do not depend on `resources`.
///
/// # Errors
/// The first error; nothing half-written stays behind. [`RunsError::NoRoom`] is found before the
/// first run.
pub fn simulate(
    jobs: &[Job<'_>],
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<Finished>, RunsError> {
    // As many threads as cores even for fewer jobs, as the files of one run are written on several.
    let pool = Pool::new(resources, jobs.len().max(cores()), cancel, progress)?;
    let needed = jobs.iter().map(|job| pool.check(job.scenario, report::memory_needed(job.scenario)));
    let needed = needed.collect::<Result<Vec<Bytes>, NoRoom>>()?;
    let threads = pool.threads();
    let groups = within(groups(jobs, threads), &needed, pool.memory());
    let skip_thread = if groups.len() < threads { SkipThread::Background } else { SkipThread::Inline };
    let finished = pool.map(groups, |group| {
        let reserved = pool.hold(group.iter().map(|&index| needed[index]).sum())?;
        let ended = run_group(&pool, jobs, group, skip_thread)?;
        // Several threads write files: a thread that does must not wait for memory.
        drop(reserved);
        ended.into_iter().map(|run| files_of(&pool, jobs, run)).collect::<Result<Vec<_>, RunsError>>()
    })?;
    let mut finished: Vec<(usize, Finished)> = finished.into_iter().flatten().collect();
    finished.sort_by_key(|(index, _)| *index);
    Ok(finished.into_iter().map(|(_, finished)| finished).collect())
}

/// Groups of jobs that share their skip sets, split into enough groups for `threads` threads; the
/// group with the most work first.
fn groups(jobs: &[Job<'_>], threads: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        match groups.iter_mut().find(|group| jobs[group[0]].scenario.shares_skips(job.scenario)) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    let work_of = |group: &Vec<usize>| group.iter().map(|&index| work(jobs[index].scenario)).sum::<u64>();
    // Twice as many groups as threads, so that no thread waits long for the last group.
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

/// An estimate proportional to the time that a run takes: steps × tokens × layers, of each
/// sequence; of requests output tokens × layers, of which each is about as much work as a step over
/// a thousand tokens.
fn work(scenario: &Scenario) -> u64 {
    if scenario.requests().is_some() {
        let regions = scenario.model().kv_regions() as u64;
        return scenario.progress_units().saturating_mul(1024).saturating_mul(regions);
    }
    let of = |sequence: &Sequence| sequence.decode as u64 * (sequence.prefill + sequence.decode) as u64;
    scenario.sequences().all().iter().map(of).sum::<u64>() * scenario.model().kv_regions() as u64
}

/// A run that has ended, by the index of its job, with its timeline if one was asked for.
type Ended = (usize, Finished, Option<Timeline>);

/// Runs the jobs of a group in lockstep.
fn run_group(
    pool: &Pool<'_>,
    jobs: &[Job<'_>],
    group: Vec<usize>,
    skip_thread: SkipThread,
) -> Result<Vec<Ended>, RunsError> {
    if let [index] = group[..]
        && jobs[index].scenario.requests().is_some()
    {
        let (report, error) = pool.measure(jobs[index].scenario)?;
        return Ok(vec![(index, Finished { report, error }, None)]);
    }
    let (is_over, advance) = (|| pool.is_over(), |steps| pool.progress().advance(steps));
    let scenarios: Vec<&Scenario> = group.iter().map(|&index| jobs[index].scenario).collect();
    let mut probes: Vec<_> = group
        .iter()
        .map(|&index| {
            let Job { scenario, timeline, .. } = &jobs[index];
            let timeline = timeline.clone().map(|steps| Timeline::new(scenario, steps));
            (Recorder::new(scenario), (Watch::new(&is_over, &advance), timeline))
        })
        .collect();
    let outcomes = run_in_lockstep(&scenarios, skip_thread, &mut probes)?;
    let ended = group.into_iter().zip(probes).zip(outcomes).map(|((index, (recorder, (watch, timeline))), outcome)| {
        watch.finish();
        pool.progress().ended();
        let report = recorder.finish(jobs[index].scenario, &outcome);
        (index, Finished { report, error: outcome.error }, timeline)
    });
    Ok(ended.collect())
}

/// Writes the files of a run that has ended.
fn files_of(
    pool: &Pool<'_>,
    jobs: &[Job<'_>],
    (index, mut finished, timeline): Ended,
) -> Result<(usize, Finished), RunsError> {
    let (job, Finished { report, .. }) = (&jobs[index], &mut finished);
    let step = Step::new(report.summary.steps as usize);
    report.charge(job.scenario).map_err(|source| RunError::Trace { step, source })?;
    let mut files = report::run_files(report)?;
    if let Some(timeline) = &timeline {
        files.extend(report::timeline_files(timeline)?);
    }
    // An interruption between computing and writing counts: nothing is written then.
    if pool.is_over() {
        return Err(RunError::Interrupted.into());
    }
    report::write_run(&job.folder, &files)?;
    if jobs.len() > 1 {
        // From here on the histograms of all finished runs are in memory at once.
        report.histograms.shrink();
    }
    Ok((index, finished))
}
