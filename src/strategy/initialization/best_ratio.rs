use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::{Bytes, Page};

/// The best ratio of every stage's weights, and of every layer's prefill tokens spread evenly, on
/// HBM; of the rest, the best ratio of the tiers that remain on the next one, and so on.
///
/// In integers, from the bandwidths: `round(best * stored)` bytes of each piece of weights on HBM,
/// and `n = round(best * prefill)` tokens of each layer: token j where
/// `floor((j+1) n / prefill) > floor(j n / prefill)`. Halves round up. Pages take the place of
/// tokens where they hold several. Where HBM is short, in the order of `HbmFirst`.
pub struct BestRatio;

/// What one tier takes of what the tiers before it leave.
struct Portion {
    tier: TierId,
    bandwidth: u128,
    /// The sum of its bandwidth and of those after it.
    remaining: u128,
}

impl Initialization for BestRatio {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let system = layout.system();
        let mut remaining = system.total_read_bandwidth();
        let mut portions = Vec::new();
        for (tier, spec) in system.tier_ids().zip(system.tiers()) {
            let bandwidth = u128::from(spec.read_bandwidth.get());
            portions.push(Portion { tier, bandwidth, remaining });
            remaining -= bandwidth;
        }
        let (last, faster) = portions.split_last().expect("a memory system has tiers");

        for (region, weights) in layout.divisible() {
            let mut left = weights.stored;
            for portion in faster {
                let part = left.share(portion.bandwidth, portion.remaining).min(layout.free(portion.tier));
                layout.put_weights(region, portion.tier, part)?;
                left -= part;
            }
            layout.spill_weights(region, last.tier, left)?;
        }

        layout.spill_pages(
            |_| (),
            |_, live, pattern| {
                let spread = Spread::new(live.len() as u64, faster, last.tier);
                for (place, page) in live.enumerate() {
                    pattern.put(Page::new(page), spread.tier_of(place as u64));
                }
            },
        )
    }
}

/// Some pages, of which each tier takes its portion, spread evenly over those that the tiers before
/// it leave.
struct Spread {
    /// By tier, how many pages it takes of how many.
    takes: Vec<(TierId, u64, u64)>,
    /// The tier of what none of them takes.
    rest: TierId,
}

impl Spread {
    fn new(pages: u64, portions: &[Portion], rest: TierId) -> Self {
        let mut left = pages;
        let takes = portions.iter().map(|portion| {
            let of = left;
            // A count of pages as `Bytes`, for the rounding rule of `share`.
            let taken = Bytes::new(of).share(portion.bandwidth, portion.remaining).get();
            left -= taken;
            (portion.tier, taken, of)
        });
        Self { takes: takes.collect(), rest }
    }

    /// The tier of page `j`.
    fn tier_of(&self, mut j: u64) -> TierId {
        for &(tier, taken, of) in &self.takes {
            let before = j * taken / of;
            if (j + 1) * taken / of > before {
                return tier;
            }
            // Of those that this tier leaves, it is the one after so many.
            j -= before;
        }
        self.rest
    }
}
