//! What a tier computes itself: a CPU beside its DRAM, processing in memory.
//!
//! The part of a stage that lies on such a tier, and is of the pieces that it computes, does not
//! come to the chip. Activations go to the tier; it reads its part over its own lanes, not its
//! link, at the share of their bandwidth that its cores reach, and computes meanwhile; activations
//! come back. The stage ends when the chip's part and the tier's part have.

use super::check::{MAX_TIME, RuntimeError, tier_named};
use super::computes::{ComputedPiece, Merge, TierComputeConfig};
use super::config::RuntimeConfig;
use crate::memory::{Interleaving, MemorySystem, PerTier, Reach, TierId};
use crate::units::{Bytes, FlopRate, SimTime};
use crate::workload::{Contents, Growth, StageLabel};

/// What the second tier may be called where no tier has that name.
const EXTERNAL: &str = "external";

/// The tiers of a memory system that compute, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierComputes {
    /// In the order of tiers.
    all: Vec<TierCompute>,
}

/// How a tier computes, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct TierCompute {
    /// Which.
    pub tier: TierId,
    /// The share of the tier's own bandwidth that its cores reach.
    pub reach: Reach,
    /// The time in each of its parts in which it neither reads nor computes.
    pub per_stage: SimTime,
    /// When its part runs beside the chip's.
    pub merge: Merge,
    /// How fast it computes, if there is a limit.
    pub rate: Option<FlopRate>,
    /// What crosses the link for each token, in and out, where it is not the hidden state.
    pub activations: Option<Bytes>,
    pieces: Vec<ComputedPiece>,
}

impl TierCompute {
    /// Whether it computes what a region holds.
    #[must_use]
    pub fn computes(&self, contents: &Contents) -> bool {
        match contents {
            Contents::Kv { .. } | Contents::State { .. } => self.computes_kv(),
            // Experts that are units: of an mlp.
            Contents::Experts(_) => self
                .pieces
                .iter()
                .any(|piece| matches!(piece, ComputedPiece::Weights | ComputedPiece::Mlp | ComputedPiece::Experts)),
            Contents::Weights { stage, weights } => self.pieces.iter().any(|piece| match piece {
                ComputedPiece::Weights => true,
                ComputedPiece::Attention => *stage == StageLabel::Attention,
                ComputedPiece::Mlp => *stage == StageLabel::Mlp,
                ComputedPiece::Experts => {
                    let in_part = weights.growth == Growth::Fixed && weights.read < weights.stored;
                    *stage == StageLabel::Mlp && (in_part || matches!(weights.growth, Growth::Experts(_)))
                }
                ComputedPiece::Kv => false,
            }),
        }
    }

    /// Whether it computes attention over the KV, and the state, that lie there.
    #[must_use]
    #[inline]
    pub fn computes_kv(&self) -> bool {
        self.pieces.contains(&ComputedPiece::Kv)
    }
}

impl TierComputes {
    /// What `config` says of the tiers of `system`.
    ///
    /// # Errors
    /// [`RuntimeError`] for a tier that does not exist, the first tier, hashed pages, and figures
    /// that make no sense.
    pub fn new(config: &RuntimeConfig, system: &MemorySystem) -> Result<Self, RuntimeError> {
        let mut all = Vec::with_capacity(config.computes.len());
        for (name, of) in &config.computes {
            let named = tier_named(name, system, || "computes".to_owned());
            let tier = match named {
                // Of any system, as in layouts.
                Err(_) if name == EXTERNAL && system.tiers().len() > 1 => TierId::new(1),
                named => named?,
            };
            if tier == TierId::HBM {
                return Err(RuntimeError::FirstComputes { name: name.clone() });
            }
            if system.tiers()[tier.index()].interleaving != Interleaving::Striped {
                return Err(RuntimeError::HashedComputes { name: name.clone() });
            }
            let field = || format!("computes.{name}.reach");
            let reach = Reach::new(of.reach).ok_or_else(|| RuntimeError::Reach { field: field(), value: of.reach })?;
            let TierComputeConfig { per_stage, merge, rate, activations, ref pieces, .. } = *of;
            all.push(TierCompute { tier, reach, per_stage, merge, rate, activations, pieces: pieces.clone() });
        }
        all.sort_by_key(|of| of.tier);
        Ok(Self { all })
    }

    /// Whether no tier computes.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The tiers that compute, the fastest first.
    pub fn iter(&self) -> std::slice::Iter<'_, TierCompute> {
        self.all.iter()
    }

    /// How `tier` computes, if it does.
    #[must_use]
    #[inline]
    pub fn of(&self, tier: TierId) -> Option<&TierCompute> {
        self.all.iter().find(|of| of.tier == tier)
    }

    /// By tier, whether it computes what a region holds.
    #[must_use]
    pub fn by_tier(&self, tiers: usize, contents: &Contents) -> PerTier<bool> {
        PerTier::from_fn(tiers, |tier| self.of(tier).is_some_and(|of| of.computes(contents)))
    }
}

impl TierComputeConfig {
    /// Checks what can be checked without a memory system; `name` is the tier's.
    ///
    /// # Errors
    /// [`RuntimeError`], naming the field, the value and what to write instead.
    pub(super) fn check(&self, name: &str) -> Result<(), RuntimeError> {
        if self.pieces.is_empty() {
            return Err(RuntimeError::NoPieces { name: name.to_owned() });
        }
        if Reach::new(self.reach).is_none() {
            return Err(RuntimeError::Reach { field: format!("computes.{name}.reach"), value: self.reach });
        }
        if self.per_stage > MAX_TIME {
            return Err(RuntimeError::TierTime { name: name.to_owned(), time: self.per_stage });
        }
        Ok(())
    }
}
