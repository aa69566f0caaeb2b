//! The experts that a run leaves unread, as far as it sees: those of the present step and of as
//! many later ones as its strategy may look ahead.

use super::RoutingSource;
use crate::units::LayerId;
use crate::workload::trace::{Skipped, StepSkips, TraceError};
use crate::workload::{Schedule, TokenSet};
use std::collections::VecDeque;

/// The experts that the present step and the next few leave unread, by layer.
///
/// How many tokens a later step computes follows from the schedule of the run, so what it routes
/// can be asked for before it begins: in the order of the steps, each once.
pub struct RoutingWindow {
    source: Box<dyn RoutingSource>,
    /// At the first step that is not shown yet.
    schedule: Schedule,
    /// The present step first.
    steps: VecDeque<StepSkips>,
}

impl RoutingWindow {
    /// A window over the steps of `schedule`, which has taken none yet, that shows the first one
    /// and `look_ahead` more of what `source` routes; `unread` is room for a step.
    ///
    /// # Errors
    /// [`TraceError`] if the first steps cannot be had.
    pub fn new(
        source: Box<dyn RoutingSource>,
        schedule: Schedule,
        unread: &StepSkips,
        look_ahead: usize,
    ) -> Result<Self, TraceError> {
        let mut window = Self { source, schedule, steps: VecDeque::new() };
        let mut shown = 0;
        while shown <= look_ahead && window.show_next(unread.clone())? {
            shown += 1;
        }
        Ok(window)
    }

    /// What the step `ahead` of the present one leaves unread of a layer's experts, or `None` past
    /// the last step of the run.
    #[must_use]
    pub fn skipped(&self, ahead: usize, layer: LayerId) -> Option<Skipped<'_>> {
        let StepSkips { sets, counts } = self.steps.get(ahead)?;
        let pages: &TokenSet = &sets[layer.index()];
        Some(Skipped { pages, count: counts[layer.index()], gone: 0 })
    }

    /// Moves on by one step.
    ///
    /// # Errors
    /// [`TraceError`] if the step that comes into view cannot be had.
    pub fn advance(&mut self) -> Result<(), TraceError> {
        let Some(gone) = self.steps.pop_front() else { return Ok(()) };
        self.show_next(gone).map(|_| ())
    }

    /// Takes the next step from the source into `unread`, at the end of the window. False after the
    /// last step.
    fn show_next(&mut self, mut unread: StepSkips) -> Result<bool, TraceError> {
        let Some(batch) = self.schedule.next_step() else { return Ok(false) };
        self.source.next_step(batch.tokens(), &mut unread)?;
        self.steps.push_back(unread);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{PrefillConfig, PrefillOrder, scheduled};

    /// Leaves as many experts unread as it was asked about tokens.
    struct Tokens;

    impl RoutingSource for Tokens {
        fn next_step(&mut self, tokens: usize, unread: &mut StepSkips) -> Result<(), TraceError> {
            unread.sets[0].clear();
            unread.sets[0].extend(0..tokens);
            unread.counts[0] = tokens;
            Ok(())
        }

        fn popularity(&self, _layer: LayerId) -> Vec<f64> {
            vec![1.0; 32]
        }
    }

    #[test]
    fn later_steps_are_asked_for_with_the_tokens_that_they_will_compute() {
        // A prompt of 10 tokens in chunks of 4, then 3 steps of one token; from step 2 on a second
        // sequence of 5 and 2.
        let prefill = PrefillConfig::Timed { chunk_tokens: 4, order: PrefillOrder::Mixed };
        let sequences = scheduled(&[(1, 10, 3, 0), (1, 5, 2, 2)], prefill).unwrap();
        let by_step: Vec<usize> = {
            let mut schedule = Schedule::new(&sequences);
            std::iter::from_fn(|| schedule.next_step().map(|batch| batch.tokens())).collect()
        };
        assert!(by_step.contains(&4) && by_step.len() > 5, "{by_step:?}");
        let unread = StepSkips { sets: vec![TokenSet::new(32)], counts: vec![0] };
        for look_ahead in [0, 2, usize::MAX] {
            let mut window =
                RoutingWindow::new(Box::new(Tokens), Schedule::new(&sequences), &unread, look_ahead).unwrap();
            for step in 0..by_step.len() {
                let seen = (0..).map_while(|ahead| window.skipped(ahead, LayerId::new(0)).map(|it| it.count));
                let last = step.saturating_add(look_ahead).saturating_add(1).min(by_step.len());
                assert_eq!(seen.collect::<Vec<_>>(), by_step[step..last], "step {step}");
                window.advance().unwrap();
            }
            assert!(window.skipped(0, LayerId::new(0)).is_none());
        }
    }
}
