use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::Ratio;

/// Shares of every sublayer's weights, and of every layer's prefill tokens spread evenly, on HBM: percentages as FlexGen's.
pub struct Static {
    /// HBM's share of the weights.
    pub weights: Ratio,
    /// HBM's share of the tokens.
    pub kv: Ratio,
}

impl Initialization for Static {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let next = TierId::new(1.min(layout.system().tiers().len() - 1));
        for (index, sublayer) in layout.sublayers().into_iter().enumerate() {
            let wanted = crate::units::Bytes::new(self.weights.round_of(sublayer.stored.get()));
            let on_hbm = wanted.min(layout.free(TierId::HBM));
            layout.put_weights(index, TierId::HBM, on_hbm)?;
            layout.spill_weights(index, next, sublayer.stored - on_hbm)?;
        }
        for token in 0..layout.prefill() {
            let before = |token: usize| self.kv.floor_of(token as u64);
            let tier = if before(token + 1) > before(token) { TierId::HBM } else { next };
            layout.spill_token_of_layers(token, |_| tier)?;
        }
        Ok(())
    }
}
