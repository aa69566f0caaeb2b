//! How runs end.

use super::stored::Stored;
use super::unserved::ServingError;
use crate::memory::{LaneLoad, PerClass, Shortage};
use crate::units::{Bytes, LayerId, SimTime, Step};
use crate::workload::TraceError;
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
    #[error(transparent)]
    Serving(#[from] ServingError),
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
