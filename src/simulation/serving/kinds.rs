//! What the stages of a model are, whatever a step computes, and which of them are alike.
//!
//! Stages that read the same bytes from each tier, keep the same KV and compute the same are of one
//! [kind](StageKind). The stages of a layer are a [`Block`], and so is each stage that belongs to
//! no layer; blocks of the same kinds in the same order are of one *class*, and take the same time
//! in a step unless something else is in flight. Most models have three classes, whatever the
//! number of their layers: embedding, layers and head.

use crate::memory::PerTier;
use crate::units::{Bytes, LayerId, RegionId, Table};
use crate::workload::{LanguageModel, Regions, StageLabel, Weights, last_readers};

/// A piece of the weights and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub weights: Weights,
    /// What of it is stored on each tier.
    pub on: PerTier<Bytes>,
}

/// A stage, whatever a step computes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StageKind {
    pub label: StageLabel,
    pub pieces: Vec<Piece>,
    pub flop: f64,
    pub flop_per_kv_byte: f64,
    /// The KV that it reads, if it reads any.
    pub kv: Option<KvKind>,
    /// The recurrent state of each request that it reads and writes.
    pub state: Bytes,
}

/// The KV that a stage reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KvKind {
    /// What a token takes.
    pub token_bytes: Bytes,
    /// The parts of that which are written one by one.
    pub groups: Vec<Bytes>,
    /// Its attention window: its place in [`Kinds::windows`].
    pub window: usize,
    /// Whether it appends the KV of the tokens that are computed.
    pub appends: bool,
}

/// Consecutive stages of one layer, or one stage that belongs to none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub layer: Option<LayerId>,
    /// The place of its stages in [`Kinds::classes`].
    pub class: usize,
}

/// All stages of a model.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    pub kinds: Vec<StageKind>,
    /// The kinds of the stages of each class of blocks, in the order in which they run.
    pub classes: Vec<Vec<usize>>,
    /// The blocks in the order in which they run.
    pub blocks: Vec<Block>,
    /// How many stages of each kind a step has.
    pub counts: Vec<u64>,
    /// The different attention windows; `u64::MAX` where all tokens are read.
    pub windows: Vec<u64>,
    /// The layer whose KV each layer reads.
    pub sources: Table<LayerId, LayerId>,
    /// The layers that have KV of their own, with the bytes of a token.
    pub kv_layers: Vec<(LayerId, Bytes)>,
    /// The place of the layer whose KV each layer reads in [`kv_layers`](Self::kv_layers); `None`
    /// where it reads none.
    pub kv_places: Table<LayerId, Option<usize>>,
    /// What a token takes in all layers.
    pub token_bytes: Bytes,
    /// The recurrent state of a request in all layers.
    pub state: Bytes,
}

impl Kinds {
    /// Those of `model`, whose regions are `regions`: of these, what can be divided lies as
    /// `divided` says. O(layers x kinds).
    pub fn new(model: &LanguageModel, regions: &Regions, divided: &[PerTier<Bytes>]) -> Self {
        let on = |region: RegionId| divided[region.index() - regions.paged_len()].clone();
        let mut pieces = regions.weights().map(|(region, weights)| Piece { weights, on: on(region) });
        let last = last_readers(model);
        let sources: Table<LayerId, LayerId> = model.kv().iter().map(|kv| kv.source).collect();
        let own = model.kv().entries().filter(|(layer, kv)| kv.source == *layer && kv.token_bytes > Bytes::ZERO);
        let kv_layers: Vec<(LayerId, Bytes)> = own.map(|(layer, kv)| (layer, kv.token_bytes)).collect();
        let place = |source: &LayerId| kv_layers.iter().position(|(layer, _)| layer == source);
        let mut all = Self {
            kinds: Vec::new(),
            classes: Vec::new(),
            blocks: Vec::new(),
            counts: Vec::new(),
            windows: vec![u64::MAX],
            kv_places: sources.iter().map(place).collect(),
            sources,
            token_bytes: kv_layers.iter().map(|(_, bytes)| *bytes).sum(),
            kv_layers,
            state: Bytes::ZERO,
        };
        let mut open: Option<(LayerId, Vec<usize>)> = None;
        for stage in model.stages() {
            let kv = stage.layer.filter(|_| stage.attends).and_then(|layer| {
                let source = &model.kv()[all.sources[layer]];
                let groups = (0..model.groups()).map(|number| model.kv_groups().bytes(number, source));
                let groups: Vec<Bytes> = groups.filter(|bytes| *bytes > Bytes::ZERO).collect();
                let appends = last[all.sources[layer]] == Some(layer);
                let token_bytes = groups.iter().copied().sum();
                let window = all.window(source.window.map_or(u64::MAX, u64::from));
                (token_bytes > Bytes::ZERO).then_some(KvKind { token_bytes, groups, window, appends })
            });
            let kind = StageKind {
                label: stage.label,
                pieces: pieces.by_ref().take(stage.weights.len()).collect(),
                flop: stage.flop,
                flop_per_kv_byte: stage.flop_per_kv_byte,
                kv,
                state: stage.state_of().map_or(Bytes::ZERO, |layer| model.kv()[layer].state),
            };
            all.state += kind.state;
            let kind = all.kind(kind);
            match (&mut open, stage.layer) {
                (Some((of, kinds)), Some(layer)) if *of == layer => kinds.push(kind),
                (_, layer) => {
                    all.close(open.take());
                    match layer {
                        Some(layer) => open = Some((layer, vec![kind])),
                        None => all.push(None, vec![kind]),
                    }
                }
            }
        }
        all.close(open);
        all
    }

    fn window(&mut self, tokens: u64) -> usize {
        self.windows.iter().position(|known| *known == tokens).unwrap_or_else(|| {
            self.windows.push(tokens);
            self.windows.len() - 1
        })
    }

    fn kind(&mut self, kind: StageKind) -> usize {
        let known = self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.counts.push(0);
            self.kinds.len() - 1
        });
        self.counts[known] += 1;
        known
    }

    fn close(&mut self, block: Option<(LayerId, Vec<usize>)>) {
        if let Some((layer, kinds)) = block {
            self.push(Some(layer), kinds);
        }
    }

    fn push(&mut self, layer: Option<LayerId>, kinds: Vec<usize>) {
        let class = self.classes.iter().position(|known| *known == kinds).unwrap_or_else(|| {
            self.classes.push(kinds);
            self.classes.len() - 1
        });
        self.blocks.push(Block { layer, class });
    }
}
