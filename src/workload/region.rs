//! Regions: everything that occupies memory.
//!
//! A step reads three kinds of bytes. *Weights* are there from the start and are read in shares: a
//! piece of them may be split over tiers at any byte, and a read takes from each tier in
//! proportion. *State* is what a recurrent layer keeps of a sequence: it is laid out as weights
//! are, read in full by every step, and written back. *KV* is kept in pages that lie and move as a
//! whole; a KV region grows by a token a step, and the pages that sparse attention skips are not
//! read. Where attention has a window, the pages before it are freed.
//!
//! All are [regions](Region) with one kind of id, so that layouts, residency, moves, views and
//! bounds know nothing else about a model. A [`Regions`] lists the KV regions first: the skip sets
//! of a step, and what strategies keep about each region, are tables by [`RegionId`] without gaps.
//! Weights and state follow: what can be divided at any byte.

use super::label::StageLabel;
use super::model::{LanguageModel, Weights};
use crate::units::{Bytes, LayerId, RegionId, SequenceId, Table};

/// One thing that occupies memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The layer that it belongs to; `None` for what belongs to no layer (embedding, head).
    pub layer: Option<LayerId>,
    /// What it holds.
    pub contents: Contents,
}

/// What a region holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The KV of one sequence in one layer, in pages.
    Kv {
        /// Whose KV it is.
        sequence: SequenceId,
        /// K and V of one token; 0 where the layer has no KV of its own.
        token_bytes: Bytes,
        /// How many tokens of the context attention sees, the last ones; all where not given.
        window: Option<u32>,
    },
    /// A piece of the weights, divisible to the byte.
    Weights {
        /// The stage that reads it.
        stage: StageLabel,
        /// What it stores, and what a step reads of that.
        weights: Weights,
    },
    /// What a recurrent layer keeps of one sequence, divisible to the byte: every step reads all of
    /// it and writes all of it back.
    State {
        /// Whose state it is.
        sequence: SequenceId,
        /// Its size.
        bytes: Bytes,
    },
}

impl Contents {
    /// What it stores and what a step reads of that, if it can be divided at any byte.
    fn divisible(&self) -> Option<Weights> {
        match *self {
            Self::Weights { weights, .. } => Some(weights),
            Self::State { bytes, .. } => Some(Weights::whole(bytes)),
            Self::Kv { .. } => None,
        }
    }
}

/// All regions of a run: the KV of every sequence, layer by layer, then weights and state in the
/// order in which a step reads them.
#[derive(Clone, Debug)]
pub struct Regions {
    all: Table<RegionId, Region>,
    layers: usize,
    /// How many of them are KV: the first ones.
    kv: usize,
    /// By KV region, the state of the same sequence in the same layer.
    state: Table<RegionId, Option<RegionId>>,
    lengths: Table<SequenceId, Lengths>,
}

/// How long a sequence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// The tokens whose KV is there before the first step of the run.
    pub at_start: usize,
    /// The tokens of its prompt: those at the start, or those that it will have before it decodes.
    pub prompt: usize,
    /// The same if it begins with the first step of the run, else 0: what layouts reckon with.
    pub expected: usize,
    /// The most tokens that it ever has.
    pub most: usize,
}

impl Regions {
    /// The regions of `model` decoding sequences of these lengths. O(sequences x layers).
    #[must_use]
    pub fn new(model: &LanguageModel, lengths: &[Lengths]) -> Self {
        let sequences = lengths.len();
        let mut all = Table::new();
        for sequence in SequenceId::all(sequences) {
            for (layer, of) in model.kv().entries() {
                // A layer that reads the KV of another has none of its own.
                let token_bytes = if of.source == layer { of.token_bytes } else { Bytes::ZERO };
                let contents = Contents::Kv { sequence, token_bytes, window: of.window };
                all.push(Region { layer: Some(layer), contents });
            }
        }
        let kv = all.len();
        let lengths = Table::from(lengths.to_vec());
        let mut regions = Self { all, layers: model.layers(), kv, state: Table::filled(kv, None), lengths };
        for stage in model.stages() {
            for &weights in &stage.weights {
                let contents = Contents::Weights { stage: stage.label, weights };
                regions.all.push(Region { layer: stage.layer, contents });
            }
            if let Some(layer) = stage.state_of() {
                regions.push_state(layer, model.kv()[layer].state, sequences);
            }
        }
        regions
    }

    /// Adds the state of a layer, if it keeps any.
    fn push_state(&mut self, layer: LayerId, bytes: Bytes, sequences: usize) {
        for sequence in SequenceId::all(sequences).filter(|_| bytes > Bytes::ZERO) {
            let region = Region { layer: Some(layer), contents: Contents::State { sequence, bytes } };
            let of_kv = self.kv_of(sequence, layer);
            self.state[of_kv] = Some(self.all.push(region));
        }
    }

    /// How many layers the model has.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// How many regions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many of them hold KV.
    #[must_use]
    pub fn kv_len(&self) -> usize {
        self.kv
    }

    /// The region of that id.
    #[must_use]
    pub fn region(&self, id: RegionId) -> &Region {
        &self.all[id]
    }

    /// The KV of `sequence` in `layer`.
    #[must_use]
    pub fn kv_of(&self, sequence: SequenceId, layer: LayerId) -> RegionId {
        RegionId::new(sequence.index() * self.layers + layer.index())
    }

    /// How many sequences have regions.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.lengths.len()
    }

    /// The sequence of a KV region.
    #[must_use]
    pub fn sequence_of(&self, region: RegionId) -> SequenceId {
        SequenceId::new(region.index() / self.layers)
    }

    /// How long the sequence of each KV region is.
    pub fn lengths(&self) -> impl Iterator<Item = Lengths> + '_ {
        self.lengths.iter().flat_map(|lengths| std::iter::repeat_n(*lengths, self.layers))
    }

    /// The KV regions, in the order of their ids.
    pub fn kv(&self) -> impl DoubleEndedIterator<Item = RegionId> + ExactSizeIterator + Clone + use<> {
        RegionId::all(self.kv)
    }

    /// The size of one token's KV in each KV region.
    pub fn token_bytes(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.all.iter().filter_map(|region| match region.contents {
            Contents::Kv { token_bytes, .. } => Some(token_bytes),
            Contents::Weights { .. } | Contents::State { .. } => None,
        })
    }

    /// How many tokens of the context the attention of each KV region sees, the last ones;
    /// [`usize::MAX`] where it sees all.
    pub fn windows(&self) -> impl Iterator<Item = usize> + '_ {
        self.all.iter().filter_map(|region| match region.contents {
            Contents::Kv { window, .. } => Some(window.map_or(usize::MAX, |tokens| tokens as usize)),
            Contents::Weights { .. } | Contents::State { .. } => None,
        })
    }

    /// The state of `sequence` in `layer`, if that layer keeps one.
    #[must_use]
    pub fn state_of(&self, sequence: SequenceId, layer: LayerId) -> Option<RegionId> {
        self.state[self.kv_of(sequence, layer)]
    }

    /// Whether a region holds state.
    #[must_use]
    pub fn is_state(&self, id: RegionId) -> bool {
        matches!(self.all[id].contents, Contents::State { .. })
    }

    /// The weight regions, in the order in which a step reads them.
    pub fn weights(&self) -> impl DoubleEndedIterator<Item = (RegionId, Weights)> + '_ {
        self.all.entries().filter_map(|(id, region)| match region.contents {
            Contents::Weights { weights, .. } => Some((id, weights)),
            Contents::Kv { .. } | Contents::State { .. } => None,
        })
    }

    /// The regions that can be divided at any byte, in the order in which a step reads them:
    /// weights and state, with what they store and what a step reads of that.
    pub fn divisible(&self) -> impl DoubleEndedIterator<Item = (RegionId, Weights)> + '_ {
        self.all.entries().filter_map(|(id, region)| Some((id, region.contents.divisible()?)))
    }

    /// The layer of a region, if it belongs to one.
    #[must_use]
    pub fn layer_of(&self, id: RegionId) -> Option<LayerId> {
        self.all[id].layer
    }
}
