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
        for (region, weights) in layout.weights() {
            let wanted = Bytes::new(self.weights.round_of(weights.stored.get()));
            let on_hbm = wanted.min(layout.free(TierId::HBM));
            layout.put_weights(region, TierId::HBM, on_hbm)?;
            layout.spill_weights(region, next, weights.stored - on_hbm)?;
        }
        for page in Page::all(layout.prefill()) {
            let before = |page: Page| self.kv.floor_of(page.index() as u64);
            let tier = if before(page.next()) > before(page) { TierId::HBM } else { next };
            layout.spill_page_of_regions(page, |_| tier)?;
        }
        Ok(())
    }
}
