use super::{Placement, PlacementView};
use crate::memory::TierId;

/// If HBM's share of this layer's tokens exceeds the best ratio, external; else HBM. What is full is passed over.
pub struct BestRatio;

impl Placement for BestRatio {
    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId> {
        let hbm = TierId::HBM;
        let on_hbm = view.tokens[hbm.0] as u128;
        let tokens = view.tokens.iter().sum::<usize>() as u128;
        let bandwidth = u128::from(view.system.tiers()[hbm.0].read_bandwidth.get());
        // on_hbm / tokens > BW_hbm / sum(BW), without a division
        let exceeds = on_hbm * view.system.total_read_bandwidth() > bandwidth * tokens;
        let external = || view.system.tier_ids().skip(1).find(|tier| view.fits(*tier));
        if exceeds { external().or_else(|| view.fastest_that_fits()) } else { view.fastest_that_fits() }
    }
}
