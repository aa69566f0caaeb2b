//! A serving engine's steps, in time: requests of a scenario on its memory system.
//!
//! The [`Scheduler`] decides what each step computes and which KV moves; this engine simulates the
//! steps on a [`Machine`](crate::memory::Machine). A step is the list of the model's stages, as in
//! a run of given sequences: reads of weights and KV on all tiers at once, compute, fixed times and
//! posted writes of new KV. Loads, stores and swaps are transfers on the same lanes. One request
//! takes the time of a run of one sequence, to the picosecond.
//!
//! | file | question |
//! | --- | --- |
//! | `layout.rs` | where do weights lie, and what room is left to KV? |
//! | `kinds.rs` | which stages has the model, and which are alike? |
//! | `shape.rs` | what does a step compute, added up over its requests? |
//! | `weights.rs` | what does a stage read of its weights? |
//! | `run.rs` | how does a step unfold, stage by stage? |
//! | `moves.rs` | which KV moves? |
//! | `spans.rs` | what is like something before, and need not be simulated? |
//! | `decides.rs` | who decides? |
//!
//! # What is passed over
//! A machine on which nothing is in flight keeps nothing of what it has carried. So a stage that
//! begins and ends so takes the same time whenever it reads and computes the same: in all layers
//! that are alike, and where it reads no KV in all steps of as many tokens and requests. It is
//! simulated once, and the clock set forward for the others. [`serve_stage_by_stage`] passes over
//! nothing, and gives the same.
//!
//! # What is approximate
//! * KV is counted in pages of all layers; where a page lies within a tier makes no difference. On
//!   a tier with hashed pages, KV is spread evenly over its channels.
//! * A layer with an attention window reads the KV of its window alone, but takes and moves as much
//!   as one without.
//! * Recurrent state lies in the first tier, where there is room for that of as many requests as
//!   may run at once. It does not move, and prompts found in a cache have theirs.
//! * What a request that has ended has still to write is written, as it may be kept for others. A
//!   run drops it.
//! * The KV of a layer is read when all writes of that layer to the same tier are complete, those
//!   of other requests included.

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
use run::{Detail, Serving};
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
    serve_at(scenario, requests, probe, Detail::Jumping)
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
    serve_at(scenario, requests, probe, Detail::StageByStage)
}

fn serve_at<P: ServingProbe>(
    scenario: &Scenario,
    requests: &Arc<Requests>,
    probe: &mut P,
    detail: Detail,
) -> Result<ServingOutcome, RunError> {
    let layout = ServingLayout::new(scenario, requests)?;
    let scheduler = Scheduler::new(Arc::clone(requests), layout.room, scenario.page_size());
    Serving::new(scenario, requests, layout, scheduler, probe, detail).finish()
}
