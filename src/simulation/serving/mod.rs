//! A serving engine's steps, in time: requests of a scenario on its memory system.
//!
//! The [`Scheduler`] decides what each step computes and which KV moves; this engine simulates the
//! steps on a [`Machine`](crate::memory::Machine). A step is the list of the model's stages, as in
//! a run of given sequences: reads of weights and KV on all tiers at once, compute, fixed times and
//! posted writes of new KV. Loads, stores and swaps are transfers on the same lanes.
//!
//! KV is counted in pages of all layers; where a page lies within a tier makes no difference. So a
//! step costs no more than its different stages: where nothing else is in flight, layers that are
//! alike take the same time, and are simulated once.

mod decides;
mod kinds;
mod layout;
mod moves;
mod outcome;
mod probe;
mod run;
mod shape;
mod spans;
mod weights;

#[cfg(test)]
mod tests;

pub use outcome::{ServingOutcome, ServingWaits};
pub use probe::{MoveRecord, ServingProbe, ServingRecord, TransferRecord};

use super::outcome::RunError;
use super::scenario::Scenario;
use crate::workload::{Requests, Scheduler};
use layout::ServingLayout;
use run::{Pace, Serving};
use std::sync::Arc;

/// Serves the requests of `scenario`, and calls `probe` with what happens.
///
/// # Errors
/// [`RunError`] for what is wrong with the input or interrupts the run.
pub fn serve<P: ServingProbe>(
    scenario: &Scenario,
    requests: &Arc<Requests>,
    probe: &mut P,
) -> Result<ServingOutcome, RunError> {
    serve_at(scenario, requests, probe, Pace::Jumping)
}

/// As [`serve`], with every stage of every layer simulated: slower, and the same results.
///
/// # Errors
/// As [`serve`].
pub fn serve_stage_by_stage<P: ServingProbe>(
    scenario: &Scenario,
    requests: &Arc<Requests>,
    probe: &mut P,
) -> Result<ServingOutcome, RunError> {
    serve_at(scenario, requests, probe, Pace::StageByStage)
}

fn serve_at<P: ServingProbe>(
    scenario: &Scenario,
    requests: &Arc<Requests>,
    probe: &mut P,
    pace: Pace,
) -> Result<ServingOutcome, RunError> {
    let layout = ServingLayout::new(scenario, requests)?;
    let scheduler = Scheduler::new(Arc::clone(requests), layout.room, scenario.page_size());
    Serving::new(scenario, requests, layout, scheduler, probe, pace).finish()
}
