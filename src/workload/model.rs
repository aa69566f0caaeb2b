//! Language models: as a person writes them, and as the engine trusts them.
//!
//! A model file gives its layers in bytes: what each stage's weights occupy, what a step reads of
//! them, and what a token's KV takes. [`LanguageModel`] is the checked form: a list of stages with
//! their pieces of weights, and the KV bytes of each layer. The stages are a template: a workload
//! makes the [`Stage`](super::Stage)s of a step of them, for as many sequences as it decodes.

use super::architecture::{self, ArchitectureConfig, ArchitectureError, Resolved};
use super::format::Format;
use super::kv_groups::{KvGroups, KvGroupsError};
use super::label::StageLabel;
use super::template::KvParts;
use super::template::MAX_LAYERS;
pub use super::template::{LayerKv, ModelStage, Weights};
use crate::config::{NameError, check_name};
use crate::units::{Bytes, LayerId, Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A language model as a person writes it: a RON file in `models/llm/`.
///
/// [`LanguageModel::new`] checks it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "LanguageModel", deny_unknown_fields)]
pub struct ModelConfig {
    /// How reports call it.
    pub name: String,
    /// What it is, in a line.
    #[serde(default)]
    pub about: String,
    /// Its layers in bytes, from the first to the last, in runs of equal ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayersConfig>,
    /// Its shapes, in the place of `layers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<ArchitectureConfig>,
}

/// A run of equal layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Layers", deny_unknown_fields)]
pub struct LayersConfig {
    /// How many.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub count: u32,
    /// The weights that attention reads.
    pub attention: WeightsConfig,
    /// The weights that the feed-forward part reads.
    pub mlp: WeightsConfig,
    /// K and V of one token in one layer; 0 where the layer has no KV.
    pub kv_bytes: Bytes,
    /// How many tokens attention reads, the last ones: KV before them is freed. All where not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

/// The weights of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Weights", deny_unknown_fields)]
pub struct WeightsConfig {
    /// What occupies memory.
    pub stored: Bytes,
    /// What one step reads; as much as is stored where not given. A mixture of experts reads less.
    #[serde(default)]
    pub read: Option<Bytes>,
    /// How they are stored, for runtimes whose kernels reach less with some formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

/// What a language model cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum ModelError {
    #[error("name: {0}")]
    Name(NameError),
    #[error("layers, architecture: the model gives both: leave one out")]
    Both,
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    #[error("layers: there are none: list at least one run of layers, or give an `architecture`")]
    NoLayers,
    #[error("layers: {0} of them in all, but at most {max} can be simulated", max = LanguageModel::MAX_LAYERS)]
    TooManyLayers(u64),
    #[error("layers[{0}].count: 0 layers: write how many equal layers this entry stands for")]
    NoCount(usize),
    #[error("layers[{0}].window: 0 tokens: write at least 1, or leave it out to read all")]
    NoWindow(usize),
    #[error("layers[{index}].{stage}.read: {read} are read of nothing stored: give `stored` as well")]
    ReadOfNothing { index: usize, stage: StageLabel, read: Bytes },
    #[error("{0}: no weights are read at all: give at least one stage some")]
    NoWeights(&'static str),
    #[error("{0}: all weights together exceed {max}", max = Bytes::MAX_INPUT)]
    TooLarge(&'static str),
    #[error("{0}: the KV of one token in all layers together exceeds {max}", max = Bytes::MAX_INPUT)]
    TooMuchKv(&'static str),
}

/// A language model that the engine may trust: at least one layer, at most
/// [`LanguageModel::MAX_LAYERS`].
#[derive(Clone, Debug)]
pub struct LanguageModel {
    name: String,
    stages: Vec<ModelStage>,
    kv_bytes: Table<LayerId, Bytes>,
    kv: Table<LayerId, LayerKv>,
    /// All weights, and those that a token passes.
    parameters: Option<(u64, u64)>,
    /// Elements of the hidden state.
    hidden: Option<u32>,
    /// Into which regions the KV of a layer is divided, and how many these are.
    kv_groups: (KvGroups, usize),
}

impl LanguageModel {
    /// The most layers that can be simulated.
    pub const MAX_LAYERS: u64 = MAX_LAYERS;

    /// Checks `config`. O(layers).
    ///
    /// # Errors
    /// [`ModelError`], naming the field, the value and what to write instead.
    pub fn new(config: &ModelConfig) -> Result<Self, ModelError> {
        check_name(&config.name).map_err(ModelError::Name)?;
        let name = config.name.clone();
        let kv_groups = (KvGroups::Whole, 1);
        let model = match &config.architecture {
            Some(_) if !config.layers.is_empty() => return Err(ModelError::Both),
            Some(architecture) => {
                let Resolved { stages, kv, parameters, active_parameters, hidden } =
                    architecture::resolve(architecture)?;
                let (kv_bytes, parameters) = (token_bytes(&kv), Some((parameters, active_parameters)));
                Self { name, stages, kv_bytes, kv, parameters, hidden: Some(hidden), kv_groups }
            }
            None => {
                let (stages, kv) = in_bytes(&config.layers)?;
                Self { name, stages, kv_bytes: token_bytes(&kv), kv, parameters: None, hidden: None, kv_groups }
            }
        };
        model.check_totals()?;
        Ok(model)
    }

    /// Whether its totals can be counted, and anything is read at all.
    fn check_totals(&self) -> Result<(), ModelError> {
        let field = if self.parameters.is_some() { "architecture" } else { "layers" };
        let most = u128::from(Bytes::MAX_INPUT.get());
        let total = |bytes: fn(Weights) -> Bytes| -> u128 {
            self.weights().map(|weights| u128::from(bytes(weights).get())).sum()
        };
        if total(|weights| weights.read) == 0 {
            return Err(ModelError::NoWeights(field));
        }
        if total(|weights| weights.read) > most || total(|weights| weights.stored) > most {
            return Err(ModelError::TooLarge(field));
        }
        let kept = |layer: &LayerKv| u128::from(layer.token_bytes.get()) + u128::from(layer.state.get());
        if self.kv.iter().map(kept).sum::<u128>() > most {
            return Err(ModelError::TooMuchKv(field));
        }
        Ok(())
    }

    /// How reports call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many layers it has.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.kv_bytes.len()
    }

    /// The stages of a step, in the order in which they run.
    #[must_use]
    pub fn stages(&self) -> &[ModelStage] {
        &self.stages
    }

    /// K and V of one token in each layer; 0 where the layer has no KV.
    #[must_use]
    pub fn kv_bytes(&self) -> &Table<LayerId, Bytes> {
        &self.kv_bytes
    }

    /// What each layer keeps of each sequence.
    #[must_use]
    pub fn kv(&self) -> &Table<LayerId, LayerKv> {
        &self.kv
    }

    /// Whether the FLOP of its stages are known: those of an architecture are.
    #[must_use]
    pub fn has_flop(&self) -> bool {
        self.parameters.is_some()
    }

    /// What the hidden state of a token takes in 2 bytes an element; `None` for a model in bytes.
    #[must_use]
    pub fn activations(&self) -> Option<Bytes> {
        self.hidden.map(|hidden| Bytes::new(2 * u64::from(hidden)))
    }

    /// What one of `ranks` equal chips has of it: that part of every weight, of the KV and of the
    /// FLOP, bytes rounded up.
    #[must_use]
    pub fn of_rank(mut self, ranks: u32) -> Self {
        let part = |bytes: &mut Bytes| *bytes = Bytes::new(bytes.get().div_ceil(u64::from(ranks)));
        for stage in &mut self.stages {
            for weights in &mut stage.weights {
                part(&mut weights.stored);
                part(&mut weights.read);
                part(&mut weights.shared);
            }
            stage.flop /= f64::from(ranks);
        }
        for layer in self.kv.iter_mut() {
            part(&mut layer.token_bytes);
            part(&mut layer.index_bytes);
            if let Some(KvParts { heads, keys }) = &mut layer.parts {
                part(keys);
                *heads = heads.map(|heads| heads.div_ceil(ranks));
            }
            part(&mut layer.state);
        }
        self.kv_bytes = token_bytes(&self.kv);
        self
    }

    /// The same without the index keys among its KV.
    #[must_use]
    pub fn without_index(mut self) -> Self {
        for layer in self.kv.iter_mut() {
            layer.token_bytes -= std::mem::take(&mut layer.index_bytes);
        }
        self.kv_bytes = token_bytes(&self.kv);
        self
    }

    /// The same model with the KV of each layer in groups.
    ///
    /// # Errors
    /// [`KvGroupsError`] if its KV cannot be divided so.
    pub fn with_kv_groups(mut self, groups: KvGroups) -> Result<Self, KvGroupsError> {
        self.kv_groups = (groups, groups.of_layers(self.kv.entries().collect::<Vec<_>>().into_iter())?);
        Ok(self)
    }

    /// Into which regions the KV of a layer is divided.
    #[must_use]
    pub fn kv_groups(&self) -> KvGroups {
        self.kv_groups.0
    }

    /// How many regions the KV of each layer is divided into.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.kv_groups.1
    }

    /// How many regions the KV of a sequence has: each layer's, group by group.
    #[must_use]
    pub fn kv_regions(&self) -> usize {
        self.layers() * self.groups()
    }

    /// How many weights it has, those of a tied embedding once; `None` for a model in bytes.
    #[must_use]
    pub fn parameters(&self) -> Option<u64> {
        self.parameters.map(|(all, _)| all)
    }

    /// How many weights it has without those of the experts that a token is not routed to: the
    /// number that names such as `A22B` give. `None` for a model in bytes.
    #[must_use]
    pub fn active_parameters(&self) -> Option<u64> {
        self.parameters.map(|(_, active)| active)
    }

    /// All pieces of the weights, in the order in which a step reads them.
    pub fn weights(&self) -> impl Iterator<Item = Weights> + '_ {
        self.stages.iter().flat_map(|stage| stage.weights.iter().copied())
    }

    /// What all weights occupy.
    #[must_use]
    pub fn stored_weights(&self) -> Bytes {
        self.weights().map(|weights| weights.stored).sum()
    }

    /// K and V of one token over all layers.
    #[must_use]
    pub fn token_bytes(&self) -> Bytes {
        self.kv_bytes.iter().copied().sum()
    }
}

fn token_bytes(kv: &Table<LayerId, LayerKv>) -> Table<LayerId, Bytes> {
    kv.iter().map(|layer| layer.token_bytes).collect()
}

/// The stages and layers of a model in bytes.
fn in_bytes(layers: &[LayersConfig]) -> Result<(Vec<ModelStage>, Table<LayerId, LayerKv>), ModelError> {
    if layers.is_empty() {
        return Err(ModelError::NoLayers);
    }
    let count: u64 = layers.iter().map(|run| u64::from(run.count)).sum();
    if count > MAX_LAYERS {
        return Err(ModelError::TooManyLayers(count));
    }
    let (mut stages, mut kv) = (Vec::with_capacity(2 * count as usize), Table::new());
    for (index, run) in layers.iter().enumerate() {
        if run.count == 0 {
            return Err(ModelError::NoCount(index));
        }
        if run.window == Some(0) {
            return Err(ModelError::NoWindow(index));
        }
        let checked = |weights: &WeightsConfig, stage: StageLabel| {
            let read = weights.read.unwrap_or(weights.stored);
            if weights.stored == Bytes::ZERO && read > Bytes::ZERO {
                return Err(ModelError::ReadOfNothing { index, stage, read });
            }
            Ok(Weights { read, format: weights.format, ..Weights::whole(weights.stored) })
        };
        let attention = checked(&run.attention, StageLabel::Attention)?;
        let mlp = checked(&run.mlp, StageLabel::Mlp)?;
        for _ in 0..run.count {
            let source = LayerId::new(kv.len());
            let (token_bytes, window) = (run.kv_bytes, run.window);
            // Keys and values of heads are of one size.
            let parts = Some(KvParts { heads: None, keys: Bytes::new(token_bytes.get().div_ceil(2)) });
            let index_bytes = Bytes::ZERO;
            let layer = Some(kv.push(LayerKv { token_bytes, index_bytes, window, state: Bytes::ZERO, source, parts }));
            let stage = |label, weights, attends| {
                let weights = vec![weights];
                ModelStage { label, layer, weights, attends, flop: 0.0, flop_per_kv_byte: 0.0 }
            };
            stages.push(stage(StageLabel::Attention, attention, true));
            stages.push(stage(StageLabel::Mlp, mlp, false));
        }
    }
    Ok((stages, kv))
}
