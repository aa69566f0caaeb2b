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
    coming: Vec<(Reverse<u32>, u32)>,
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
        Bytes::new(shape.layers as u64 * (range * 4 + 64) + 2 * 3 * 8 * range)
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
        let hbm = TierId::HBM;
        for tier in view.system.tier_ids().skip(1) {
            self.coming.clear();
            let words = view.context.div_ceil(WORD_BITS);
            for index in 0..words {
                let known = skipped.words()[index] | view.in_flight.words()[index];
                let word = [view.at[tier.0].words()[index] & !known];
                let here = tokens(&word).map(|bit| index * WORD_BITS + bit);
                self.coming.extend(here.map(|token| (Reverse(worth[token]), token as u32)));
            }
            let room = plan.room(hbm);
            if self.coming.len() > room {
                self.coming.sort_unstable();
            }
            for &(_, token) in &self.coming[..room.min(self.coming.len())] {
                plan.promote(token as usize, tier, hbm);
            }
            let waiting = &self.coming[room.min(self.coming.len())..];
            if waiting.is_empty() {
                continue;
            }
            // Room for those that wait, should the next step read them again.
            self.leaving.clear();
            for index in 0..words {
                let word = [view.at[0].words()[index] & !view.in_flight.words()[index] & skipped.words()[index]];
                let here = tokens(&word).map(|bit| index * WORD_BITS + bit);
                self.leaving.extend(here.map(|token| (worth[token], token as u32)));
            }
            self.leaving.sort_unstable();
            for (&(Reverse(coming), _), &(leaving, token)) in waiting.iter().zip(&self.leaving) {
                if leaving >= coming || !plan.add(token as usize, hbm, tier) {
                    break;
                }
            }
        }
    }
}
