use super::probe::{Probe, StepRecord};
use std::ops::ControlFlow;

/// Ends a run at its next step when it is asked to, and reports its progress every 64 steps.
pub struct Watch<'a> {
    is_over: &'a dyn Fn() -> bool,
    advance: &'a dyn Fn(u64),
    unreported: u64,
}

/// Steps between two reports of progress.
const BATCH: u64 = 64;

impl<'a> Watch<'a> {
    /// Asks `is_over` after each step; calls `advance` with the number of steps since the last
    /// call.
    #[must_use]
    pub fn new(is_over: &'a dyn Fn() -> bool, advance: &'a dyn Fn(u64)) -> Self {
        Self { is_over, advance, unreported: 0 }
    }

    /// Reports the steps since the last report.
    pub fn finish(self) {
        (self.advance)(self.unreported);
    }
}

impl Probe for Watch<'_> {
    fn step(&mut self, _step: &StepRecord<'_>) -> ControlFlow<()> {
        self.unreported += 1;
        if self.unreported == BATCH {
            (self.advance)(BATCH);
            self.unreported = 0;
        }
        if (self.is_over)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
