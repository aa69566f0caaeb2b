use super::history::{Counted, History};
use super::select::{all_out, in_while, out_while};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::{Bytes, RegionId};
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::{Shape, TokenSet};

/// As `LookAhead`, with a guess in the place of what it knows: the next step skips what most of the
/// last three have skipped.
pub struct Predictive(pub History);

impl Predictive {
    fn skipped(&self, region: RegionId, index: usize) -> Word {
        let word = |ago: usize| {
            let (skipped, _) = self.0.step(region, ago)?;
            Some(skipped.map_or(0, |skipped| skipped.words()[index]))
        };
        let now = word(0).unwrap_or(0);
        match (word(1), word(2)) {
            (Some(before), Some(earlier)) => (now & before) | (now & earlier) | (before & earlier),
            _ => now,
        }
    }
}

impl Migration for Predictive {
    type Knows = Past;

    fn memory(&self, shape: Shape, skips: bool) -> Bytes {
        let words = if skips { shape.range().div_ceil(WORD_BITS) } else { 0 };
        Bytes::new(shape.layers as u64 * self.0.memory(words, shape.decode))
    }

    fn forget(&mut self, region: RegionId) {
        self.0.forget(region);
    }

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        let region = view.region;
        self.0.note(region, view.skipped(), Counted::default(), |_| {});
        all_out(view, plan, |index| self.skipped(region, index));

        let words = view.pages.div_ceil(WORD_BITS);
        let read = |home: &TokenSet| -> usize {
            let on = |index: usize| home.words()[index] & !self.skipped(region, index);
            (0..words).map(|index| on(index).count_ones() as usize).sum()
        };
        let on_hbm = read(&view.home[TierId::HBM]);
        let active: usize = view.home.values().map(read).sum();
        let weights: f64 = view.weights_read.values().map(|bytes| bytes.as_f64()).sum();
        let page = view.page_bytes.as_f64();
        let weights_on_hbm = view.weights_read[TierId::HBM].as_f64();
        let wanted = view.system.best_ratio() * (weights + active as f64 * page) - weights_on_hbm;
        let wanted = (wanted / page).round().clamp(0.0, active as f64) as usize;
        if wanted > on_hbm {
            let room = plan.room(TierId::HBM);
            in_while(view, plan, (wanted - on_hbm).min(room), |index| !self.skipped(region, index));
        } else {
            out_while(view, plan, on_hbm - wanted, |index| !self.skipped(region, index));
        }
    }
}
