//! Regions: everything that occupies memory.
//!
//! A step reads two kinds of bytes. *Weights* are there from the start and are read in shares: a
//! piece of them may be split over tiers at any byte, and a read takes from each tier in
//! proportion. *KV* is kept in pages that lie and move as a whole; a KV region grows by a token a
//! step, and the pages that sparse attention skips are not read.
//!
//! Both are [regions](Region) with one kind of id, so that layouts, residency, moves, views and
//! bounds know nothing else about a model. A [`Regions`] lists the KV regions first: the skip sets
//! of a step, and what strategies keep about each region, are tables by [`RegionId`] without gaps.

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
        /// K and V of one token; 0 where the layer has no KV.
        token_bytes: Bytes,
    },
    /// A piece of the weights, divisible to the byte.
    Weights {
        /// The stage that reads it.
        stage: StageLabel,
        /// What it stores, and what a step reads of that.
        weights: Weights,
    },
}

/// All regions of a run: the KV of every sequence, layer by layer, then the weights in the order in
/// which a step reads them.
#[derive(Clone, Debug)]
pub struct Regions {
    all: Table<RegionId, Region>,
    layers: usize,
    /// How many of them are KV: the first ones.
    kv: usize,
}

impl Regions {
    /// The regions of `model` decoding so many sequences. O(sequences x layers).
    #[must_use]
    pub fn new(model: &LanguageModel, sequences: usize) -> Self {
        let mut all = Table::new();
        for sequence in SequenceId::all(sequences) {
            for (layer, &token_bytes) in model.kv_bytes().entries() {
                all.push(Region { layer: Some(layer), contents: Contents::Kv { sequence, token_bytes } });
            }
        }
        let kv = all.len();
        for stage in model.stages() {
            for &weights in &stage.weights {
                all.push(Region { layer: stage.layer, contents: Contents::Weights { stage: stage.label, weights } });
            }
        }
        Self { all, layers: model.layers(), kv }
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

    /// The KV regions, in the order of their ids.
    pub fn kv(&self) -> impl DoubleEndedIterator<Item = RegionId> + ExactSizeIterator + Clone + use<> {
        RegionId::all(self.kv)
    }

    /// The size of one token's KV in each KV region.
    pub fn token_bytes(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.all.iter().filter_map(|region| match region.contents {
            Contents::Kv { token_bytes, .. } => Some(token_bytes),
            Contents::Weights { .. } => None,
        })
    }

    /// The weight regions, in the order in which a step reads them.
    pub fn weights(&self) -> impl DoubleEndedIterator<Item = (RegionId, Weights)> + '_ {
        self.all.entries().filter_map(|(id, region)| match region.contents {
            Contents::Weights { weights, .. } => Some((id, weights)),
            Contents::Kv { .. } => None,
        })
    }

    /// The layer of a region, if it belongs to one.
    #[must_use]
    pub fn layer_of(&self, id: RegionId) -> Option<LayerId> {
        self.all[id].layer
    }
}
