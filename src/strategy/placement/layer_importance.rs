use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::{RegionId, Table};

/// New pages of the regions (layers) that have skipped least go to HBM, as many regions as HBM's
/// best ratio of them; those of the others, of equals the later ones, elsewhere.
#[derive(Default)]
pub struct LayerImportance {
    /// How many pages of each region were skipped so far.
    skipped: Table<RegionId, u64>,
}

impl Placement for LayerImportance {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        self.skipped.or_insert_with(RegionId::new(view.regions - 1), || 0);
        self.skipped[view.region] += view.skips.present(view.region).live() as u64;
        let mine = (self.skipped[view.region], view.region);
        let before_mine = |(region, skipped): &(RegionId, &u64)| (**skipped, *region) < mine;
        let more_important = self.skipped.entries().filter(before_mine).count();
        let on_hbm = (view.system.best_ratio() * view.regions as f64).round() as usize;
        view.hbm_if(more_important < on_hbm)
    }
}
