use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::Bytes;

/// `round(best * stored)` bytes of each sublayer's weights on HBM, and of each layer `n = round(best * prefill)` tokens, spread
/// evenly: token j where `floor((j+1) n / prefill) > floor(j n / prefill)`. Where HBM is short, in the order of `HbmFirst`.
/// Halves round up. Computed in integers from the bandwidths, so nothing depends on a float.
pub struct BestRatio;

const EXTERNAL: TierId = TierId(1);

impl Initialization for BestRatio {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let system = layout.system();
        let (hbm, all) =
            (u128::from(system.tiers()[TierId::HBM.0].read_bandwidth.get()), system.total_read_bandwidth());
        for (index, sublayer) in layout.sublayers().into_iter().enumerate() {
            let on_hbm = sublayer.stored.share(hbm, all).min(layout.free(TierId::HBM));
            layout.put_weights(index, TierId::HBM, on_hbm)?;
            layout.spill_weights(index, EXTERNAL, sublayer.stored - on_hbm)?;
        }
        let prefill = layout.prefill() as u64;
        // Bytes are only the vehicle here: `share` is the rounding rule.
        let wanted = Bytes::new(prefill).share(hbm, all).get();
        for token in 0..prefill {
            let on_hbm = (token + 1) * wanted / prefill > token * wanted / prefill;
            for layer in 0..layout.layers() {
                layout.spill_token(layer, token as usize, if on_hbm { TierId::HBM } else { EXTERNAL })?;
            }
        }
        Ok(())
    }
}
