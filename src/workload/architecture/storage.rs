//! Which tensor of a model is stored in which format.

use super::config::{FormatsConfig, LayerFormatsConfig};
use super::gguf::{self, Place};
use super::tensor::{Part, Role, Tensor};
use crate::workload::format::Format;

/// What a layer says of a part of its own.
fn of_layer(layer: &LayerFormatsConfig, part: Part) -> Option<Format> {
    match part {
        Part::Attention => layer.attention,
        Part::Mlp => layer.mlp,
        Part::Experts => layer.experts,
        Part::Shared => layer.shared.or(layer.experts),
        Part::Embedding | Part::Head | Part::Other => None,
    }
}

/// The formats of a model, part by part.
#[derive(Clone, Debug)]
pub(super) struct Storage<'a> {
    formats: &'a FormatsConfig,
    tied: bool,
}

impl<'a> Storage<'a> {
    pub fn new(formats: &'a FormatsConfig, tied: bool) -> Self {
        Self { formats, tied }
    }

    /// The format of `tensor` at `place`, in a layer that stores some parts otherwise.
    pub fn format_of(&self, tensor: &Tensor, place: &Place, layer: &LayerFormatsConfig) -> Format {
        if let Role::Small | Role::Vector = tensor.role {
            return self.of_small();
        }
        let all = self.formats.weights;
        match of_layer(layer, tensor.part).or_else(|| self.of_part(tensor.part)) {
            // Rules of a file type hold for all that nothing else is said of.
            None if all.is_gguf() => gguf::format_of(all, tensor, place),
            None => all,
            Some(mix) if mix.is_mix() => gguf::format_of(mix, tensor, place),
            Some(format) if format.is_gguf() => gguf::fitting(format, tensor.columns),
            Some(format) => format,
        }
    }

    fn of_part(&self, part: Part) -> Option<Format> {
        let formats = self.formats;
        match part {
            Part::Attention => formats.attention,
            Part::Mlp => formats.mlp,
            Part::Experts => formats.experts,
            Part::Shared => formats.shared.or(formats.experts),
            Part::Embedding => formats.embedding,
            // Embedding and head that are one matrix may be named by either.
            Part::Head => formats.head.or(formats.embedding.filter(|_| self.tied)),
            Part::Other => None,
        }
    }

    /// Vectors, routers and convolutions are not quantized: GGUF files keep them in fp32, other
    /// checkpoints in 16 bits.
    fn of_small(&self) -> Format {
        match self.formats.weights {
            gguf if gguf.is_gguf() => Format::Fp32,
            wide @ (Format::Fp32 | Format::Fp16) => wide,
            _ => Format::Bf16,
        }
    }
}
