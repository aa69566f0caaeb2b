use super::probe::{Probe, StepRecord};
use super::serving::{ServingProbe, ServingRecord};
use std::ops::ControlFlow;

/// Ends a run at its next step when it is asked to, and reports its progress every 64 steps; where
/// requests are served, whenever 64 output tokens or more have come out since the last time.
pub struct Watch<'a> {
    is_over: &'a dyn Fn() -> bool,
    advance: &'a dyn Fn(u64),
    unreported: u64,
}

/// Steps, or output tokens, between two reports of progress.
const BATCH: u64 = 64;

impl<'a> Watch<'a> {
    /// Asks `is_over` after each step; calls `advance` with the number of steps, or of output
    /// tokens of requests, since the last call.
    #[must_use]
    pub fn new(is_over: &'a dyn Fn() -> bool, advance: &'a dyn Fn(u64)) -> Self {
        Self { is_over, advance, unreported: 0 }
    }

    /// So much more is done.
    fn done(&mut self, units: u64) -> ControlFlow<()> {
        self.unreported += units;
        if self.unreported >= BATCH {
            (self.advance)(self.unreported);
            self.unreported = 0;
        }
        if (self.is_over)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Reports what is done since the last report.
    pub fn finish(self) {
        (self.advance)(self.unreported);
    }
}

impl Probe for Watch<'_> {
    fn step(&mut self, _step: &StepRecord<'_>) -> ControlFlow<()> {
        self.done(1)
    }
}

impl ServingProbe for Watch<'_> {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        self.done(step.step.outputs().into())
    }
}
