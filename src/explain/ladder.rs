use super::ExplainError;
use crate::metrics::WaitRecorder;
use crate::simulation::{Ideal, Idealization, Room, RunError, Scenario, Watch, run};
use crate::units::Bytes;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use std::sync::atomic::{AtomicBool, Ordering};

/// The runs that explain a scenario: as it is, then with one more thing idealized each.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// In that order.
    pub runs: Vec<Run>,
    /// What makes no difference to the scenario, and has no run.
    pub without_effect: Vec<Ideal>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it is spared that the one before was not; nothing in the first.
    pub spared: Option<Ideal>,
    /// Its steps, and what they waited for.
    pub waits: WaitRecorder,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

impl Ladder {
    /// What makes a difference to `scenario`, in the order in which it is idealized.
    #[must_use]
    pub fn ideals(scenario: &Scenario) -> Vec<Ideal> {
        Ideal::ALL.into_iter().filter(|ideal| scenario.is_affected_by(*ideal)).collect()
    }

    /// Runs `scenario` and its idealizations, so many at a time (0: one a core), as far as they
    /// have `room`. `advance` is told how many steps more have been simulated; `cancel` ends all
    /// runs at their next step. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`ExplainError`]: as [`run`], or what stands against an idealized scenario.
    pub fn climb(
        scenario: &Scenario,
        threads: usize,
        room: &Room,
        cancel: &AtomicBool,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, ExplainError> {
        let mut scenarios = vec![(None, scenario.clone())];
        let mut idealization = Idealization::NONE;
        for ideal in Self::ideals(scenario) {
            idealization = idealization.with(ideal);
            let idealized = scenario.idealized(idealization);
            let idealized = idealized.map_err(|source| ExplainError::Scenario { ideal, source: Box::new(source) })?;
            scenarios.push((Some(ideal), idealized));
        }
        let needed = scenarios.iter().map(|(_, scenario)| room.check(scenario, Bytes::ZERO));
        let needed: Bytes = needed.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or_default();
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = if threads == 0 { cores() } else { threads }.min(scenarios.len());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
        let pool = pool.map_err(|error| ExplainError::Threads { jobs, message: error.to_string() })?;
        let one = |(spared, scenario): &(Option<Ideal>, Scenario)| -> Result<Run, RunError> {
            let is_over = || cancel.load(Ordering::Relaxed);
            let _held = room.hold(needed, is_over).ok_or(RunError::Interrupted)?;
            let watch = Watch::new(&is_over, advance);
            let mut probe = (WaitRecorder::new(scenario.memory()), watch);
            let outcome = run(scenario, &mut probe)?;
            let (waits, watch) = probe;
            watch.finish();
            Ok(Run { spared: *spared, waits, error: outcome.error.map(|error| error.to_string()) })
        };
        // One at a time to each thread: they take about as long.
        let runs = pool.install(|| scenarios.par_iter().with_max_len(1).map(one).collect::<Result<Vec<_>, _>>())?;
        let without_effect = Ideal::ALL.into_iter().filter(|ideal| !idealization.has(*ideal)).collect();
        Ok(Self { runs, without_effect })
    }
}
