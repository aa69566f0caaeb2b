use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::Ratio;

/// All new KV of some layers, spread evenly over them, goes to HBM; that of the others elsewhere.
/// The layers are the same for all sequences.
pub struct SplitLayers {
    /// The share of the layers whose KV goes to HBM.
    pub on_hbm: Ratio,
}

impl Placement for SplitLayers {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let before = |layers: usize| self.on_hbm.floor_of(layers as u64);
        view.hbm_if(before(view.layer.index() + 1) > before(view.layer.index()))
    }
}
