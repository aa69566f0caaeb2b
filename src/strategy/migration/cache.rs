use super::select::tokens;
use super::{Migration, MigrationView, MovePlan};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::Bytes;
use crate::workload::Shape;
use crate::workload::tokens::WORD_BITS;
use std::cmp::Reverse;

/// What makes a token worth keeping on HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// When it was last read.
    Recency,
    /// How often it was read: a heavy hitter has accumulated most attention, as far as skip sets tell.
    Frequency,
}

/// HBM as a cache: what a step has read from elsewhere comes in, without a second read; where there is no room for it, what is worth
/// least goes out, if it is worth less.
pub struct Cache {
    worth: Worth,
    /// Steps decided so far, by layer.
    steps: Vec<u32>,
    /// What each token is worth, by layer.
    tokens: Vec<Vec<u32>>,
    /// Scratch space: tokens with what they are worth.
    coming: Vec<(Reverse<u32>, u32, TierId)>,
    leaving: Vec<(u32, u32)>,
}

impl Cache {
    /// An empty one.
    pub fn new(worth: Worth) -> Self {
        Self { worth, steps: Vec::new(), tokens: Vec::new(), coming: Vec::new(), leaving: Vec::new() }
    }
}

impl Migration for Cache {
    type Knows = Past;

    fn memory(&self, shape: Shape) -> Bytes {
        let range = shape.range().next_multiple_of(WORD_BITS) as u64;
        // The lists grow by doubling, and for a moment the old one is there as well.
        Bytes::new(shape.layers as u64 * (range * 4 + 64) + 2 * 3 * 16 * range)
    }

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        let range = view.in_flight.words().len() * WORD_BITS;
        while self.tokens.len() <= view.layer {
            self.tokens.push(vec![0; range]);
            self.steps.push(0);
        }
        let skipped = &view.skips.present().sets[view.layer];
        let worth = &mut self.tokens[view.layer];
        self.steps[view.layer] += 1;
        let step = self.steps[view.layer];
        for (token, worth) in worth.iter_mut().enumerate().take(view.context) {
            let read = skipped.words()[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 0;
            match self.worth {
                Worth::Recency => *worth = if read { step } else { *worth },
                Worth::Frequency => *worth += u32::from(read),
            }
        }
        let (hbm, last) = (TierId::HBM, view.system.last_tier());
        self.coming.clear();
        self.leaving.clear();
        for index in 0..view.context.div_ceil(WORD_BITS) {
            let free = !view.in_flight.words()[index];
            let skipped = skipped.words()[index];
            for tier in view.system.tier_ids().skip(1) {
                let here = [view.at[tier.0].words()[index] & free & !skipped];
                let here = tokens(&here).map(|bit| index * WORD_BITS + bit);
                self.coming.extend(here.map(|token| (Reverse(worth[token]), token as u32, tier)));
            }
            let here = [view.at[0].words()[index] & free & skipped];
            let here = tokens(&here).map(|bit| index * WORD_BITS + bit);
            self.leaving.extend(here.map(|token| (worth[token], token as u32)));
        }
        let room = plan.room(hbm).min(self.coming.len());
        if room < self.coming.len() {
            self.coming.sort_unstable();
            self.leaving.sort_unstable();
        }
        for &(_, token, tier) in &self.coming[..room] {
            plan.promote(token as usize, tier, hbm);
        }
        // Room for those that wait, should a step read them again.
        for (&(Reverse(coming), ..), &(leaving, token)) in self.coming[room..].iter().zip(&self.leaving) {
            if leaving >= coming || !plan.add(token as usize, hbm, last) {
                break;
            }
        }
    }
}
