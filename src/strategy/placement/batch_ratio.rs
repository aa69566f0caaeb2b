use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::knowledge::Past;
use crate::units::Ratio;
use std::num::NonZeroU32;

/// Of each window of tokens, the first go to HBM, up to a share; the others elsewhere. A page goes
/// where its first token does.
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
        let token = view.page_size.first_token(view.page).index() as u64;
        view.hbm_if((token % window) < self.on_hbm.round_of(window))
    }
}
