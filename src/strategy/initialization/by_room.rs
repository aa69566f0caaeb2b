use super::best_ratio::BestRatio;
use super::density_first::DensityFirst;
use super::{Active, Initialization, Layout};
use crate::memory::{Shortage, TierId};
use std::num::NonZeroU32;

/// [`BestRatio`] where HBM has room for all weights and `growth` times the KV of the prefill, else [`DensityFirst`].
///
/// Where HBM is short, what is read most for each byte belongs there, and tokens that are seldom read lie beyond. Where it is not,
/// it matters more that what lies beyond is read for certain: of tokens, another number is skipped there in each step, and a layer
/// waits whenever it is too few.
pub struct ByRoom {
    /// How many times the KV of the prefill there must be room for.
    pub growth: NonZeroU32,
    /// As of [`DensityFirst`].
    pub active: Active,
}

impl Initialization for ByRoom {
    fn uses_read_share(&self) -> bool {
        self.active == Active::Auto
    }

    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let weights = layout.sublayers().iter().map(|sublayer| sublayer.stored.get()).sum::<u64>();
        let token = (0..layout.layers()).map(|layer| layout.kv_bytes(layer).get()).sum::<u64>();
        let kv = u128::from(token) * layout.prefill() as u128;
        let room = u128::from(layout.free(TierId::HBM).get());
        if u128::from(weights) + u128::from(self.growth.get()) * kv <= room {
            BestRatio.lay_out(layout)
        } else {
            DensityFirst { active: self.active }.lay_out(layout)
        }
    }
}
