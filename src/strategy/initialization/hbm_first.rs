use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};

/// Weights sublayer by sublayer (the one that no longer fits, in part), then prefill KV token by token, in each token
/// layer by layer, each on HBM if it fits, else on the next tier that has room.
pub struct HbmFirst;

impl Initialization for HbmFirst {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        for (index, sublayer) in layout.sublayers().into_iter().enumerate() {
            layout.spill_weights(index, TierId::HBM, sublayer.stored)?;
        }
        for token in 0..layout.prefill() {
            layout.spill_token_of_layers(token, |_| TierId::HBM)?;
        }
        Ok(())
    }
}
