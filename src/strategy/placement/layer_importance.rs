use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;

/// New tokens of the layers that have skipped least go to HBM, as many layers as HBM's best ratio of them; those of the others,
/// of equals the later ones, elsewhere.
#[derive(Default)]
pub struct LayerImportance {
    /// How many tokens each layer has skipped so far.
    skipped: Vec<u64>,
}

impl Placement for LayerImportance {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        self.skipped.resize(view.layers, 0);
        self.skipped[view.layer] += view.skips.present().counts[view.layer] as u64;
        let mine = (self.skipped[view.layer], view.layer);
        let more_important = self.skipped.iter().zip(0..).filter(|(skipped, layer)| (**skipped, *layer) < mine).count();
        let on_hbm = (view.system.best_ratio() * view.layers as f64).round() as usize;
        view.hbm_if(more_important < on_hbm)
    }
}
