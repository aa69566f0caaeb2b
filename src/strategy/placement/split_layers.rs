use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::Ratio;

/// Of some layers, spread evenly, all new tokens go to HBM; of the others, elsewhere.
pub struct SplitLayers {
    /// The share of the layers whose tokens go to HBM.
    pub on_hbm: Ratio,
}

impl Placement for SplitLayers {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let before = |layer: usize| self.on_hbm.floor_of(layer as u64);
        view.hbm_if(before(view.layer + 1) > before(view.layer))
    }
}
