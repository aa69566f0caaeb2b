//! Regions: everything that occupies memory.
//!
//! A step reads four kinds of bytes. *Weights* are there from the start and are read in shares: a
//! piece of them may be split over tiers at any byte, and a read takes from each tier in
//! proportion. *State* is what a recurrent layer keeps of a sequence: it is laid out as weights
//! are, read in full by every step, and written back. *KV* is kept in pages that lie and move as a
//! whole; a KV region grows by a token a step, and the pages that sparse attention skips are not
//! read. Where attention has a window, the pages before it are freed. *Experts* are weights of
//! which a step reads those that its tokens are routed to; where a scenario says which, they are
//! units as pages of KV are: a page is an expert, and an expert that no token is routed to is
//! skipped. Otherwise they are weights, read in shares.
//!
//! All are [regions](Region) with one kind of id, so that layouts, residency, moves, views and
//! bounds know nothing else about a model. A [`Regions`] lists what is kept in pages first: the
//! skip sets of a step, and what strategies keep about each region, are tables by [`RegionId`]
//! without gaps. Those are the KV regions of each sequence, then one region of experts for each
//! layer, as if they were of one sequence more. Weights and state follow: what can be divided at
//! any byte.

use super::experts::Experts;
use super::kv_groups::KvGroup;
use super::label::StageLabel;
use super::model::{LanguageModel, Weights};
use crate::units::{Bytes, LayerId, PageSize, RegionId, SequenceId, Table};

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
    /// The KV of one sequence in one layer, or one group of it, in pages.
    Kv {
        /// Whose KV it is.
        sequence: SequenceId,
        /// What one token takes in it; 0 where the layer has no KV of its own.
        token_bytes: Bytes,
        /// How many tokens of the context attention sees, the last ones; all where not given.
        window: Option<u32>,
        /// What of the layer's KV it holds.
        group: KvGroup,
    },
    /// The experts of one layer, each of them a page; none where the layer has none.
    Experts(Experts),
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
            Self::Kv { .. } | Self::Experts(_) => None,
        }
    }

    /// The size of what a page is counted in, if it is kept in pages: a token of KV, or an expert.
    fn unit_bytes(&self) -> Option<Bytes> {
        match self {
            Self::Kv { token_bytes, .. } => Some(*token_bytes),
            Self::Experts(experts) => Some(experts.expert_bytes),
            Self::Weights { .. } | Self::State { .. } => None,
        }
    }
}

/// All regions of a run: what is kept in pages (the KV of every sequence, layer by layer, then the
/// experts of each layer where they are units), then weights and state in the order in which a step
/// reads them.
#[derive(Clone, Debug)]
pub struct Regions {
    all: Table<RegionId, Region>,
    layers: usize,
    /// How many KV regions a sequence has.
    per_sequence: usize,
    /// How many groups the KV of each layer has.
    groups: usize,
    sequences: usize,
    /// How many regions hold KV: the first ones.
    kv: usize,
    /// By KV region, the state of the same sequence in the same layer.
    state: Table<RegionId, Option<RegionId>>,
    /// By region that is kept in pages.
    lengths: Table<RegionId, Lengths>,
    /// Weights, state and experts, in the order in which a step reads them.
    constant: Vec<RegionId>,
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

impl Lengths {
    /// As long from the start to the end.
    fn constant(length: usize) -> Self {
        Self { at_start: length, prompt: length, expected: length, most: length }
    }
}

impl Regions {
    /// The regions of `model` decoding sequences of these lengths; experts are weights.
    /// O(sequences x layers).
    #[must_use]
    pub fn new(model: &LanguageModel, lengths: &[Lengths]) -> Self {
        Self::with_experts(model, lengths, None)
    }

    /// As [`new`](Self::new); if the `experts` of each layer are given, they are units.
    #[must_use]
    pub fn with_experts(model: &LanguageModel, lengths: &[Lengths], experts: Option<&Table<LayerId, Experts>>) -> Self {
        let (sequences, layers) = (lengths.len(), model.layers());
        let (mut all, mut of_pages) = (Table::new(), Table::new());
        for (sequence, of_sequence) in SequenceId::all(sequences).zip(lengths) {
            for (layer, of) in model.kv().entries() {
                // A layer that reads the KV of another has none of its own.
                let groups = model.kv_groups();
                for number in 0..model.groups() {
                    let token_bytes = if of.source == layer { groups.bytes(number, of) } else { Bytes::ZERO };
                    let group = groups.group(number);
                    let contents = Contents::Kv { sequence, token_bytes, window: of.window, group };
                    all.push(Region { layer: Some(layer), contents });
                    of_pages.push(*of_sequence);
                }
            }
        }
        let kv = all.len();
        for (layer, experts) in experts.iter().flat_map(|experts| experts.entries()) {
            all.push(Region { layer: Some(layer), contents: Contents::Experts(experts.clone()) });
            of_pages.push(Lengths::constant(experts.count));
        }
        let state = Table::filled(kv, None);
        let (per_sequence, groups, constant) = (model.kv_regions(), model.groups(), Vec::new());
        let mut regions = Self { all, layers, per_sequence, groups, sequences, kv, state, lengths: of_pages, constant };
        for stage in model.stages() {
            let of_experts = stage.layer.filter(|_| stage.has_experts()).and_then(|layer| regions.experts_of(layer));
            for &weights in stage.weights.iter().filter(|weights| of_experts.is_none() || !weights.are_experts()) {
                let contents = Contents::Weights { stage: stage.label, weights };
                let region = regions.all.push(Region { layer: stage.layer, contents });
                regions.constant.push(region);
            }
            regions.constant.extend(of_experts);
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
            let of_kv = self.first_kv_of(sequence, layer);
            let region = self.all.push(region);
            self.state[of_kv] = Some(region);
            self.constant.push(region);
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

    /// How many of them are kept in pages: the first ones, those that hold KV and then those that
    /// hold experts.
    #[must_use]
    pub fn paged_len(&self) -> usize {
        self.lengths.len()
    }

    /// How many of them hold KV: the first ones.
    #[must_use]
    pub fn kv_len(&self) -> usize {
        self.kv
    }

    /// How many KV regions a sequence has.
    #[must_use]
    pub fn per_sequence(&self) -> usize {
        self.per_sequence
    }

    /// Whether experts are units.
    #[must_use]
    pub fn has_experts(&self) -> bool {
        self.paged_len() > self.kv
    }

    /// The region of that id.
    #[must_use]
    pub fn region(&self, id: RegionId) -> &Region {
        &self.all[id]
    }

    /// What each group of the KV of a layer holds.
    pub fn kv_groups(&self) -> impl Iterator<Item = KvGroup> + '_ {
        RegionId::all(self.groups.min(self.kv)).filter_map(|region| Some(self.kv_group_of(region)?.1))
    }

    /// The layer of a region of KV, and what of its KV it holds.
    #[must_use]
    pub fn kv_group_of(&self, id: RegionId) -> Option<(LayerId, KvGroup)> {
        match self.all[id] {
            Region { layer: Some(layer), contents: Contents::Kv { group, .. } } => Some((layer, group)),
            _ => None,
        }
    }

    /// How many groups the KV of each layer has.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The KV of `sequence` in `layer`, group by group.
    pub fn kv_of(
        &self,
        sequence: SequenceId,
        layer: LayerId,
    ) -> impl ExactSizeIterator<Item = RegionId> + Clone + use<> {
        let first = self.first_kv_of(sequence, layer).index();
        (first..first + self.groups).map(RegionId::new)
    }

    fn first_kv_of(&self, sequence: SequenceId, layer: LayerId) -> RegionId {
        RegionId::new(sequence.index() * self.per_sequence + layer.index() * self.groups)
    }

    /// The region of the experts of `layer`, where experts are units and the layer has some.
    #[must_use]
    pub fn experts_of(&self, layer: LayerId) -> Option<RegionId> {
        let region = RegionId::new(self.kv + layer.index());
        (self.has_experts() && self.lengths[region].most > 0).then_some(region)
    }

    /// The experts of a region, if it holds experts.
    #[must_use]
    pub fn experts(&self, id: RegionId) -> Option<&Experts> {
        match &self.all[id].contents {
            Contents::Experts(experts) => Some(experts),
            _ => None,
        }
    }

    /// Whether a region holds experts.
    #[must_use]
    pub fn is_experts(&self, id: RegionId) -> bool {
        (self.kv..self.paged_len()).contains(&id.index())
    }

    /// How many sequences have regions.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// The sequence of a KV region.
    #[must_use]
    pub fn sequence_of(&self, region: RegionId) -> SequenceId {
        SequenceId::new(region.index() / self.per_sequence)
    }

    /// How long each region is that is kept in pages: as the sequence of its KV, in tokens, or as
    /// many experts as it has.
    pub fn lengths(&self) -> impl Iterator<Item = Lengths> + '_ {
        self.lengths.iter().copied()
    }

    /// The KV regions, in the order of their ids.
    pub fn kv(&self) -> impl DoubleEndedIterator<Item = RegionId> + ExactSizeIterator + Clone + use<> {
        RegionId::all(self.kv)
    }

    /// The regions that are kept in pages, in the order of their ids.
    pub fn paged(&self) -> impl DoubleEndedIterator<Item = RegionId> + ExactSizeIterator + Clone + use<> {
        RegionId::all(self.paged_len())
    }

    /// Whether a region that is kept in pages holds anything: a layer may have fewer heads than
    /// there are groups of heads.
    #[must_use]
    pub fn has_bytes(&self, id: RegionId) -> bool {
        self.all[id].contents.unit_bytes().is_some_and(|bytes| bytes > Bytes::ZERO)
    }

    /// The size of one token's KV, or of one expert, in each region that is kept in pages.
    pub fn token_bytes(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.all.iter().map_while(|region| region.contents.unit_bytes())
    }

    /// How many tokens, or experts, make a page of each region that is kept in pages, where a page
    /// of KV holds so many: an expert is a page.
    pub fn page_sizes(&self, of_kv: PageSize) -> impl Iterator<Item = PageSize> + '_ {
        self.paged().map(move |region| if self.is_experts(region) { PageSize::TOKEN } else { of_kv })
    }

    /// How many tokens of the context the attention of each KV region sees, the last ones;
    /// [`usize::MAX`] where it sees all, and for experts.
    pub fn windows(&self) -> impl Iterator<Item = usize> + '_ {
        self.all.iter().take(self.paged_len()).map(|region| match region.contents {
            Contents::Kv { window, .. } => window.map_or(usize::MAX, |tokens| tokens as usize),
            _ => usize::MAX,
        })
    }

    /// The state of `sequence` in `layer`, if that layer keeps one.
    #[must_use]
    pub fn state_of(&self, sequence: SequenceId, layer: LayerId) -> Option<RegionId> {
        self.state[self.first_kv_of(sequence, layer)]
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
            _ => None,
        })
    }

    /// The regions that can be divided at any byte, in the order in which a step reads them:
    /// weights and state, with what they store and what a step reads of that.
    pub fn divisible(&self) -> impl DoubleEndedIterator<Item = (RegionId, Weights)> + '_ {
        self.all.entries().filter_map(|(id, region)| Some((id, region.contents.divisible()?)))
    }

    /// Weights, state and experts, in the order in which a step reads them, with what they store
    /// and what a step of one sequence reads of that: what layouts lay out in bytes.
    pub fn constant(&self) -> impl DoubleEndedIterator<Item = (RegionId, Weights)> + '_ {
        let of = |id: RegionId| match &self.all[id].contents {
            Contents::Experts(experts) => {
                Some(Weights { read: experts.read_at(1), ..Weights::whole(experts.stored()) })
            }
            contents => contents.divisible(),
        };
        self.constant.iter().filter_map(move |&id| Some((id, of(id)?)))
    }

    /// The layer of a region, if it belongs to one.
    #[must_use]
    pub fn layer_of(&self, id: RegionId) -> Option<LayerId> {
        self.all[id].layer
    }
}
