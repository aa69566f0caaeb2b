//! Where new KV goes.

mod best_ratio;
mod prefer_hbm;

use crate::memory::{MemorySystem, TierId};
use crate::strategy::registry::registry;
use crate::units::Bytes;

registry! {
    /// The placements, by name.
    PlacementKind, "placement", Placement:
    PreferHbm => prefer_hbm::PreferHbm, "HBM while there is room, else the next tier";
    BestRatio => best_ratio::BestRatio, "the fastest tier whose share of the layer's tokens does not exceed its best ratio";
}

/// What a placement sees of the token to be written.
pub struct PlacementView<'a> {
    /// The layer.
    pub layer: usize,
    /// The token's index.
    pub token: usize,
    /// Its size.
    pub kv_bytes: Bytes,
    /// How many tokens of this layer each tier has, a moving one counted where it is moving to.
    pub tokens: &'a [usize],
    /// What is free on each tier.
    pub free: &'a [Bytes],
    /// Bandwidths and capacities.
    pub system: &'a MemorySystem,
}

impl PlacementView<'_> {
    /// Whether the token fits on `tier`.
    #[must_use]
    pub fn fits(&self, tier: TierId) -> bool {
        self.free[tier.0] >= self.kv_bytes
    }

    /// The fastest tier on which it fits.
    #[must_use]
    pub fn fastest_that_fits(&self) -> Option<TierId> {
        self.system.tier_ids().find(|tier| self.fits(*tier))
    }
}

/// Chooses the tier of each new token's KV.
pub trait Placement {
    /// The tier, or `None` where it fits nowhere. A tier without room for it ends the run as well.
    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId>;
}
