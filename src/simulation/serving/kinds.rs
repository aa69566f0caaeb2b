//! What the stages of a model are, whatever a step computes, and which of them are alike.
//!
//! Stages that read the same bytes from each tier, keep the same KV and compute the same are of one
//! [kind](StageKind). A [`Unit`] is a stage together with the writes that begin with it: those of
//! what the stage before it has computed. So where nothing else is in flight, nothing is when a
//! unit begins, nor when it ends, and units that are the same take the same time in a step. Layers
//! of the same units that follow each other are a [`Row`]: most models have three rows, whatever
//! the number of their layers: embedding, layers and head.

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

/// A stage, and what is written when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The kind of the stage.
    pub kind: usize,
    /// The kind of the stage before it, if that writes what it has computed.
    pub writes: Option<usize>,
    /// Whether it is the first of a step.
    pub is_first: bool,
}

/// Layers of the same units that follow each other; or one stage that belongs to no layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its layers; one that is `None` for a stage that belongs to none.
    pub layers: Vec<Option<LayerId>>,
    /// The units of each layer, in the order in which they run: places in [`Kinds::units`].
    pub units: Vec<usize>,
}

/// All stages of a model.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    pub kinds: Vec<StageKind>,
    /// The different units.
    pub units: Vec<Unit>,
    /// The rows in the order in which they run.
    pub rows: Vec<Row>,
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
            units: Vec::new(),
            rows: Vec::new(),
            counts: Vec::new(),
            windows: vec![u64::MAX],
            kv_places: sources.iter().map(place).collect(),
            sources,
            token_bytes: kv_layers.iter().map(|(_, bytes)| *bytes).sum(),
            kv_layers,
            state: Bytes::ZERO,
        };
        // The stages of the layer, or none, that they belong to.
        let mut layers: Vec<(Option<LayerId>, Vec<usize>)> = Vec::new();
        let mut before = None;
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
            let writes = kind.writes();
            let kind = all.kind(kind);
            let unit = all.unit(Unit { kind, writes: before, is_first: layers.is_empty() });
            before = writes.then_some(kind);
            match layers.last_mut() {
                Some((layer, units)) if layer.is_some() && *layer == stage.layer => units.push(unit),
                _ => layers.push((stage.layer, vec![unit])),
            }
        }
        for (layer, units) in layers {
            match all.rows.last_mut() {
                Some(row) if layer.is_some() && row.units == units => row.layers.push(layer),
                _ => all.rows.push(Row { layers: vec![layer], units }),
            }
        }
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

    fn unit(&mut self, unit: Unit) -> usize {
        self.units.iter().position(|known| *known == unit).unwrap_or_else(|| {
            self.units.push(unit);
            self.units.len() - 1
        })
    }
}

impl StageKind {
    /// Whether it writes what it has computed.
    pub fn writes(&self) -> bool {
        self.kv.as_ref().is_some_and(|kv| kv.appends) || self.state > Bytes::ZERO
    }
}
