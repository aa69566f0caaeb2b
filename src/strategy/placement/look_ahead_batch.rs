use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Future;
use std::num::NonZeroU32;

/// Sees some steps: a page that any of them skips goes elsewhere, the others to HBM.
pub struct LookAheadBatch {
    /// How many steps.
    pub steps: NonZeroU32,
}

impl Placement for LookAheadBatch {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        self.steps.get() as usize
    }

    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId> {
        let mut steps = (1..=Placement::look_ahead(self)).map_while(|ahead| view.skips.ahead(ahead, view.region));
        view.hbm_if(!steps.any(|skipped| skipped.pages.contains(view.page.index())))
    }
}
