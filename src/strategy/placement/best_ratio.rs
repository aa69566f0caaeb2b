use super::{Placement, PlacementView};
use crate::memory::TierId;

/// If HBM's share of this layer's tokens exceeds the best ratio, external; else HBM. With more tiers, the first whose share
/// does not exceed its own. What is full is passed over.
pub struct BestRatio;

impl Placement for BestRatio {
    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId> {
        let all = view.system.total_read_bandwidth();
        let tokens = view.tokens.iter().sum::<usize>() as u128;
        // on the tier / tokens > BW / sum(BW), without a division
        let exceeds = |tier: TierId| {
            let bandwidth = u128::from(view.system.tiers()[tier.0].read_bandwidth.get());
            view.tokens[tier.0] as u128 * all > bandwidth * tokens
        };
        let last = TierId(view.system.tiers().len() - 1);
        let wanted = view.system.tier_ids().find(|tier| !exceeds(*tier)).unwrap_or(last);
        let from_there = view.system.tier_ids().skip(wanted.0).find(|tier| view.fits(*tier));
        from_there.or_else(|| view.fastest_that_fits())
    }
}
