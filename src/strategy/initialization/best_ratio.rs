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

        for (region, weights) in layout.weights() {
            let mut left = weights.stored;
            for portion in faster {
                let part = left.share(portion.bandwidth, portion.remaining).min(layout.free(portion.tier));
                layout.put_weights(region, portion.tier, part)?;
                left -= part;
            }
            layout.spill_weights(region, last.tier, left)?;
        }

        let mut spread: Vec<Spread> = Vec::new();
        let mut left = layout.prefill() as u64;
        for portion in faster {
            // A count of pages as `Bytes`, for the rounding rule of `share`.
            let taken = Bytes::new(left).share(portion.bandwidth, portion.remaining).get();
            spread.push(Spread { taken, of: left, seen: 0 });
            left -= taken;
        }
        for page in Page::all(layout.prefill()) {
            let tier = spread.iter_mut().position(Spread::takes_next).map_or(last.tier, |index| faster[index].tier);
            layout.spill_page_of_regions(page, |_| tier)?;
        }
        Ok(())
    }
}

/// Takes `taken` of `of` pages, spread evenly over them.
struct Spread {
    taken: u64,
    of: u64,
    /// How many it was offered.
    seen: u64,
}

impl Spread {
    fn takes_next(&mut self) -> bool {
        let j = self.seen;
        self.seen += 1;
        (j + 1) * self.taken / self.of > j * self.taken / self.of
    }
}
