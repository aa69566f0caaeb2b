use super::select::{all_in, all_out};
use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Future;
use std::num::NonZeroU32;

/// Sees some steps: pages on HBM that all of them skip go out; of pages elsewhere those that all of
/// them read come in, while HBM has room.
pub struct LookAheadBatch {
    /// How many steps.
    pub steps: NonZeroU32,
}

impl Migration for LookAheadBatch {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        self.steps.get() as usize
    }

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let steps = || (1..=Migration::look_ahead(self)).map_while(|ahead| view.skips.ahead(ahead, view.region));
        let words = |index: usize| steps().map(move |skipped| skipped.pages.words()[index]);
        all_out(view, plan, |index| words(index).fold(usize::MAX, |all, word| all & word));
        all_in(view, plan, |index| !words(index).fold(0, |any, word| any | word));
    }
}
