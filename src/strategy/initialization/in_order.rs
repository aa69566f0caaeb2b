use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};

/// What fills HBM first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Weights, then prefill KV layer by layer, so that the first layers have all of theirs there.
    Weights,
    /// Prefill KV token by token, then weights.
    Kv,
}

/// One kind of bytes on HBM while it fits, then the other; the rest on the next tier.
pub struct InOrder(pub Order);

impl Initialization for InOrder {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let weights = |layout: &mut Layout<'_>| {
            let sublayers = layout.sublayers().into_iter().enumerate();
            sublayers
                .into_iter()
                .try_for_each(|(index, sublayer)| layout.spill_weights(index, TierId::HBM, sublayer.stored))
        };
        let (prefill, layers) = (layout.prefill(), layout.layers());
        match self.0 {
            Order::Weights => {
                weights(layout)?;
                for layer in 0..layers {
                    (0..prefill).try_for_each(|token| layout.spill_token(layer, token, TierId::HBM))?;
                }
            }
            Order::Kv => {
                for token in 0..prefill {
                    layout.spill_token_of_layers(token, |_| TierId::HBM)?;
                }
                weights(layout)?;
            }
        }
        Ok(())
    }
}
