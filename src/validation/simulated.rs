//! Cases simulated: each as a run of its own, all of them on the threads of a pool.

use super::case::Case;
use super::error::InvalidCase;
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
    /// It cannot be simulated yet, and why.
    NotYet(String),
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
}

/// Cases that are checked, with the scenario of each, or why it has none.
pub struct Checked(Vec<(Case, Result<Scenario, Outcome>)>);

impl Checked {
    /// Builds the scenarios of `cases`, so that nothing runs if one of them is not valid.
    ///
    /// # Errors
    /// [`InvalidCase`] for the first case that is not valid.
    pub fn new(cases: Vec<Case>) -> Result<Self, InvalidCase> {
        let checked = cases.into_iter().map(|case| match case.scenario() {
            Err(InvalidCase::Scenario { source, .. }) if source.is_of_room() => {
                let outcome = case.not_yet().map_or_else(|| Outcome::Failed(source.to_string()), Outcome::NotYet);
                Ok((case, Err(outcome)))
            }
            Err(error) => Err(error),
            Ok(scenario) => {
                let not_yet = case.not_yet().map(Outcome::NotYet);
                Ok((case, not_yet.map_or(Ok(scenario), Err)))
            }
        });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }

    /// How many steps are simulated in all.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.iter().filter_map(|(_, scenario)| Some(scenario.as_ref().ok()?.decode() as u64)).sum()
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
    let mut tasks: Vec<(usize, &Scenario)> = Vec::with_capacity(checked.len());
    tasks.extend(checked.iter().enumerate().filter_map(|(index, (_, it))| Some((index, it.as_ref().ok()?))));
    // The longest run first, so that no thread is left with it at the end.
    tasks.sort_by_key(|(_, scenario)| Reverse(scenario.decode() * scenario.model().stages().len()));
    let ended = pool.map(tasks, |(index, scenario)| {
        let _held = pool.hold(pool.check(scenario, Bytes::ZERO)?)?;
        Ok::<_, RunsError>((index, mean_step(&pool, scenario)?))
    })?;
    let mut simulated: Vec<Simulated> = Vec::with_capacity(checked.len());
    let mut means = vec![None; checked.len()];
    for (index, mean) in ended {
        means[index] = Some(mean);
    }
    for ((case, scenario), mean) in checked.into_iter().zip(means) {
        let outcome = match (scenario, mean) {
            (Err(outcome), _) => outcome,
            (Ok(_), Some(Ok(seconds))) => Outcome::Simulated(case.measured.of_step(seconds, case.batch)),
            (Ok(_), Some(Err(reason))) => Outcome::Failed(reason),
            (Ok(_), None) => Outcome::Failed("it was not run".to_owned()),
        };
        simulated.push(Simulated { case, outcome });
    }
    Ok(simulated)
}

/// The mean time of a step in seconds, after the scenario's warm-up; or why the run did not get to
/// its end.
fn mean_step(pool: &Pool<'_>, scenario: &Scenario) -> Result<Result<f64, String>, RunsError> {
    let mean = MeanStep { warmup: scenario.warmup(), steps: 0, total: SimTime::ZERO };
    match pool.run(scenario, mean) {
        Ok((mean, outcome)) => Ok(match outcome.error {
            Some(error) => Err(error.to_string()),
            None => Ok(mean.total.as_ps() as f64 * 1e-12 / mean.steps as f64),
        }),
        Err(error @ RunError::Layout(_)) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Adds up the latencies of the steps after the warm-up.
struct MeanStep {
    warmup: usize,
    steps: u64,
    total: SimTime,
}

impl Probe for MeanStep {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        if step.step.index() >= self.warmup {
            self.steps += 1;
            self.total += step.latency;
        }
        ControlFlow::Continue(())
    }
}
