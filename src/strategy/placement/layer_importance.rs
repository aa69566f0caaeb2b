use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::{LayerId, Table};

/// New pages of the layers that have skipped least go to HBM, as many layers as HBM's best ratio of
/// them; those of the others, of equals the later ones, elsewhere.
///
/// Of several sequences, what a layer has skipped is added up, so the pages of all sequences in a
/// layer go to the same tier.
#[derive(Default)]
pub struct LayerImportance {
    /// How many pages of each layer were skipped so far.
    skipped: Table<LayerId, u64>,
}

impl Placement for LayerImportance {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        self.skipped.or_insert_with(LayerId::new(view.layers - 1), || 0);
        self.skipped[view.layer] += view.skips.present(view.region).live() as u64;
        let mine = (self.skipped[view.layer], view.layer);
        let before_mine = |(layer, skipped): &(LayerId, &u64)| (**skipped, *layer) < mine;
        let more_important = self.skipped.entries().filter(before_mine).count();
        let on_hbm = (view.system.best_ratio() * view.layers as f64).round() as usize;
        view.hbm_if(more_important < on_hbm)
    }
}
