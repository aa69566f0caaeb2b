use crate::units::Bytes;
use thiserror::Error;

/// What is wrong with a layout.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum LayoutError {
    #[error("layout: there are no rules: write PIECE=TIER, as in 'experts=external, *=hbm'")]
    NoRules,
    #[error(
        "layout: '{rule}' is no rule: write PIECE=TIER, with a range of layers or a share where wanted, as in 'mlp layers 0..20=cpu' or 'kv=60% hbm'"
    )]
    Form { rule: String },
    #[error("layout: '{rule}': there is no piece '{piece}': use one of {known}.{meant}")]
    Piece { rule: String, piece: String, known: String, meant: String },
    #[error(
        "layout: '{rule}': '{layers}' are no layers: write 0..20 (without layer 20), 40.. (from layer 40 on), ..20 or a single layer"
    )]
    Layers { rule: String, layers: String },
    #[error("layout: '{rule}': {message}")]
    Share { rule: String, message: String },
    #[error("layout: '{rule}': {known}, so that '{tier}' names no single tier: use one of {names}.{meant}")]
    Tier { rule: String, tier: String, known: String, names: String, meant: String },
    #[error("layout: '{rule}': the model has {layers} layers, the last is layer {}: lower the range", layers - 1)]
    NoSuchLayer { rule: String, layers: usize },
    #[error("layout: '{rule}': a layer selects nothing of {piece}, which belongs to no layer: leave the layers out")]
    NoLayers { rule: String, piece: String },
    #[error(
        "layout: '{rule}' is never reached: the rules before it have taken all that it selects. The first match wins: move it to the front or leave it out"
    )]
    NeverReached { rule: String },
    #[error(
        "layout: '{rule}' is for keys and values that are kept apart, but each page holds both: set kv_groups to KeysAndValues \
         (--kv-groups), or write kv"
    )]
    TogetherKv { rule: String },
    #[error("layout: no rule says where {what} lies: end the layout with '*={tier}' or another rule for it")]
    Missing { what: String, tier: String },
    #[error("layout: {0}")]
    NoRoom(Box<ShortTier>),
}

/// A tier without room for what a rule puts there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{rule}': {wanted} ({parts}) are to lie on {tier}, which has {free} of its {capacity} left: {missing} are missing. \
     Select less with a share or a range of layers (such as '{example}') and leave the rest to a rule for another tier, or enlarge {tier}",
    wanted = wanted.rounded(), free = free.rounded(), capacity = capacity.rounded(), missing = missing.rounded()
)]
pub struct ShortTier {
    /// As it is written.
    pub rule: String,
    /// What of it is attention, experts and so on.
    pub parts: String,
    /// The tier's name.
    pub tier: String,
    /// What it holds in all.
    pub capacity: Bytes,
    /// What the rules before this one leave of it.
    pub free: Bytes,
    /// What the rule puts there.
    pub wanted: Bytes,
    /// `wanted` less `free`.
    pub missing: Bytes,
    /// A rule of which there is room.
    pub example: String,
}

impl LayoutError {
    /// Whether what is wrong is a tier without room; all else is right then.
    #[must_use]
    pub fn is_of_room(&self) -> bool {
        matches!(self, Self::NoRoom(_))
    }
}
