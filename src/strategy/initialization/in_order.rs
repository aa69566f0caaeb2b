use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};

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
                layout.kv().try_for_each(|region| layout.spill_region(region, TierId::HBM))
            }
            Order::Kv => {
                layout.spill_pages(|_| (), |_, live, pattern| pattern.put_all(live, TierId::HBM))?;
                weights(layout)
            }
        }
    }
}
