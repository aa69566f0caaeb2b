//! The layout before step 0.
//!
//! An [`Initialization`] puts the weights and the KV of the prompt on the tiers. Each lives in a
//! file of its own; a line in the list below gives it its name and its parameters.

mod active;
mod as_bound;
mod best_ratio;
mod by_room;
mod by_share;
mod density_first;
mod experts;
mod hbm_first;
mod in_order;
mod layout;
mod rules;
mod spill;
mod spread;

pub use active::Active;
pub use as_bound::AsBound;
pub use experts::{ExpertChoice, ExpertOrder};
pub use layout::{LaidOut, Layout};
pub(in crate::strategy) use rules::Take;
pub use rules::{LayoutError, LayoutRules, Rules, ShortTier};
pub use spill::Pattern;

use crate::memory::Shortage;
use crate::strategy::registry::registry;
use crate::units::Ratio;
use std::num::NonZeroU32;

registry! {
    /// The initializations, by name.
    InitializationKind, "initialization", Initialization:
    HbmFirst => hbm_first::HbmFirst, "all weights, then all prefill KV, on HBM while it fits; the rest on the next tier";
    BestRatio => best_ratio::BestRatio, "of every stage's weights and every layer's prefill tokens, each tier's best ratio on it";
    DensityFirst { active: Active = Active::Auto } => density_first::DensityFirst { active }, "the most read bytes a stored byte first, each stage up to its best ratio; assumes that a share `active` of the tokens is read in each step";
    Static { weights: Ratio = Ratio::from_permille(850).unwrap(), kv: Ratio = Ratio::from_permille(850).unwrap() } => by_share::Static { weights, kv }, "HBM's shares of the weights and of the prefill KV, as FlexGen's percentages";
    WeightsFirst => in_order::InOrder(in_order::Order::Weights), "weights on HBM while they fit, then prefill KV layer by layer";
    KvFirst => in_order::InOrder(in_order::Order::Kv), "prefill KV on HBM while it fits, then weights";
    ByRoom { growth: NonZeroU32 = GROWTH, active: Active = Active::Auto } => by_room::ByRoom { growth, active }, "BestRatio where HBM has room for all weights and `growth` times the prefill's KV, else DensityFirst";
}

/// The default `growth` of `ByRoom`.
const GROWTH: NonZeroU32 = NonZeroU32::new(2).unwrap();

impl InitializationKind {
    /// `ByRoom` with the defaults of its parameters.
    pub(super) const BY_ROOM: Self = Self::ByRoom { growth: GROWTH, active: Active::Auto };
}

/// Lays weights and prefill KV out.
pub trait Initialization {
    /// Whether it asks for [`Layout::read_share`], which takes reading the trace's first steps.
    fn uses_read_share(&self) -> bool {
        false
    }

    /// Puts all stored weights and every prefill page of every KV region somewhere on `layout`.
    ///
    /// # Errors
    /// [`Shortage`] if something fits nowhere.
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage>;
}
