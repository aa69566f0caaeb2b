use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use std::num::NonZeroU32;

/// Pages go round the tiers, so many in turn on each, as Linux's weighted interleave does.
pub struct WeightedInterleave {
    /// How many pages in turn on HBM.
    pub hbm: NonZeroU32,
    /// How many pages in turn on each other tier.
    pub beyond: NonZeroU32,
}

impl Placement for WeightedInterleave {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let (hbm, beyond) = (self.hbm.get() as usize, self.beyond.get() as usize);
        let others = view.system.tiers().len() - 1;
        let place = view.page.index() % (hbm + beyond * others);
        let tier = if place < hbm { TierId::HBM } else { TierId::new(1 + (place - hbm) / beyond) };
        if view.fits(tier) { Some(tier) } else { view.fastest_that_fits() }
    }
}
