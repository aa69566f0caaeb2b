use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::Ratio;

/// All new KV of some regions (layers), spread evenly over them, goes to HBM; that of the others
/// elsewhere.
pub struct SplitLayers {
    /// The share of the regions whose KV goes to HBM.
    pub on_hbm: Ratio,
}

impl Placement for SplitLayers {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let before = |regions: usize| self.on_hbm.floor_of(regions as u64);
        view.hbm_if(before(view.region.index() + 1) > before(view.region.index()))
    }
}
