use super::{Placement, PlacementView};
use crate::memory::TierId;

/// HBM while there is room, else the next tier that has some.
pub struct PreferHbm;

impl Placement for PreferHbm {
    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId> {
        view.fastest_that_fits()
    }
}
