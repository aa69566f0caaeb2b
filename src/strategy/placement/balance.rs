use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;

/// The tier that the layer's reads waited for least in the present step, by bytes over bandwidth: a
/// read of the new page from there delays nothing. Full tiers are passed over.
pub struct Balance;

impl Placement for Balance {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let bandwidth = |tier: TierId| u128::from(view.system.tiers()[tier.index()].read_bandwidth.get());
        let read = |tier: TierId| u128::from(view.read[tier].get());
        let fitting = view.system.tier_ids().filter(|tier| view.fits(*tier));
        // read / bandwidth, without a division; of equals the fastest
        fitting
            .reduce(|best, tier| if read(tier) * bandwidth(best) < read(best) * bandwidth(tier) { tier } else { best })
    }
}
