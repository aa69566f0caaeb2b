//! Templates of stages: what a language model says of each stage and layer, whatever the number of
//! sequences that decode.

use super::format::Format;
use super::label::StageLabel;
use super::union::Routing;
use crate::units::{Bytes, LayerId};

/// The most layers of a model that can be simulated.
pub(super) const MAX_LAYERS: u64 = 4096;

/// A piece of the weights, checked: nothing is read where nothing is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// What occupies memory.
    pub stored: Bytes,
    /// What one step of one sequence reads, evenly over what is stored.
    pub read: Bytes,
    /// How it is stored, where the model says so.
    pub format: Option<Format>,
    /// What a step of several sequences reads.
    pub growth: Growth,
    /// What of `stored` is of shared experts, which layouts by piece tell apart from the rest.
    pub shared: Bytes,
}

/// How what a step reads of a piece grows with the number of sequences that decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// Not at all: a matrix is read once for all.
    #[default]
    Fixed,
    /// A row for each sequence, as of an embedding.
    Rows,
    /// The experts that any of the sequences is routed to.
    Experts(Routing),
}

impl Weights {
    /// A piece of which a step reads all, in no format that kernels know of.
    #[must_use]
    pub fn whole(stored: Bytes) -> Self {
        Self { stored, read: stored, format: None, growth: Growth::Fixed, shared: Bytes::ZERO }
    }

    /// Whether it is of experts: or, of a model in bytes, is read in part.
    #[must_use]
    pub fn is_experts(&self) -> bool {
        match self.growth {
            Growth::Experts(_) => true,
            Growth::Fixed => self.read < self.stored,
            Growth::Rows => false,
        }
    }

    /// Whether they are of experts.
    #[must_use]
    pub fn are_experts(&self) -> bool {
        matches!(self.growth, Growth::Experts(_))
    }

    /// What a step of so many sequences reads: for experts, the expected union of those that the
    /// sequences are routed to, to the nearest byte.
    #[must_use]
    pub fn read_at(&self, sequences: u32) -> Bytes {
        match self.growth {
            Growth::Fixed => self.read,
            Growth::Rows => Bytes::new(self.read.get().saturating_mul(u64::from(sequences))).min(self.stored),
            Growth::Experts(_) if sequences == 1 => self.read,
            Growth::Experts(routing) => {
                let share = routing.union(sequences) / f64::from(routing.count());
                Bytes::new((self.stored.as_f64() * share).round() as u64).min(self.stored)
            }
        }
    }
}

/// How the KV of a token in a layer is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvParts {
    /// How many heads; `None` where the model does not say, as one in bytes.
    pub heads: Option<u32>,
    /// The keys of all heads; the rest are values.
    pub keys: Bytes,
}

/// What a layer keeps of each sequence, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerKv {
    /// K and V of one token; 0 where the layer has no KV of its own.
    pub token_bytes: Bytes,
    /// Of these, the key of an indexer that selects what attention reads.
    pub index_bytes: Bytes,
    /// How many tokens its attention reads, the last ones; all where `None`.
    pub window: Option<u32>,
    /// Its recurrent state, read and written in each step; 0 where it has none.
    pub state: Bytes,
    /// The layer whose KV its attention reads: itself, unless it shares that of another.
    pub source: LayerId,
    /// How keys, values and heads divide it; `None` where it is neither keys nor values.
    pub parts: Option<KvParts>,
}

impl LayerKv {
    /// The KV of one sequence of so many tokens, its state aside: tokens before the window are not
    /// kept.
    #[must_use]
    pub fn bytes_at(&self, tokens: u64) -> u128 {
        let kept = self.window.map_or(tokens, |window| tokens.min(u64::from(window)));
        u128::from(kept) * u128::from(self.token_bytes.get())
    }
}

/// A stage of a step, as a model has it: the template of a [`Stage`](super::Stage).
#[derive(Clone, Debug, PartialEq)]
pub struct ModelStage {
    /// What it computes.
    pub label: StageLabel,
    /// The layer that it belongs to, if it belongs to one.
    pub layer: Option<LayerId>,
    /// The pieces of the weights that it reads.
    pub weights: Vec<Weights>,
    /// Whether it reads the KV of its layer, and appends to it.
    pub attends: bool,
    /// FLOP of one sequence for its weights; 0 for a model in bytes.
    pub flop: f64,
    /// FLOP for each byte of KV read; 0 for a model in bytes.
    pub flop_per_kv_byte: f64,
}

impl ModelStage {
    /// The layer whose state it reads and writes, if that keeps any: the one that it is the
    /// attention of, whether there is KV or not.
    #[must_use]
    pub fn state_of(&self) -> Option<LayerId> {
        self.layer.filter(|_| self.label == StageLabel::Attention)
    }

    /// Whether it reads experts.
    #[must_use]
    pub fn has_experts(&self) -> bool {
        self.weights.iter().any(Weights::are_experts)
    }

    /// What its weights occupy.
    #[must_use]
    pub fn stored(&self) -> Bytes {
        self.weights.iter().map(|weights| weights.stored).sum()
    }

    /// What a step of so many sequences reads of its weights.
    #[must_use]
    pub fn read_at(&self, sequences: u32) -> Bytes {
        self.weights.iter().map(|weights| weights.read_at(sequences)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::union::Popularity;

    #[test]
    fn reads_grow_as_the_piece_says() {
        let weights = |growth| Weights { read: Bytes::new(200), growth, ..Weights::whole(Bytes::new(800)) };
        assert_eq!([1, 2, 9].map(|batch| weights(Growth::Fixed).read_at(batch).get()), [200, 200, 200]);
        assert_eq!([0, 1, 2, 9].map(|batch| weights(Growth::Rows).read_at(batch).get()), [0, 200, 400, 800]);
        // Two of eight: 8 (1 - (3/4)^2) = 3.5 of them at two sequences.
        let experts = Growth::Experts(Routing::new(8, 2, Popularity::Uniform).unwrap());
        assert_eq!([1, 2].map(|batch| weights(experts).read_at(batch).get()), [200, 350]);
    }

    #[test]
    fn a_window_limits_what_is_kept() {
        let layer = |window| LayerKv {
            token_bytes: Bytes::new(10),
            index_bytes: Bytes::ZERO,
            window,
            state: Bytes::new(3),
            source: LayerId::new(0),
            parts: None,
        };
        assert_eq!((layer(None).bytes_at(100), layer(Some(20)).bytes_at(100)), (1000, 200));
        assert_eq!(layer(Some(20)).bytes_at(5), 50);
    }
}
