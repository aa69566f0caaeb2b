use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};

/// Weights stage by stage (the one that no longer fits, in part), then prefill KV page by page, of
/// each page layer by layer, each on HBM if it fits, else on the next tier that has room.
pub struct HbmFirst;

impl Initialization for HbmFirst {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        for (region, weights) in layout.divisible() {
            layout.spill_weights(region, TierId::HBM, weights.stored)?;
        }
        layout.spill_pages(|_| (), |_, live, pattern| pattern.put_all(live, TierId::HBM))
    }
}
