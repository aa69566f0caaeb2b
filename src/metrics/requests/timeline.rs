//! What a timeline of requests shows besides their records.

use crate::simulation::MoveRecord;
use crate::units::{RequestId, SimTime};

/// Of how many requests a timeline is kept: the first ones.
pub const TIMELINE_REQUESTS: usize = 2_000;

/// What the timeline of requests shows besides their records.
#[derive(Clone, Debug, Default)]
pub struct RequestsTimeline {
    /// Times in which requests that had begun had no part in steps.
    pub pauses: Vec<Pause>,
    /// Their moves.
    pub moves: Vec<MoveRecord>,
}

/// A time in which a request that had begun had no part in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Which.
    pub request: RequestId,
    /// The end of its last step before.
    pub from: SimTime,
    /// The start of the next one.
    pub to: SimTime,
    /// Whether it was preempted, and did not just wait for a share of the tokens of steps.
    pub preempted: bool,
}
