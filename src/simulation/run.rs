//! Running scenarios: one, one with parts or a workload of your own, or several in lockstep.

use super::engine::{Advanced, Engine};
use super::probe::Probe;
use super::scenario::Scenario;
use super::stored::Stored;
use crate::memory::{LaneLoad, PerClass, Shortage};
use crate::strategy::Parts;
use crate::units::{Bytes, LayerId, SimTime, Step};
use crate::workload::{Ahead, Decode, Fan, Shape, SkipSource, TraceError, Workload};
use thiserror::Error;

/// Why a run did not get to its end.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RunError {
    /// Nothing was simulated.
    #[error("the weights and the prefill KV cannot be laid out: {0}. Enlarge the tier or lower prefill_tokens")]
    Layout(Shortage),
    #[error(
        "step {step}, layer {layer}: the KV of the token just computed fits nowhere: {shortage}. Enlarge the tier or decode fewer tokens"
    )]
    OutOfMemory { step: Step, layer: LayerId, shortage: Shortage },
    #[error("the trace cannot be read on at step {step}: {source}")]
    Trace { step: Step, source: TraceError },
    #[error("step {step}: simulated time ran past the clock's 213 days: the bandwidths are too low for the bytes")]
    ClockOverflow { step: Step },
    #[error("interrupted")]
    Interrupted,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended early, if it did.
    pub error: Option<RunError>,
    /// How many steps were simulated to their end.
    pub steps: usize,
    /// From the start of the first step to the end of the last. Transfers in flight then (posted
    /// writes, migrations) are carried to their end, which counts in their class and on their lanes
    /// but not here.
    pub simulated: SimTime,
    /// When the last transfer was complete.
    pub drained: SimTime,
    /// How many events were handled.
    pub events: u64,
    /// The most bytes in use on each tier at any moment.
    pub peak: Vec<Bytes>,
    /// Where the bytes were before the first step.
    pub at_start: Stored,
    /// Where they were when the run ended.
    pub at_end: Stored,
    /// What each lane did.
    pub lanes: Vec<LaneLoad>,
    /// Bytes issued, by class.
    pub issued: PerClass<Bytes>,
    /// Bytes completed, and what was carried of dropped moves until then, by class.
    pub completed: PerClass<Bytes>,
    /// Bytes of dropped transfers that were not carried, by class: what is issued is completed,
    /// dropped or in flight.
    pub dropped: PerClass<Bytes>,
    /// Bytes in flight when the run ended, by class: none after a complete run.
    pub in_flight: PerClass<Bytes>,
}

/// Simulates `scenario`, and calls `probe` with what happens.
///
/// A run that ends early for want of memory or time is an [`Outcome`] with an error: what was
/// simulated counts.
///
/// # Errors
/// [`RunError`] for what is wrong with the input or interrupts the run: its layout does not fit, its
/// trace cannot be read, the probe asked for it.
///
/// ```
/// use tiersim::simulation::{Scenario, ScenarioConfig, run};
/// let mut config = ScenarioConfig::load("study")?;
/// config.decode_tokens = 4;
/// let outcome = run(&Scenario::new(config)?, &mut ())?;
/// assert_eq!(outcome.steps, 4);
/// assert!(outcome.error.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run<P: Probe>(scenario: &Scenario, probe: &mut P) -> Result<Outcome, RunError> {
    run_with(scenario, scenario.strategy().build(), probe)
}

/// As [`run`], with `parts` in the place of the scenario's strategy: with parts that no list names.
///
/// # Errors
/// As [`run`].
pub fn run_with<P: Probe>(scenario: &Scenario, parts: Parts, probe: &mut P) -> Result<Outcome, RunError> {
    let skips = scenario.skips().map_err(at_first_step)?;
    let workload = decode(scenario, &parts, skips)?;
    run_workload(scenario, parts, workload, probe)
}

/// As [`run_with`], with a `workload` in the place of the scenario's: what is stored where, how pages
/// are kept and on which machine are still the scenario's.
///
/// # Errors
/// As [`run`].
pub fn run_workload<P: Probe, W: Workload>(
    scenario: &Scenario,
    parts: Parts,
    workload: W,
    probe: &mut P,
) -> Result<Outcome, RunError> {
    let mut engine = Engine::new(scenario, parts, workload, probe)?;
    loop {
        match engine.advance()? {
            Advanced::Step => {}
            Advanced::End => return Ok(engine.finish(None)),
            Advanced::Stopped(error) => return Ok(engine.finish(Some(error))),
        }
    }
}

/// On which thread the skip sets of runs are generated, or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipThread {
    /// On the thread of the runs, between their steps.
    Inline,
    /// On a thread of their own, ahead of the runs: for a core that has nothing else to do.
    Background,
}

/// As [`run`], of several scenarios that [share their skip sets](Scenario::shares_skips), in
/// lockstep: a step of each in turn. The sets are generated once for all, and are not in memory for
/// longer than the runs need them. The results are the same.
///
/// # Errors
/// As [`run`], for the first that fails; the others do not go on.
///
/// # Panics
/// If there are not as many probes as scenarios.
pub fn run_in_lockstep<P: Probe>(
    scenarios: &[&Scenario],
    thread: SkipThread,
    probes: &mut [P],
) -> Result<Vec<Outcome>, RunError> {
    assert_eq!(scenarios.len(), probes.len(), "each run has its probe");
    let Some(first) = scenarios.first() else { return Ok(Vec::new()) };
    debug_assert!(scenarios.iter().all(|scenario| scenario.shares_skips(first)));
    let Shape { layers, prefill, decode: steps, .. } = first.shape();
    let mut skips = first.skips().map_err(at_first_step)?;
    if thread == SkipThread::Background {
        skips = Ahead::start(skips, layers, prefill, steps);
    }
    let readers = Fan::out(skips, layers, prefill + steps, scenarios.len());
    let mut going = Vec::with_capacity(scenarios.len());
    for (index, ((scenario, probe), skips)) in scenarios.iter().zip(probes).zip(readers).enumerate() {
        let parts = scenario.strategy().build();
        let workload = decode(scenario, &parts, Box::new(skips))?;
        going.push((index, Engine::new(scenario, parts, workload, probe)?));
    }
    let mut ended = Vec::with_capacity(scenarios.len());
    while !going.is_empty() {
        let mut at = 0;
        while at < going.len() {
            let error = match going[at].1.advance()? {
                Advanced::Step => {
                    at += 1;
                    continue;
                }
                Advanced::End => None,
                Advanced::Stopped(error) => Some(error),
            };
            let (index, engine) = going.remove(at);
            ended.push((index, engine.finish(error)));
        }
    }
    ended.sort_by_key(|(index, _)| *index);
    Ok(ended.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The workload of a scenario: it decodes one sequence.
fn decode(scenario: &Scenario, parts: &Parts, skips: Box<dyn SkipSource + Send>) -> Result<Decode, RunError> {
    Decode::new(scenario.model(), scenario.shape(), skips, parts.look_ahead()).map_err(at_first_step)
}

fn at_first_step(source: TraceError) -> RunError {
    RunError::Trace { step: Step::default(), source }
}
