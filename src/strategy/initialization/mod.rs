//! What lies where before step 0.

mod best_ratio;
mod hbm_first;
mod layout;

pub use layout::Layout;

use crate::memory::Shortage;
use crate::strategy::registry::registry;

registry! {
    /// The initializations, by name.
    InitializationKind, "initialization", Initialization:
    HbmFirst => hbm_first::HbmFirst, "all weights, then all prefill KV, on HBM while it fits; the rest external";
    BestRatio => best_ratio::BestRatio, "the best ratio of every sublayer's weights and of every layer's prefill tokens on HBM";
}

/// Lays weights and prefill KV out.
pub trait Initialization {
    /// Puts every sublayer's stored bytes and every prefill token of every layer somewhere on `layout`.
    ///
    /// # Errors
    /// [`Shortage`] if something fits nowhere.
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage>;
}
