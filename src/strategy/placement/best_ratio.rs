use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;

/// If HBM's share of this layer's tokens exceeds the best ratio, external; else HBM. With more tiers, the first whose share of
/// the tokens that the faster ones have not does not exceed its share of the bandwidth that remains. What is full is passed
/// over.
pub struct BestRatio;

impl Placement for BestRatio {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let mut bandwidth = view.system.total_read_bandwidth();
        let mut tokens = view.tokens.iter().sum::<usize>() as u128;
        for (tier, spec) in view.system.tier_ids().zip(view.system.tiers()) {
            let (its_tokens, its_bandwidth) =
                (view.tokens[tier.index()] as u128, u128::from(spec.read_bandwidth.get()));
            // its tokens / tokens > its bandwidth / bandwidth, without a division
            let exceeds = its_tokens * bandwidth > its_bandwidth * tokens;
            if !exceeds && view.fits(tier) {
                return Some(tier);
            }
            tokens -= its_tokens;
            bandwidth -= its_bandwidth;
        }
        view.fastest_that_fits()
    }
}
