//! What the layout of a plan is like.

use crate::units::Bytes;

/// What a layout is like, for words and for other programs' flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// What the strategy lays out.
    Strategy,
    /// All in the first tier.
    All,
    /// The last layers with the head in the first tier, as llama.cpp's `-ngl`; KV with them, or all
    /// of it external.
    Layers {
        /// How many.
        on_first: usize,
        /// Whether KV is where its layer is.
        kv_on_first: bool,
    },
    /// The experts of the first layers external, all else in the first tier.
    ExpertLayers {
        /// How many.
        external: usize,
    },
    /// A share of all weights in the first tier, and all KV.
    Weights {
        /// What of the weights is external.
        external: Bytes,
    },
    /// Pieces in an order, the last of them in part; or shares of pieces.
    Pieces,
    /// The question's own layout.
    Given,
}
