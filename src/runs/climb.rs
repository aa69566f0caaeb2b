use super::{Cancel, Pool, Progress, Resources, RunsError};
use crate::explain::{Ladder, Run};
use crate::metrics::WaitRecorder;
use crate::simulation::{Ideal, NoRoom, Scenario};
use crate::units::Bytes;

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
