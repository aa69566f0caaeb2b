//! Language models: as a person writes them, and as the engine trusts them.
//!
//! A model file gives its layers in bytes: what each stage's weights occupy, what a step reads of
//! them, and what a token's KV takes. [`LanguageModel`] is the checked form: a list of stages with
//! their pieces of weights, and the KV bytes of each layer. The stages are a template: a workload
//! makes the [`Stage`](super::Stage)s of a step of them, for as many sequences as it decodes.

use super::label::StageLabel;
use crate::config::{NameError, check_name};
use crate::units::{Bytes, LayerId, Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A language model as a person writes it: a RON file in `models/llm/`.
///
/// [`LanguageModel::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "LanguageModel", deny_unknown_fields)]
pub struct ModelConfig {
    /// How reports call it.
    pub name: String,
    /// What it is, in a line.
    #[serde(default)]
    pub about: String,
    /// Its layers from the first to the last, in runs of equal ones.
    pub layers: Vec<LayersConfig>,
}

/// A run of equal layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// The weights of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Weights", deny_unknown_fields)]
pub struct WeightsConfig {
    /// What occupies memory.
    pub stored: Bytes,
    /// What one step reads; as much as is stored where not given. A mixture of experts reads less.
    #[serde(default)]
    pub read: Option<Bytes>,
}

/// What a language model cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ModelError {
    #[error("name: {0}")]
    Name(NameError),
    #[error("layers: there are none: list at least one run of layers")]
    NoLayers,
    #[error("layers: {0} of them in all, but at most {max} can be simulated", max = LanguageModel::MAX_LAYERS)]
    TooManyLayers(u64),
    #[error("layers[{0}].count: 0 layers: write how many equal layers this entry stands for")]
    NoCount(usize),
    #[error("layers[{index}].{stage}.read: {read} are read of nothing stored: give `stored` as well")]
    ReadOfNothing { index: usize, stage: StageLabel, read: Bytes },
    #[error("layers: no weights are read at all: give at least one stage some")]
    NoWeights,
    #[error("layers: all weights together exceed {max}", max = Bytes::MAX_INPUT)]
    TooLarge,
    #[error("layers: the KV of one token in all layers together exceeds {max}", max = Bytes::MAX_INPUT)]
    TooMuchKv,
}

/// A piece of the weights, checked: nothing is read where nothing is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// What occupies memory.
    pub stored: Bytes,
    /// What one step reads, evenly over what is stored.
    pub read: Bytes,
}

/// A stage of a step, as a model has it: the template of a [`Stage`](super::Stage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStage {
    /// What it computes.
    pub label: StageLabel,
    /// The layer that it belongs to, if it belongs to one.
    pub layer: Option<LayerId>,
    /// The pieces of the weights that it reads.
    pub weights: Vec<Weights>,
    /// Whether it reads the KV of its layer, and appends to it.
    pub attends: bool,
}

/// A language model that the engine may trust: at least one layer, at most
/// [`LanguageModel::MAX_LAYERS`].
#[derive(Clone, Debug)]
pub struct LanguageModel {
    name: String,
    stages: Vec<ModelStage>,
    kv_bytes: Table<LayerId, Bytes>,
}

impl LanguageModel {
    /// The most layers that can be simulated.
    pub const MAX_LAYERS: u64 = 4096;

    /// Checks `config`. O(layers).
    ///
    /// # Errors
    /// [`ModelError`], naming the field, the value and what to write instead.
    pub fn new(config: &ModelConfig) -> Result<Self, ModelError> {
        check_name(&config.name).map_err(ModelError::Name)?;
        if config.layers.is_empty() {
            return Err(ModelError::NoLayers);
        }
        let count: u64 = config.layers.iter().map(|run| u64::from(run.count)).sum();
        if count > Self::MAX_LAYERS {
            return Err(ModelError::TooManyLayers(count));
        }
        let (mut stages, mut kv_bytes) = (Vec::with_capacity(2 * count as usize), Table::new());
        for (index, run) in config.layers.iter().enumerate() {
            if run.count == 0 {
                return Err(ModelError::NoCount(index));
            }
            let checked = |weights: &WeightsConfig, stage: StageLabel| {
                let read = weights.read.unwrap_or(weights.stored);
                if weights.stored == Bytes::ZERO && read > Bytes::ZERO {
                    return Err(ModelError::ReadOfNothing { index, stage, read });
                }
                Ok(Weights { stored: weights.stored, read })
            };
            let attention = checked(&run.attention, StageLabel::Attention)?;
            let mlp = checked(&run.mlp, StageLabel::Mlp)?;
            for _ in 0..run.count {
                let layer = Some(kv_bytes.push(run.kv_bytes));
                let stage = |label, weights, attends| ModelStage { label, layer, weights: vec![weights], attends };
                stages.push(stage(StageLabel::Attention, attention, true));
                stages.push(stage(StageLabel::Mlp, mlp, false));
            }
        }
        let model = Self { name: config.name.clone(), stages, kv_bytes };
        model.check_totals()?;
        Ok(model)
    }

    /// Whether its totals can be counted, and anything is read at all.
    fn check_totals(&self) -> Result<(), ModelError> {
        let most = u128::from(Bytes::MAX_INPUT.get());
        let total = |bytes: fn(Weights) -> Bytes| -> u128 {
            self.weights().map(|weights| u128::from(bytes(weights).get())).sum()
        };
        if total(|weights| weights.read) == 0 {
            return Err(ModelError::NoWeights);
        }
        if total(|weights| weights.read) > most || total(|weights| weights.stored) > most {
            return Err(ModelError::TooLarge);
        }
        if self.kv_bytes.iter().map(|bytes| u128::from(bytes.get())).sum::<u128>() > most {
            return Err(ModelError::TooMuchKv);
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
