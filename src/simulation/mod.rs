//! A run: a scenario, simulated step by step on the event engine.
//!
//! * [`ScenarioConfig`] is what a person typed; [`Scenario`] is checked, with all that it names
//!   read in.
//! * [`run`] simulates it and calls a [`Probe`] with what happens. Probes measure; the engine
//!   reports nothing itself. [`run_workload`] runs any [`Workload`](crate::workload::Workload).
//!
//! # The rules of an instant
//! 1. All events that are due are handled, in the calendar's order
//!    ([`Machine`](crate::memory::Machine)).
//! 2. Then, if the present stage has all its reads and its compute is done, it ends. What its end
//!    brings is issued in this order: its KV writes, the migrations of the regions that no later
//!    stage uses, the reads of the next stage, early reads.
//! 3. All of it shares the lanes from that instant on or, where its tiers have a latency, from when
//!    that is over.
//!
//! Early reads (`weight_prefetch`) stay within their step: a step's bound assumes that its bytes
//! are read in it.

mod at_once;
mod config;
mod differences;
mod engine;
mod fields;
mod footprint;
mod idealization;
mod idealized;
mod identity;
mod moves;
mod outcome;
mod paging;
mod probe;
mod refused;
mod residency;
mod room;
mod run;
mod scenario;
mod served;
mod serving;
mod serving_ideal;
mod size;
mod skip_sets;
mod stored;
mod unserved;
mod waits;
mod watch;

pub use config::ScenarioConfig;
pub use differences::{Difference, differences};
pub(crate) use differences::{one_thing, same};
pub use fields::{Assignment, FieldError, Fields, expand, spelled_out};
pub use footprint::memory_of_trace;
pub use idealization::{Ideal, Idealization};
pub use identity::{Identity, file_name, labels};
pub use outcome::{Outcome, RunError};
pub use probe::{Ends, Hits, Prefetched, Probe, RoutedRead, StepRecord};
pub use refused::ScenarioError;
pub use room::{Held, NoRoom, Room, usable_memory};
pub use run::{SkipThread, run, run_in_lockstep, run_with, run_workload};
pub use scenario::{Scenario, StoredSequences};
pub use serving::{
    MoveRecord, ServingOutcome, ServingProbe, ServingRecord, ServingWaits, TransferRecord, serve, serve_stage_by_stage,
};
pub use serving_ideal::ServingIdeal;
pub use stored::Stored;
pub use unserved::ServingError;
pub use waits::{Waiting, Waits};
pub use watch::Watch;
