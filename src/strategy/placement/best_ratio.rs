use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;

/// If HBM's share of this region's pages exceeds the best ratio, external; else HBM. With more
/// tiers, the first whose share of the pages that the faster ones do not have does not exceed its
/// share of the bandwidth that remains. Full tiers are passed over.
pub struct BestRatio;

impl Placement for BestRatio {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let mut bandwidth = view.system.total_read_bandwidth();
        let mut pages = view.pages.values().sum::<usize>() as u128;
        for (tier, spec) in view.system.tier_ids().zip(view.system.tiers()) {
            let (its_pages, its_bandwidth) = (view.pages[tier] as u128, u128::from(spec.read_bandwidth.get()));
            // its pages / pages > its bandwidth / bandwidth, without a division
            let exceeds = its_pages * bandwidth > its_bandwidth * pages;
            if !exceeds && view.fits(tier) {
                return Some(tier);
            }
            pages -= its_pages;
            bandwidth -= its_bandwidth;
        }
        view.fastest_that_fits()
    }
}
