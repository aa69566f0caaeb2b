use crate::config::{NameError, check_name};
use crate::units::Bytes;
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
    /// The attention sublayer's weights.
    pub attention: WeightsConfig,
    /// The mlp sublayer's weights.
    pub mlp: WeightsConfig,
    /// K and V of one token in one layer; 0 where the layer has no KV.
    pub kv_bytes: Bytes,
}

/// The weights of one sublayer.
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
    #[error("layers[{index}].{sublayer}.read: {read} are read of nothing stored: give `stored` as well")]
    ReadOfNothing { index: usize, sublayer: SublayerKind, read: Bytes },
    #[error("layers: no weights are read at all: give at least one sublayer some")]
    NoWeights,
    #[error("layers: all weights together exceed {max}", max = Bytes::MAX_INPUT)]
    TooLarge,
    #[error("layers: the KV of one token in all layers together exceeds {max}", max = Bytes::MAX_INPUT)]
    TooMuchKv,
}

/// Which half of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SublayerKind {
    Attention,
    Mlp,
}

impl std::fmt::Display for SublayerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Attention => "attention",
            Self::Mlp => "mlp",
        })
    }
}

/// The weights of a sublayer, checked: nothing is read where nothing is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sublayer {
    /// What occupies memory.
    pub stored: Bytes,
    /// What one step reads, evenly over what is stored.
    pub read: Bytes,
}

/// One layer, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Layer {
    pub attention: Sublayer,
    pub mlp: Sublayer,
    /// K and V of one token; 0 where the layer has no KV.
    pub kv_bytes: Bytes,
}

/// A language model that the engine may trust: at least one layer, at most [`LanguageModel::MAX_LAYERS`].
#[derive(Clone, Debug)]
pub struct LanguageModel {
    name: String,
    layers: Vec<Layer>,
}

impl LanguageModel {
    /// The most layers that can be simulated.
    pub const MAX_LAYERS: u64 = 4096;

    /// Checks `config`.
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
        let mut layers = Vec::with_capacity(count as usize);
        for (index, run) in config.layers.iter().enumerate() {
            if run.count == 0 {
                return Err(ModelError::NoCount(index));
            }
            let sublayer = |weights: &WeightsConfig, sublayer: SublayerKind| {
                let read = weights.read.unwrap_or(weights.stored);
                if weights.stored == Bytes::ZERO && read > Bytes::ZERO {
                    return Err(ModelError::ReadOfNothing { index, sublayer, read });
                }
                let stored = weights.stored;
                Ok(Sublayer { stored, read })
            };
            let layer = Layer {
                attention: sublayer(&run.attention, SublayerKind::Attention)?,
                mlp: sublayer(&run.mlp, SublayerKind::Mlp)?,
                kv_bytes: run.kv_bytes,
            };
            layers.extend(std::iter::repeat_n(layer, run.count as usize));
        }
        let total = |bytes: fn(&Sublayer) -> Bytes| -> u128 {
            layers
                .iter()
                .flat_map(|layer| [layer.attention, layer.mlp])
                .map(|sublayer| u128::from(bytes(&sublayer).get()))
                .sum()
        };
        if total(|sublayer| sublayer.read) == 0 {
            return Err(ModelError::NoWeights);
        }
        let most = u128::from(Bytes::MAX_INPUT.get());
        if total(|sublayer| sublayer.read) > most || total(|sublayer| sublayer.stored) > most {
            return Err(ModelError::TooLarge);
        }
        let token: u128 = layers.iter().map(|layer| u128::from(layer.kv_bytes.get())).sum();
        if token > most {
            return Err(ModelError::TooMuchKv);
        }
        let name = config.name.clone();
        Ok(Self { name, layers })
    }

    /// How reports call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All layers, the first first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// All sublayers in the order in which a step runs them: attention then mlp, layer by layer.
    pub fn sublayers(&self) -> impl Iterator<Item = Sublayer> + '_ {
        self.layers.iter().flat_map(|layer| [layer.attention, layer.mlp])
    }

    /// What all weights occupy.
    #[must_use]
    pub fn stored_weights(&self) -> Bytes {
        self.sublayers().map(|sublayer| sublayer.stored).sum()
    }

    /// K and V of one token over all layers.
    #[must_use]
    pub fn token_bytes(&self) -> Bytes {
        self.layers.iter().map(|layer| layer.kv_bytes).sum()
    }
}
