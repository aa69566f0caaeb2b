//! The layout that the bound itself uses, for [`explain`](crate::explain): what is lost from there
//! on is no layout's fault.

use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::strategy::BoundReads;
use crate::units::Bytes;
use crate::workload::{StepSkips, TokenSet};

/// Places everything where the bound of the first step reads it from.
///
/// The bound splits bytes, so a stage's weights are rounded to whole bytes and a layer's KV to
/// whole tokens (or pages), spread evenly over those that the first step reads. The tokens that it
/// skips are read in later steps, so they are split alike while there is room for them; the rest
/// goes to the last tier. O(tokens x layers) time.
pub struct AsBound {
    reads: BoundReads,
    /// By layer, the tokens that the first step skips.
    skipped: Vec<TokenSet>,
    /// By layer, how many these are.
    counts: Vec<usize>,
}

impl AsBound {
    /// The layout of a bound that reads so from each tier in a step which skips `skips`.
    #[must_use]
    pub fn new(reads: BoundReads, skips: &StepSkips) -> Self {
        Self { reads, skipped: skips.sets.clone(), counts: skips.counts.clone() }
    }
}

/// The tokens of one layer that the first step reads, dealt to the tiers in order of their index.
struct Deal {
    /// By tier but the last, how many tokens it takes in all.
    takes: Vec<f64>,
    /// How many tokens are dealt to all tiers.
    all: f64,
    dealt: f64,
}

impl Deal {
    /// The tier of the next token: the first whose share of the tokens dealt so far grows by one.
    fn next(&mut self) -> usize {
        let before = self.dealt;
        self.dealt += 1.0;
        let (mut until, all) = (0.0, self.all.max(1.0));
        let mut below = 0.0;
        for (tier, takes) in self.takes.iter().enumerate() {
            until += takes;
            let (was, is) = ((before * until / all).floor(), (self.dealt * until / all).floor());
            if is - was > below {
                return tier;
            }
            below = is - was;
        }
        self.takes.len()
    }
}

impl Initialization for AsBound {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let tiers = layout.system().tiers().len();
        let last = TierId::new(tiers - 1);
        for (index, sublayer) in layout.sublayers().into_iter().enumerate() {
            let stored_per_read = sublayer.stored.as_f64() / sublayer.read.as_f64().max(1.0);
            let mut left = sublayer.stored;
            for (tier, read) in self.reads.weights[index].iter().enumerate().take(tiers - 1) {
                let part = Bytes::new((read * stored_per_read).round() as u64);
                let part = part.min(left).min(layout.free(TierId::new(tier)));
                layout.put_weights(index, TierId::new(tier), part)?;
                left -= part;
            }
            layout.spill_weights(index, last, left)?;
        }
        let prefill = layout.prefill();
        let deals = self.reads.kv.iter().zip(&self.counts).enumerate().map(|(layer, (kv, skipped))| {
            let token = layout.kv_bytes(layer).as_f64().max(1.0);
            let takes = kv[..tiers - 1].iter().map(|bytes| (bytes / token).round()).collect();
            Deal { takes, all: (prefill - skipped) as f64, dealt: 0.0 }
        });
        let mut deals: Vec<Deal> = deals.collect();
        for skipped in [false, true] {
            for token in 0..prefill {
                for (layer, deal) in deals.iter_mut().enumerate() {
                    if self.skipped[layer].contains(token) != skipped {
                        continue;
                    }
                    let tier = TierId::new(deal.next());
                    let has_room = !skipped || layout.free(tier) >= layout.kv_bytes(layer);
                    layout.spill_token(layer, token, if has_room { tier } else { last })?;
                }
            }
        }
        Ok(())
    }
}
