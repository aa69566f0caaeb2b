//! The decisions of what the engine computes and moves.

use crate::units::{MoveId, RequestId, SimTime, Table};
use crate::workload::{Decision, KvMove, RequestRecord, Scheduler, ServingStep};

/// Decides what the engine computes and moves: the [`Scheduler`], or a script of a test. Its
/// methods are those of the scheduler.
pub(super) trait Decides {
    fn next(&mut self, now: SimTime) -> Decision;
    fn step(&self) -> &ServingStep;
    fn completed(&mut self, now: SimTime);
    fn moved(&mut self, now: SimTime, moved: MoveId);
    fn take_moves(&mut self, moves: &mut Vec<KvMove>);
    fn has_waiting(&self) -> bool;
    fn records(&self) -> &Table<RequestId, RequestRecord>;
}

impl Decides for Scheduler {
    #[inline]
    fn next(&mut self, now: SimTime) -> Decision {
        Self::next(self, now)
    }

    #[inline]
    fn step(&self) -> &ServingStep {
        Self::step(self)
    }

    #[inline]
    fn completed(&mut self, now: SimTime) {
        Self::completed(self, now);
    }

    fn moved(&mut self, now: SimTime, moved: MoveId) {
        Self::moved(self, now, moved);
    }

    #[inline]
    fn take_moves(&mut self, moves: &mut Vec<KvMove>) {
        moves.extend(Self::take_moves(self));
    }

    fn has_waiting(&self) -> bool {
        Self::has_waiting(self)
    }

    fn records(&self) -> &Table<RequestId, RequestRecord> {
        Self::records(self)
    }
}
