use super::{Cancel, Pool, Progress, Resources, RunsError};
use crate::explain::{Ladder, Run, ServingExplanation, ServingRun, serving_ladder};
use crate::metrics::WaitRecorder;
use crate::simulation::{Ideal, NoRoom, Scenario, ServingIdeal};
use crate::units::Bytes;
use std::sync::Arc;

/// Runs `scenario` and its idealizations. The result does not depend on `resources`.
///
/// # Errors
/// [`RunsError`]: as [`run()`](crate::simulation::run), or an idealized scenario is not valid.
pub fn climb(
    scenario: &Scenario,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Ladder, RunsError> {
    let scenarios = Ladder::scenarios(scenario)?;
    let pool = Pool::new(resources, scenarios.len(), cancel, progress)?;
    let needed = scenarios.iter().map(|(_, scenario)| pool.check(scenario, Bytes::ZERO));
    let needed: Bytes = needed.collect::<Result<Vec<_>, NoRoom>>()?.into_iter().max().unwrap_or_default();
    let one = |(idealized, scenario): (Option<Ideal>, Scenario)| -> Result<Run, RunsError> {
        let _held = pool.hold(needed)?;
        let (waits, outcome) = pool.run(&scenario, WaitRecorder::new(scenario.memory()))?;
        Ok(Run { idealized, waits, error: outcome.error.map(|error| error.to_string()) })
    };
    Ok(Ladder::new(pool.map(scenarios, one)?))
}

/// Explains a scenario that serves requests: runs it and its idealizations. The result does not
/// depend on `resources`.
///
/// # Errors
/// [`RunsError`]: as [`serve`](crate::simulation::serve), or an idealized scenario is not valid, or
/// no request is finished.
pub fn climb_serving(
    scenario: &Scenario,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<ServingExplanation, RunsError> {
    let scenarios = serving_ladder(scenario)?;
    let pool = Pool::new(resources, scenarios.len(), cancel, progress)?;
    let needed = scenarios.iter().map(|(_, scenario)| pool.check(scenario, Bytes::ZERO));
    let needed: Bytes = needed.collect::<Result<Vec<_>, NoRoom>>()?.into_iter().max().unwrap_or_default();
    let one = |(idealized, scenario): (Option<ServingIdeal>, Scenario)| -> Result<ServingRun, RunsError> {
        let _held = pool.hold(needed)?;
        let requests = Arc::clone(scenario.requests().expect("the ladder of a scenario that serves requests"));
        let ((), outcome) = pool.serve(&scenario, &requests, ())?;
        Ok(ServingRun { idealized, records: outcome.records, error: outcome.error.map(|error| error.to_string()) })
    };
    Ok(ServingExplanation::new(scenario, &pool.map(scenarios, one)?)?)
}
