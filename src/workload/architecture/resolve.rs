//! From an architecture to stages: pieces of weights, KV, state and FLOP.

use super::attention::Attention;
use super::check;
use super::config::{ArchitectureConfig, AttentionConfig, LayerConfig, LayerFormatsConfig, MlpConfig};
use super::error::ArchitectureError;
use super::gguf::Place;
use super::mlp;
use super::storage::Storage;
use super::tensor::{Part, Role, Tensor};
use crate::units::{Bytes, LayerId, Table};
use crate::workload::format::Format;
use crate::workload::label::StageLabel;
use crate::workload::template::{Growth, KvParts, LayerKv, ModelStage, Weights};
use crate::workload::union::Routing;

/// What an architecture comes to.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The stages of a step, in the order in which they run.
    pub stages: Vec<ModelStage>,
    /// What each layer keeps of each sequence.
    pub kv: Table<LayerId, LayerKv>,
    /// All weights; those of embedding and head once where both are one matrix.
    pub parameters: u64,
    /// All weights but those of the experts that a token is not routed to.
    pub active_parameters: u64,
    /// Elements of the hidden state.
    pub hidden: u32,
}

/// Resolves `config`. O(layers x experts of Zipf routing).
///
/// # Errors
/// [`ArchitectureError`], naming the field, its value and what to write instead.
pub fn resolve(config: &ArchitectureConfig) -> Result<Resolved, ArchitectureError> {
    let layers = check::check(config)?;
    let blocks = Vec::from_iter(config.blocks.iter().enumerate().map(|(block, of)| {
        let layer =
            |(index, of): (usize, &LayerConfig)| Layer::new(config, of, format!("blocks[{block}].layers[{index}]"));
        Ok((of.count, of.layers.iter().enumerate().map(layer).collect::<Result<Vec<_>, _>>()?))
    }))
    .into_iter()
    .collect::<Result<Vec<(u32, Vec<Layer>)>, ArchitectureError>>()?;
    let mut building = Building {
        storage: Storage::new(&config.formats, config.tied),
        place: first_place(config, layers, &blocks),
        stages: Vec::with_capacity(2 * layers + 2),
        kv: Table::new(),
        parameters: 0,
        active: 0,
    };
    building.embedding(config)?;
    for (count, layers) in &blocks {
        for _ in 0..*count {
            for layer in layers {
                building.layer(config, layer)?;
            }
        }
    }
    building.head(config)?;
    let counted =
        |weights: u128| u64::try_from(weights).map_err(|_| ArchitectureError::TooLarge { at: "blocks".to_owned() });
    Ok(Resolved {
        parameters: counted(building.parameters)?,
        active_parameters: counted(building.active)?,
        stages: building.stages,
        kv: building.kv,
        hidden: config.hidden,
    })
}

/// A layer as it is written, with what follows from its shapes alone.
struct Layer {
    at: String,
    attention: Attention,
    /// The tensors of the attention stage, norms among them; none where there is no such stage.
    mixing: Vec<Tensor>,
    /// Those of the feed-forward stage.
    mlp: Vec<Tensor>,
    routing: Option<Routing>,
    formats: LayerFormatsConfig,
}

impl Layer {
    fn new(config: &ArchitectureConfig, layer: &LayerConfig, at: String) -> Result<Self, ArchitectureError> {
        let attention = Attention::new(&layer.attention, config.hidden);
        let mut mixing = attention.tensors.clone();
        let mut mlp = mlp::tensors(&layer.mlp, config.hidden);
        let norm = |count: u32| Tensor::vector(Part::Other, u128::from(count) * u128::from(config.hidden));
        let extra = |part| Tensor::matrix(Role::Extra, part, 1, layer.extra_parameters.into());
        match (layer.attention != AttentionConfig::None, layer.mlp != MlpConfig::None) {
            (true, true) => {
                mixing.extend([norm(config.norms.div_ceil(2)), extra(Part::Attention)]);
                mlp.push(norm(config.norms / 2));
            }
            (true, false) => mixing.extend([norm(config.norms), extra(Part::Attention)]),
            (false, _) => mlp.extend([norm(config.norms), extra(Part::Mlp)]),
        }
        let routing = match &layer.mlp {
            MlpConfig::Experts(experts) => Some(check::routing(&format!("{at}.mlp"), experts)?),
            _ => None,
        };
        Ok(Self { at, attention, mixing, mlp, routing, formats: layer.formats })
    }

    /// One of its lists of tensors.
    fn parts<'a>(&'a self, tensors: &'a [Tensor]) -> Parts<'a> {
        Parts { tensors, routing: self.routing, formats: self.formats, at: &self.at }
    }

    /// Whether it projects values, as llama.cpp counts layers.
    fn has_values(&self) -> bool {
        let is_value = |tensor: &Tensor| matches!(tensor.role, Role::Value | Role::QueryKeyValue) && tensor.rows > 0;
        self.mixing.iter().any(is_value)
    }
}

/// What llama.cpp's rules ask of the model, at its first layer.
fn first_place(config: &ArchitectureConfig, layers: usize, blocks: &[(u32, Vec<Layer>)]) -> Place {
    let all = || config.blocks.iter().flat_map(|block| &block.layers);
    let groups = all().find_map(|layer| match &layer.attention {
        AttentionConfig::Full(of) => Some(of.heads / of.kv_heads),
        AttentionConfig::Sliding(sliding) => Some(sliding.of.heads / sliding.of.kv_heads),
        _ => None,
    });
    let experts = all().filter_map(|layer| match &layer.mlp {
        MlpConfig::Experts(experts) => Some(experts.count),
        _ => None,
    });
    let with_values = |(count, layers): &(u32, Vec<Layer>)| {
        *count as usize * layers.iter().filter(|layer| layer.has_values()).count()
    };
    Place {
        layers,
        values: blocks.iter().map(with_values).sum(),
        experts: experts.max().unwrap_or(0),
        queries_per_kv_head: groups.unwrap_or(1),
        // Llama and Qwen2 of that shape.
        is_70b: layers == 80 && config.hidden == 8192,
        ..Place::default()
    }
}

/// What has been resolved so far.
struct Building<'a> {
    storage: Storage<'a>,
    place: Place,
    stages: Vec<ModelStage>,
    kv: Table<LayerId, LayerKv>,
    parameters: u128,
    active: u128,
}

/// The tensors of a stage, and how they are read.
#[derive(Clone, Copy)]
struct Parts<'a> {
    tensors: &'a [Tensor],
    routing: Option<Routing>,
    formats: LayerFormatsConfig,
    /// The field to name in errors.
    at: &'a str,
}

impl<'a> Parts<'a> {
    /// Tensors of no layer.
    fn outside(tensors: &'a [Tensor]) -> Self {
        Self { tensors, routing: None, formats: LayerFormatsConfig::default(), at: "vocabulary" }
    }
}

impl Building<'_> {
    fn embedding(&mut self, config: &ArchitectureConfig) -> Result<(), ArchitectureError> {
        let table = |rows: u32, width: u32| Tensor::matrix(Role::Embedding, Part::Embedding, rows.into(), width.into());
        let mut tensors = Vec::new();
        // A tied embedding is the head, whose stage stores it.
        if !config.tied {
            tensors.push(table(config.vocabulary, config.hidden));
        }
        if config.positions > 0 {
            tensors.push(table(config.positions, config.hidden));
        }
        tensors.extend(config.tables.iter().map(|of| table(of.rows, of.width)));
        let stage = self.stage(StageLabel::Embedding, None, Parts::outside(&tensors))?;
        self.stages.push(stage);
        Ok(())
    }

    fn head(&mut self, config: &ArchitectureConfig) -> Result<(), ArchitectureError> {
        let tensors = [
            Tensor::matrix(Role::Head, Part::Head, config.vocabulary.into(), config.hidden.into()),
            Tensor::vector(Part::Other, config.hidden.into()),
            Tensor::matrix(Role::Extra, Part::Other, 1, config.extra_parameters.into()),
        ];
        let stage = self.stage(StageLabel::Head, None, Parts::outside(&tensors))?;
        self.stages.push(stage);
        Ok(())
    }

    fn layer(&mut self, config: &ArchitectureConfig, layer: &Layer) -> Result<(), ArchitectureError> {
        let id = LayerId::new(self.kv.len());
        let attention = &layer.attention;
        let kv = self.kv_of(config, layer, id)?;
        let read = if kv.source == id { kv.token_bytes } else { self.kv[kv.source].token_bytes };
        self.kv.push(kv);
        if !attention.tensors.is_empty() {
            let stage = self.stage(StageLabel::Attention, Some(id), layer.parts(&layer.mixing))?;
            self.stages.push(ModelStage {
                attends: attention.attends(),
                flop: stage.flop + attention.state_flop,
                flop_per_kv_byte: if read > Bytes::ZERO { attention.flop_per_token / read.as_f64() } else { 0.0 },
                ..stage
            });
        }
        if !layer.mlp.is_empty() {
            let stage = self.stage(StageLabel::Mlp, Some(id), layer.parts(&layer.mlp))?;
            self.stages.push(stage);
            self.place.mlps_before += 1;
        }
        self.place.layer += 1;
        self.place.values_before += usize::from(layer.has_values());
        Ok(())
    }

    fn kv_of(&self, config: &ArchitectureConfig, layer: &Layer, id: LayerId) -> Result<LayerKv, ArchitectureError> {
        let attention = &layer.attention;
        let too_much = || ArchitectureError::TooMuchKv { at: layer.at.clone() };
        let kv = config.formats.kv.bytes_of(attention.kv_elements).ok_or_else(too_much)?;
        let state = config.formats.state.bytes_of(attention.state_elements).ok_or_else(too_much)?;
        let own = LayerKv {
            token_bytes: kv + Bytes::new(attention.index_bytes),
            index_bytes: Bytes::new(attention.index_bytes),
            window: attention.window,
            state: state + attention.state_bytes,
            source: id,
            parts: attention.kv_heads.map(|(heads, keys)| KvParts {
                heads: Some(heads),
                keys: config.formats.kv.bytes_of(keys).unwrap_or(kv).min(kv),
            }),
        };
        if own.state > Bytes::MAX_INPUT {
            return Err(too_much());
        }
        if !attention.shares_kv {
            return Ok(own);
        }
        let alike = |(_, kv): &(LayerId, &LayerKv)| kv.token_bytes > Bytes::ZERO && kv.window == own.window;
        let source = self.kv.entries().rfind(alike).map(|(source, _)| source);
        let source =
            source.ok_or_else(|| ArchitectureError::NothingToShare { at: format!("{}.attention", layer.at) })?;
        Ok(LayerKv { source, ..own })
    }

    /// A stage of `tensors`, which it counts. Tensors of one format and one way of being read are
    /// one piece; norms, biases and routers are part of the first piece that is read in full.
    fn stage(
        &mut self,
        label: StageLabel,
        layer: Option<LayerId>,
        parts: Parts<'_>,
    ) -> Result<ModelStage, ArchitectureError> {
        let Parts { tensors, routing, formats, at } = parts;
        let too_large = || ArchitectureError::TooLarge { at: at.to_owned() };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut small: Vec<Piece> = Vec::new();
        let mut flop = 0.0;
        for tensor in tensors.iter().filter(|tensor| tensor.weights() > 0) {
            let format = self.storage.format_of(tensor, &self.place, &formats);
            let stored = u64::try_from(tensor.weights()).ok().and_then(|weights| format.bytes_of(weights));
            let stored = stored.ok_or_else(too_large)?;
            let (growth, passed) = match (tensor.part, tensor.role, routing) {
                (Part::Experts, _, Some(routing)) => (Growth::Experts(routing), routing.active()),
                (_, Role::Embedding, _) => (Growth::Rows, tensor.copies),
                _ => (Growth::Fixed, tensor.copies),
            };
            let read = match growth {
                Growth::Rows => u64::try_from(tensor.columns).ok().and_then(|row| format.bytes_of(row)),
                _ => Some(stored.share(passed.into(), tensor.copies.into())),
            };
            self.parameters += tensor.weights();
            self.active += tensor.rows * tensor.columns * u128::from(passed);
            flop += tensor.flop(passed);
            let shared = if tensor.part == Part::Shared { stored } else { Bytes::ZERO };
            let piece = Piece { growth, format, stored, read: read.ok_or_else(too_large)?, shared };
            let into = if let Role::Small | Role::Vector = tensor.role { &mut small } else { &mut pieces };
            piece.join(into, |known| known.growth == growth && known.format == format);
        }
        for piece in small {
            piece.join(&mut pieces, |known| known.growth == piece.growth);
        }
        if pieces.iter().any(|piece| piece.stored > Bytes::MAX_INPUT) {
            return Err(too_large());
        }
        let weights = Vec::from_iter(pieces.into_iter().map(Piece::weights));
        Ok(ModelStage { label, layer, weights, attends: false, flop, flop_per_kv_byte: 0.0 })
    }
}

/// A piece that grows tensor by tensor.
#[derive(Clone, Copy)]
struct Piece {
    growth: Growth,
    format: Format,
    stored: Bytes,
    read: Bytes,
    /// What of `stored` is of shared experts.
    shared: Bytes,
}

impl Piece {
    /// Adds itself to the first of `pieces` that is `alike`, or as one more.
    fn join(self, pieces: &mut Vec<Self>, alike: impl Fn(&Self) -> bool) {
        match pieces.iter_mut().find(|known| alike(known)) {
            Some(known) => {
                known.stored += self.stored;
                known.read += self.read;
                known.shared += self.shared;
            }
            None => pieces.push(self),
        }
    }

    fn weights(self) -> Weights {
        let Self { growth, format, stored, read, shared } = self;
        Weights { stored, read, format: Some(format), growth, shared }
    }
}
