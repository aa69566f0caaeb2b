use super::best_ratio::BestRatio;
use super::density_first::DensityFirst;
use super::{Active, Initialization, Layout};
use crate::memory::{Shortage, TierId};
use std::num::NonZeroU32;

/// [`BestRatio`] where HBM has room for all weights and `growth` times the KV of the prompts, else
/// [`DensityFirst`]. Prompts are those of all sequences that begin with the run, computed or given.
///
/// Where HBM is short, the bytes that are read most often belong there, and tokens that are seldom
/// read in external memory. Where HBM is ample, it matters more that the bytes in external memory
/// are read in every step: of tokens there, another number is skipped in each step, and a layer
/// waits for HBM whenever it is too many.
pub struct ByRoom {
    /// How many times the KV of the prompts there must be room for.
    pub growth: NonZeroU32,
    /// As of [`DensityFirst`].
    pub active: Active,
}

impl Initialization for ByRoom {
    fn uses_read_share(&self) -> bool {
        self.active == Active::Auto
    }

    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let weights = layout.divisible().iter().map(|(_, weights)| weights.stored.get()).sum::<u64>();
        let of_region = |region| u128::from(layout.page_bytes(region).get()) * layout.expected(region) as u128;
        let kv: u128 = layout.kv().map(of_region).sum();
        let room = u128::from(layout.free(TierId::HBM).get());
        if u128::from(weights) + u128::from(self.growth.get()) * kv <= room {
            BestRatio.lay_out(layout)
        } else {
            DensityFirst { active: self.active }.lay_out(layout)
        }
    }
}
