use super::history::{Counted, History};
use super::select::{all_in, all_out};
use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Past;
use crate::units::{Bytes, RegionId};
use crate::workload::Shape;
use crate::workload::tokens::WORD_BITS;

/// Pages on HBM that all of the last steps skipped go out; of pages elsewhere those that all of
/// them read come in, while HBM has room.
pub struct PastWindow(pub History);

impl Migration for PastWindow {
    type Knows = Past;

    fn memory(&self, shape: Shape, skips: bool) -> Bytes {
        let words = if skips { shape.range().div_ceil(WORD_BITS) } else { 0 };
        Bytes::new(shape.layers as u64 * self.0.memory(words, shape.decode))
    }

    fn forget(&mut self, region: RegionId) {
        self.0.forget(region);
    }

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        self.0.note(view.region, view.skipped(), Counted::default(), |_| {});
        let steps = || (0..self.0.window()).map_while(|ago| self.0.step(view.region, ago));
        let words = |index: usize| steps().map(move |(skipped, _)| skipped.map_or(0, |skipped| skipped.words()[index]));
        all_out(view, plan, |index| words(index).fold(usize::MAX, |all, word| all & word));
        all_in(view, plan, |index| !words(index).fold(0, |any, word| any | word));
    }
}
