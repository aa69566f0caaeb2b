use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::Ratio;
use std::num::NonZeroU32;

/// Of each window of tokens, the first go to HBM, up to a share; the others elsewhere.
pub struct BatchRatio {
    /// How many tokens.
    pub window: NonZeroU32,
    /// The share of them that goes to HBM.
    pub on_hbm: Ratio,
}

impl Placement for BatchRatio {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let window = u64::from(self.window.get());
        view.hbm_if((view.token as u64 % window) < self.on_hbm.round_of(window))
    }
}
