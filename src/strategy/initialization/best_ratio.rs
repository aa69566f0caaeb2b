use super::{Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::Bytes;

/// The best ratio of every sublayer's weights, and of every layer's prefill tokens spread evenly, on HBM; of the rest, the
/// best ratio of the tiers that remain on the next one, and so on.
///
/// In integers, from the bandwidths: `round(best * stored)` bytes of each sublayer on HBM, and `n = round(best * prefill)` tokens
/// of each layer: token j where `floor((j+1) n / prefill) > floor(j n / prefill)`. Halves round up. Where HBM is short, in the
/// order of `HbmFirst`.
pub struct BestRatio;

/// What one tier takes of what the tiers before it leave.
struct Portion {
    tier: TierId,
    bandwidth: u128,
    /// The sum of its bandwidth and of those after it.
    remaining: u128,
}

impl Initialization for BestRatio {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let system = layout.system();
        let mut remaining = system.total_read_bandwidth();
        let mut portions = Vec::new();
        for (tier, spec) in system.tier_ids().zip(system.tiers()) {
            let bandwidth = u128::from(spec.read_bandwidth.get());
            portions.push(Portion { tier, bandwidth, remaining });
            remaining -= bandwidth;
        }
        let (last, faster) = portions.split_last().expect("a memory system has tiers");

        for (index, sublayer) in layout.sublayers().into_iter().enumerate() {
            let mut left = sublayer.stored;
            for portion in faster {
                let part = left.share(portion.bandwidth, portion.remaining).min(layout.free(portion.tier));
                layout.put_weights(index, portion.tier, part)?;
                left -= part;
            }
            layout.spill_weights(index, last.tier, left)?;
        }

        let mut spread: Vec<Spread> = Vec::new();
        let mut left = layout.prefill() as u64;
        for portion in faster {
            // Bytes are only the vehicle here: `share` is the rounding rule.
            let taken = Bytes::new(left).share(portion.bandwidth, portion.remaining).get();
            spread.push(Spread { taken, of: left, seen: 0 });
            left -= taken;
        }
        for token in 0..layout.prefill() {
            let tier = spread.iter_mut().position(Spread::takes_next).map_or(last.tier, |index| faster[index].tier);
            layout.spill_token_of_layers(token, |_| tier)?;
        }
        Ok(())
    }
}

/// Takes `taken` of `of` tokens, spread evenly over them.
struct Spread {
    taken: u64,
    of: u64,
    /// How many it was offered.
    seen: u64,
}

impl Spread {
    fn takes_next(&mut self) -> bool {
        let j = self.seen;
        self.seen += 1;
        (j + 1) * self.taken / self.of > j * self.taken / self.of
    }
}
