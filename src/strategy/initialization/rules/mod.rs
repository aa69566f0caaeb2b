//! Layouts by piece: an ordered list of rules, of which the first that matches wins.
//!
//! `experts=external, layers 0..20=hbm, kv=60% hbm, *=external` puts all experts in external
//! memory, of the first 20 layers what is left in HBM, and of the other layers' KV 60 % in HBM; the
//! other 40 % go on to the next rule that matches, as all weights do that no rule before it has
//! taken. So partial offload is written down as it is with llama.cpp's `-ngl`, `-ot` and
//! `--n-cpu-moe`.
//!
//! [`LayoutRules`] are the rules as a person writes them. Held against a model and a memory system
//! they are [`Rules`], which lay weights and prefill KV out, and place new KV: a layout that is
//! given takes the place of a strategy's initialization and placement. Its migration stays, and may
//! move KV to where no rule has put it.

mod error;
mod lay_out;
mod resolved;
mod room;
mod text;

pub use error::{LayoutError, ShortTier};
pub use resolved::Rules;
pub(in crate::strategy) use resolved::Take;

use crate::units::Ratio;
use crate::workload::{KvGroup, KvPart};
use std::fmt;
use std::ops::Range;

/// An ordered list of rules: which pieces of a model lie on which tier.
///
/// In text, rules are separated by commas or semicolons, each
/// `[PIECE] [layers RANGE]=[SHARE] TIER`:
///
/// ```
/// use tiersim::strategy::LayoutRules;
/// let rules: LayoutRules = "experts layers 20..=external; kv=60% hbm, *=hbm".parse()?;
/// assert_eq!(rules.to_string(), "experts layers 20..=external, kv=60% hbm, *=hbm");
/// assert!("experts=".parse::<LayoutRules>().is_err());
/// # Ok::<(), tiersim::strategy::LayoutError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutRules(Vec<Rule>);

/// One rule: so much of what it selects goes to that tier.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    piece: Piece,
    /// Only what belongs to these layers; the end is excluded, and may be open.
    layers: Option<Layers>,
    /// Of each piece this share, what faster rules leave of it at most; all that is left of it
    /// where not given.
    share: Option<Ratio>,
    /// By its name in the memory system, or `hbm` or `external`.
    tier: String,
}

/// A range of layers, as it is written: `a..b`, `a..`, `..b` or one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layers {
    start: u32,
    /// Excluded.
    end: Option<u32>,
}

impl Layers {
    fn contains(self, layer: usize) -> bool {
        layer >= self.start as usize && self.end.is_none_or(|end| layer < end as usize)
    }
}

/// What a rule selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// The weights of attention, whatever mixes tokens in the layer.
    Attention,
    /// The weights of the feed-forward part: its experts and shared experts among them.
    Mlp,
    /// The experts that tokens are routed to.
    Experts,
    /// The experts that every token passes.
    Shared,
    Embedding,
    Head,
    /// All weights.
    Weights,
    /// KV and recurrent state.
    Kv,
    /// The keys, where they are kept apart from the values.
    Keys,
    /// The values, where they are kept apart from the keys.
    Values,
    /// All weights, KV and state.
    All,
}

impl Piece {
    const NAMED: [(&'static str, Self); 11] = [
        ("attention", Self::Attention),
        ("mlp", Self::Mlp),
        ("experts", Self::Experts),
        ("shared", Self::Shared),
        ("embedding", Self::Embedding),
        ("head", Self::Head),
        ("weights", Self::Weights),
        ("kv", Self::Kv),
        ("keys", Self::Keys),
        ("values", Self::Values),
        ("*", Self::All),
    ];

    /// Whether it selects that part.
    fn selects(self, part: Part) -> bool {
        match self {
            Self::All => true,
            Self::Weights => !part.is_kv(),
            Self::Mlp => matches!(part, Part::Mlp | Part::Experts | Part::Shared),
            Self::Attention => part == Part::Attention,
            Self::Experts => part == Part::Experts,
            Self::Shared => part == Part::Shared,
            Self::Embedding => part == Part::Embedding,
            Self::Head => part == Part::Head,
            Self::Kv => part.is_kv(),
            Self::Keys => part == Part::Keys,
            Self::Values => part == Part::Values,
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMED.iter().find(|(_, piece)| piece == self).map_or("*", |(name, _)| name);
        f.pad(name)
    }
}

/// The parts of a model that rules tell apart: each stored byte belongs to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Attention,
    /// What of the feed-forward part is neither an expert nor a shared expert.
    Mlp,
    Experts,
    Shared,
    Embedding,
    Head,
    /// KV and recurrent state.
    Kv,
    /// The keys, where they are kept apart.
    Keys,
    /// The values, where they are kept apart.
    Values,
}

impl Part {
    /// Whether it is KV or state.
    fn is_kv(self) -> bool {
        matches!(self, Self::Kv | Self::Keys | Self::Values)
    }

    /// The part that a region of KV is of.
    fn of_group(group: KvGroup) -> Self {
        match group.part {
            None => Self::Kv,
            Some(KvPart::Keys) => Self::Keys,
            Some(KvPart::Values) => Self::Values,
        }
    }

    /// Those of a layer.
    const OF_LAYER: [Self; 7] =
        [Self::Attention, Self::Mlp, Self::Experts, Self::Shared, Self::Kv, Self::Keys, Self::Values];
    /// Those of no layer.
    const OUTSIDE: [Self; 2] = [Self::Embedding, Self::Head];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Experts => "experts",
            Self::Shared => "shared",
            Self::Embedding => "embedding",
            Self::Head => "head",
            Self::Kv => "kv",
            Self::Keys => "keys",
            Self::Values => "values",
        })
    }
}

impl Rule {
    /// Whether it selects that part of a layer, or of none.
    fn selects(&self, part: Part, layer: Option<usize>) -> bool {
        let of_layer = |layers: Layers| layer.is_some_and(|layer| layers.contains(layer));
        self.piece.selects(part) && self.layers.is_none_or(of_layer)
    }
}

/// The layers `a..b` that are selected, for messages.
fn shown(layers: &Range<usize>) -> String {
    format!("{}..{}", layers.start, layers.end)
}
