use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;

/// The tier whose reads of this layer took least of the present step, by bytes over bandwidth: the new token is read from there
/// without holding anything up. What is full is passed over.
pub struct Balance;

impl Placement for Balance {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let bandwidth = |tier: TierId| u128::from(view.system.tiers()[tier.index()].read_bandwidth.get());
        let read = |tier: TierId| u128::from(view.read[tier.index()].get());
        let fitting = view.system.tier_ids().filter(|tier| view.fits(*tier));
        // read / bandwidth, without a division; of equals the fastest
        fitting
            .reduce(|best, tier| if read(tier) * bandwidth(best) < read(best) * bandwidth(tier) { tier } else { best })
    }
}
