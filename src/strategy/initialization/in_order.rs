use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::Page;

/// What fills HBM first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Weights, then prefill KV layer by layer, so that the first layers have all of theirs there.
    Weights,
    /// Prefill KV page by page, then weights.
    Kv,
}

/// One kind of bytes on HBM while it fits, then the other; the rest on the next tier.
pub struct InOrder(pub Order);

impl Initialization for InOrder {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let weights = |layout: &mut Layout<'_>| {
            let all = layout.divisible();
            all.into_iter().try_for_each(|(region, weights)| layout.spill_weights(region, TierId::HBM, weights.stored))
        };
        match self.0 {
            Order::Weights => {
                weights(layout)?;
                for region in layout.kv() {
                    layout.live(region).try_for_each(|page| layout.spill_page(region, Page::new(page), TierId::HBM))?;
                }
            }
            Order::Kv => {
                for page in Page::all(layout.prefill()) {
                    layout.spill_page_of_regions(page, |_| TierId::HBM)?;
                }
                weights(layout)?;
            }
        }
        Ok(())
    }
}
