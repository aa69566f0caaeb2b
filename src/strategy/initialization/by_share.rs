use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::{Bytes, Page, Ratio};

/// Shares of every stage's weights, and of every layer's prefill pages spread evenly, on HBM:
/// percentages as FlexGen's.
pub struct Static {
    /// HBM's share of the weights.
    pub weights: Ratio,
    /// HBM's share of the pages.
    pub kv: Ratio,
}

impl Initialization for Static {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let next = TierId::new(1.min(layout.system().tiers().len() - 1));
        for (region, weights) in layout.divisible() {
            let wanted = Bytes::new(self.weights.round_of(weights.stored.get()));
            let on_hbm = wanted.min(layout.free(TierId::HBM));
            layout.put_weights(region, TierId::HBM, on_hbm)?;
            layout.spill_weights(region, next, weights.stored - on_hbm)?;
        }
        let before = |pages: usize| self.kv.floor_of(pages as u64);
        layout.spill_pages(
            |_| (),
            |_, live, pattern| {
                for (place, page) in live.enumerate() {
                    let tier = if before(place + 1) > before(place) { TierId::HBM } else { next };
                    pattern.put(Page::new(page), tier);
                }
            },
        )
    }
}
