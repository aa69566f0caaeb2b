//! Runs of a setting's strategies side by side, in memory.
//!
//! Each strategy has a thread. Runs in lockstep would share their skip sets, but take longer: of 64
//! steps of `gh200` with 40 % skipped, `baseline` takes 0.43 s, `balanced-online` 0.58 s, and both
//! in lockstep 1.02 s, as few of the instructions generate skip sets.

use super::lines::Writer;
use super::state::Scenarios;
use crate::metrics::{Recorder, RunReport};
use crate::simulation::{Outcome, Room, RunError, Scenario, Watch, run};
use crate::units::Bytes;

/// A run, or why there is none.
pub type Ran = Result<RunReport, String>;

/// Runs all of `scenarios`, in the order in which they are. `None` if the answer is not wanted any
/// more.
pub fn simulate(scenarios: &Scenarios, room: &Room, writer: &Writer) -> Option<Vec<Ran>> {
    let fits = |scenario: &Scenario| room.check(scenario, Bytes::ZERO).map_err(|error| error.to_string());
    let checked: Vec<Result<(&Scenario, Bytes), String>> = scenarios
        .iter()
        .map(|(_, scenario)| scenario.as_ref().map_err(Clone::clone).and_then(|it| Ok((it, fits(it)?))))
        .collect();
    let possible: Vec<&Scenario> = checked.iter().flatten().map(|(scenario, _)| *scenario).collect();
    let needed: Bytes = checked.iter().flatten().map(|(_, needed)| *needed).sum();
    let _held = room.hold(needed, || writer.is_over())?;
    let mut ran = apart(&possible, writer)?.into_iter();
    if writer.is_over() {
        return None;
    }
    let missing = || Err("it was not simulated".to_owned());
    Some(checked.into_iter().map(|it| it.and_then(|_| ran.next().unwrap_or_else(missing))).collect())
}

/// A thread for each but the first; `None` if they are to end.
fn apart(scenarios: &[&Scenario], writer: &Writer) -> Option<Vec<Ran>> {
    let Some((first, others)) = scenarios.split_first() else { return Some(Vec::new()) };
    std::thread::scope(|scope| {
        let spawned: Vec<_> = others.iter().map(|scenario| scope.spawn(|| one(scenario, writer))).collect();
        let mut ran = vec![one(first, writer)];
        for thread in spawned {
            ran.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        ran.into_iter().collect()
    })
}

/// `None` if it is to end.
fn one(scenario: &Scenario, writer: &Writer) -> Option<Ran> {
    let (is_over, advance) = (|| writer.is_over(), |_| ());
    let mut probe = (Recorder::new(scenario), Watch::new(&is_over, &advance));
    match run(scenario, &mut probe) {
        Ok(outcome) => Some(finished(probe.0, scenario, &outcome)),
        Err(RunError::Interrupted) => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

fn finished(recorder: Recorder, scenario: &Scenario, outcome: &Outcome) -> Ran {
    match &outcome.error {
        Some(error) => Err(error.to_string()),
        None => Ok(recorder.finish(scenario, outcome)),
    }
}
