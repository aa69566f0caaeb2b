//! How a tier computes, as a person writes it.

use crate::units::{Bytes, FlopRate, SimTime};
use serde::{Deserialize, Serialize};

/// How a tier computes, as a person writes it.
///
/// ```
/// use tiersim::workload::{Merge, ComputedPiece, TierComputeConfig};
/// let text = "TierCompute(pieces: [Experts], reach: 0.6, per_stage: \"30 us\")";
/// let cpu: TierComputeConfig = tiersim::config::parse(text, "cpu")?;
/// assert_eq!((cpu.pieces, cpu.reach), (vec![ComputedPiece::Experts], 0.6));
/// assert_eq!(cpu.merge, Merge::Parallel);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "TierCompute", deny_unknown_fields)]
pub struct TierComputeConfig {
    /// Which pieces it computes of what lies there; the chip reads the others. All where not given.
    #[serde(default = "all_pieces")]
    pub pieces: Vec<ComputedPiece>,
    /// The share of the tier's own bandwidth that its cores reach.
    #[serde(default = "full")]
    pub reach: f64,
    /// The time in each of its parts, between the arrival of the activations and its reads, in
    /// which it neither reads nor computes.
    #[serde(default)]
    pub per_stage: SimTime,
    /// When its part runs beside the chip's.
    #[serde(default)]
    pub merge: Merge,
    /// How fast it computes; without a limit where not given.
    #[serde(default)]
    pub rate: Option<FlopRate>,
    /// What crosses the link for each token of a stage that it computes a part of, in and out: the
    /// hidden state in 2 bytes an element where not given. A model in bytes needs it.
    #[serde(default)]
    pub activations: Option<Bytes>,
}

/// Pieces of a stage that a tier may compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComputedPiece {
    /// All weights.
    Weights,
    /// The weights of attention.
    Attention,
    /// All weights of the feed-forward part, experts among them.
    Mlp,
    /// The experts that tokens are routed to; of a model in bytes, feed-forward weights of which a
    /// step reads a part.
    Experts,
    /// KV and recurrent state.
    Kv,
}

/// When the tier's part of a stage runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Merge {
    /// At the same time as the chip's part: the stage ends when both have.
    #[default]
    Parallel,
    /// After the chip's part, and after those of all tiers before it.
    Serial,
}

fn all_pieces() -> Vec<ComputedPiece> {
    vec![ComputedPiece::Weights, ComputedPiece::Kv]
}

fn full() -> f64 {
    1.0
}

impl TierComputeConfig {
    /// The same, but that it computes at once: it takes no more than reading its part at all of the
    /// tier's bandwidth.
    #[must_use]
    pub fn at_once(&self) -> Self {
        let (none, nothing) = (SimTime::ZERO, Some(Bytes::ZERO));
        Self { reach: 1.0, per_stage: none, rate: None, activations: nothing, ..self.clone() }
    }

    /// Such as `experts and KV on dram computed there (0.6 of its bandwidth, 30 us a part)`.
    pub(super) fn described(&self, tier: &str) -> String {
        let word = |piece: &ComputedPiece| match piece {
            ComputedPiece::Weights => "weights",
            ComputedPiece::Attention => "attention",
            ComputedPiece::Mlp => "mlp",
            ComputedPiece::Experts => "experts",
            ComputedPiece::Kv => "KV",
        };
        let pieces = self.pieces.iter().map(word).collect::<Vec<_>>().join(" and ");
        let mut figures = vec![format!("at {} of its bandwidth", self.reach)];
        if self.per_stage > SimTime::ZERO {
            figures.push(format!("{} a part", self.per_stage.rounded()));
        }
        figures.extend(self.rate.map(|rate| rate.to_string()));
        if self.merge == Merge::Serial {
            figures.push("after the chip".to_owned());
        }
        format!("{pieces} on {tier} computed there ({})", figures.join(", "))
    }
}
