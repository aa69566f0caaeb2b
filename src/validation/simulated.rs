//! Cases simulated: each as a run of its own, all of them on the threads of a pool.

use super::case::Case;
use super::error::InvalidCase;
use super::measured::Metric;
use super::served::{MeasuredRunning, Running, Served, served};
use crate::runs::{Cancel, Pool, Progress, Resources, RunsError};
use crate::simulation::{Probe, RunError, Scenario, StepRecord};
use crate::units::{Bytes, SimTime};
use std::cmp::Reverse;
use std::ops::ControlFlow;

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The simulated figure, in the unit of the measured one.
    Simulated(f64),
    /// It does not fit its machine, and why.
    Failed(String),
}

/// A case and what came of it.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The case.
    pub case: Case,
    /// What came of it.
    pub outcome: Outcome,
    /// How many requests ran over time, where that was measured.
    pub running: Option<Running>,
}

/// Cases that are checked, with the scenario of each, or why it has none.
pub struct Checked(Vec<(Case, Result<Ready, Outcome>)>);

/// What a case needs to run.
struct Ready {
    scenario: Scenario,
    /// How many requests were measured to run over time.
    running: Option<MeasuredRunning>,
}

impl Checked {
    /// Builds the scenarios of `cases`, so that nothing runs if one of them is not valid.
    ///
    /// # Errors
    /// [`InvalidCase`] for the first case that is not valid.
    pub fn new(cases: Vec<Case>) -> Result<Self, InvalidCase> {
        let checked = cases.into_iter().map(|case| match case.scenario() {
            Err(InvalidCase::Scenario { source, .. }) if source.is_of_room() => {
                Ok((case, Err(Outcome::Failed(source.to_string()))))
            }
            Err(error) => Err(error),
            Ok(scenario) => {
                let running = MeasuredRunning::of(&scenario)?;
                Ok((case, Ok(Ready { scenario, running })))
            }
        });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }

    /// How many steps are simulated in all.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.iter().filter_map(|(_, ready)| Some(ready.as_ref().ok()?.scenario.steps() as u64)).sum()
    }
}

/// Simulates all cases. The results are in their order and do not depend on `resources`.
///
/// # Errors
/// [`RunsError`] if a run is interrupted or there is no room for it.
pub fn validate(
    Checked(checked): Checked,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<Simulated>, RunsError> {
    let pool = Pool::new(resources, checked.len(), cancel, progress)?;
    let mut tasks: Vec<(usize, &Ready, Metric)> = Vec::with_capacity(checked.len());
    tasks.extend(
        checked
            .iter()
            .enumerate()
            .filter_map(|(index, (case, it))| Some((index, it.as_ref().ok()?, case.measured.metric))),
    );
    // The longest run first, so that no thread is left with it at the end.
    tasks.sort_by_key(|(_, Ready { scenario, .. }, _)| {
        Reverse(scenario.steps() * scenario.model().stages().len() * scenario.sequences().count())
    });
    let ended = pool.map(tasks, |(index, Ready { scenario, running }, metric)| {
        let _held = pool.hold(pool.check(scenario, Bytes::ZERO)?)?;
        let ended = match scenario.requests() {
            Some(requests) => served(&pool, scenario, requests, metric, running.as_ref())?,
            None => Served { seconds: seconds(&pool, scenario, metric)?, running: None },
        };
        Ok::<_, RunsError>((index, ended))
    })?;
    let mut simulated: Vec<Simulated> = Vec::with_capacity(checked.len());
    let mut results: Vec<Option<Served>> = checked.iter().map(|_| None).collect();
    for (index, result) in ended {
        results[index] = Some(result);
    }
    for ((case, ready), result) in checked.into_iter().zip(results) {
        let (outcome, running) = match (ready, result) {
            (Err(outcome), _) => (outcome, None),
            (Ok(_), Some(Served { seconds: Ok(seconds), running })) => {
                (Outcome::Simulated(case.measured.of_seconds(seconds, case.tokens())), running)
            }
            (Ok(_), Some(Served { seconds: Err(reason), .. })) => (Outcome::Failed(reason), None),
            (Ok(_), None) => (Outcome::Failed("it was not run".to_owned()), None),
        };
        simulated.push(Simulated { case, outcome, running });
    }
    Ok(simulated)
}

/// What `metric` is about, in seconds; or why the run did not get to its end.
fn seconds(pool: &Pool<'_>, scenario: &Scenario, metric: Metric) -> Result<Result<f64, String>, RunsError> {
    let times = Times { warmup: scenario.warmup(), ..Times::default() };
    match pool.run(scenario, times) {
        Ok((times, outcome)) => Ok(match outcome.error {
            Some(error) => Err(error.to_string()),
            None => times.of(metric, scenario).ok_or_else(|| format!("no step after the warm-up is part of {metric}")),
        }),
        Err(error @ RunError::Layout(_)) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Adds up the latencies of the steps after the warm-up.
#[derive(Default)]
struct Times {
    warmup: usize,
    /// Steps that decode.
    steps: u64,
    decoding: SimTime,
    /// Tokens of prompts, and the time of the steps that compute them.
    prompt_tokens: u64,
    prefill: SimTime,
    /// When each prompt has ended, added up over them.
    prompts: u64,
    first_tokens: f64,
}

impl Times {
    fn of(&self, metric: Metric, scenario: &Scenario) -> Option<f64> {
        let seconds = |time: SimTime| time.as_ps() as f64 * 1e-12;
        match metric {
            Metric::Ttft => (self.prompts > 0).then(|| self.first_tokens / self.prompts as f64),
            // As long as all prompts would have taken at the rate of the steps that count.
            Metric::PrefillTokensPerS => (self.prompt_tokens > 0).then(|| {
                let all: usize = scenario.sequences().all().iter().map(|sequence| sequence.prefill).sum();
                seconds(self.prefill) * all as f64 / self.prompt_tokens as f64
            }),
            Metric::Tpot | Metric::TokensPerS | Metric::Step | Metric::Kernel => {
                (self.steps > 0).then(|| seconds(self.decoding) / self.steps as f64)
            }
            Metric::E2e => None,
        }
    }
}

impl Probe for Times {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        let ended = step.batch.chunks.iter().filter(|chunk| chunk.is_last).count() as u64;
        self.prompts += ended;
        self.first_tokens += ended as f64 * step.ended.as_ps() as f64 * 1e-12;
        if step.step.index() >= self.warmup {
            if !step.batch.decoding.is_empty() {
                self.steps += 1;
                self.decoding += step.latency;
            }
            if !step.batch.chunks.is_empty() {
                self.prompt_tokens += step.batch.prompt_tokens() as u64;
                self.prefill += step.latency;
            }
        }
        ControlFlow::Continue(())
    }
}
