use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::{Bytes, Page, Ratio, RegionId};
use std::ops::Range;

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
        let (ranges, range_of) = layout.live_ranges();
        for page in Page::all(layout.prefill()) {
            let before = |pages: usize| self.kv.floor_of(pages as u64);
            let goes_to_hbm = |live: &Range<usize>| {
                let place = page.index().saturating_sub(live.start);
                before(place + 1) > before(place)
            };
            let tier = |region: RegionId| if goes_to_hbm(&ranges[range_of[region]]) { TierId::HBM } else { next };
            layout.spill_page_of_regions(page, tier)?;
        }
        Ok(())
    }
}
