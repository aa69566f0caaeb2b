//! Running scenarios: one, one with parts or a workload of your own, or several in lockstep.

use super::engine::{Advanced, Engine};
use super::outcome::{Outcome, RunError};
use super::probe::Probe;
use super::scenario::Scenario;
use crate::strategy::Parts;
use crate::units::Step;
use crate::workload::{Ahead, Batch, Fan, RoutedExperts, SequenceSkips, Shape, TraceError, Workload};

/// Simulates `scenario`, and calls `probe` with what happens.
///
/// A run that ends early for want of memory or time is an [`Outcome`] with an error: what was
/// simulated counts.
///
/// # Errors
/// [`RunError`] for what is wrong with the input or interrupts the run: its layout does not fit,
/// its trace cannot be read, the probe asked for it.
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
    run_with(scenario, scenario.parts(), probe)
}

/// As [`run`], with `parts` in the place of the scenario's strategy: with parts that no list names.
///
/// # Errors
/// As [`run`].
pub fn run_with<P: Probe>(scenario: &Scenario, parts: Parts, probe: &mut P) -> Result<Outcome, RunError> {
    let skips = scenario.all_skips().map_err(at_first_step)?;
    let workload = batch(scenario, &parts, skips)?;
    run_workload(scenario, parts, workload, probe)
}

/// As [`run_with`], with a `workload` in the place of the scenario's: what is stored where, how
/// pages are kept and on which machine are still the scenario's.
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
    let mut readers: Vec<Vec<SequenceSkips>> = scenarios.iter().map(|_| Vec::new()).collect();
    for (sequence, skips) in first.sequences().all().iter().zip(first.all_skips().map_err(at_first_step)?) {
        let Some(mut skips) = skips else {
            readers.iter_mut().for_each(|of_run| of_run.push(None));
            continue;
        };
        let Shape { layers, prefill, decode, .. } = first.shape_of(sequence);
        // A thread for each of many sequences would be more than there are cores.
        if thread == SkipThread::Background && first.sequences().count() == 1 {
            skips = Ahead::start(skips, layers, prefill, decode);
        }
        let fan = Fan::out(skips, layers, prefill + decode, scenarios.len());
        readers.iter_mut().zip(fan).for_each(|(of_run, reader)| of_run.push(Some(Box::new(reader))));
    }
    let mut going = Vec::with_capacity(scenarios.len());
    for (index, ((scenario, probe), skips)) in scenarios.iter().zip(probes).zip(readers).enumerate() {
        let parts = scenario.parts();
        let workload = batch(scenario, &parts, skips)?;
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

/// The workload of a scenario: its sequences, which skip what `skips` says.
fn batch(scenario: &Scenario, parts: &Parts, skips: Vec<SequenceSkips>) -> Result<Batch, RunError> {
    let (model, runtime, sequences) = (scenario.model(), scenario.runtime(), scenario.sequences());
    let source = scenario.routing().map_err(at_first_step)?;
    let routed = scenario.experts().cloned().zip(source).map(|(experts, source)| RoutedExperts { experts, source });
    Batch::new(model, runtime, sequences, scenario.page_size(), skips, parts.look_ahead(), routed)
        .map_err(at_first_step)
}

fn at_first_step(source: TraceError) -> RunError {
    RunError::Trace { step: Step::default(), source }
}
