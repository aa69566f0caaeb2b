use super::spread::Spread;
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
                // A count of pages as `Bytes`, for the rounding rule of `share`.
                let taken = |portion: &'_ Portion| {
                    let Portion { tier, bandwidth, remaining } = *portion;
                    (tier, move |left| Bytes::new(left).share(bandwidth, remaining).get())
                };
                let spread = Spread::new(live.len() as u64, faster.iter().map(taken), last.tier);
                for (place, page) in live.enumerate() {
                    pattern.put(Page::new(page), spread.tier_of(place as u64));
                }
            },
        )
    }
}
