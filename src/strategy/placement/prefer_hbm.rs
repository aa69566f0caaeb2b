use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;

/// HBM while there is room, else the next tier that has some.
pub struct PreferHbm;

impl Placement for PreferHbm {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        view.fastest_that_fits()
    }
}
