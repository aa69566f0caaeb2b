//! Experts as units: where a scenario gives a routing of tokens, the experts of a layer are placed,
//! moved and read one by one, as pages of KV are.
//!
//! An expert is all that its layer stores of it: the pieces of several formats together. Without a
//! routing, experts are pieces of the weights, divisible to the byte, of which a step reads an
//! expected share.

use super::format::Format;
use super::model::LanguageModel;
use super::template::{Growth, ModelStage, Weights};
use crate::units::{Bytes, LayerId, Table};
use thiserror::Error;

/// The experts of one layer; none where it has no mixture of experts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// To how many of them a token is routed.
    pub active: usize,
    /// What one of them stores.
    pub expert_bytes: Bytes,
    /// The pieces of weights that they are made of: those of all experts together.
    pub pieces: Vec<Weights>,
}

/// Why the experts of a model cannot be units.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ExpertsError {
    #[error(
        "routing: '{0}' has no experts to route tokens to: leave routing out, or use a model whose `architecture` has \
         mlp: Experts(..)"
    )]
    None(String),
    #[error(
        "routing: the {count} experts of layer {layer} store {stored} together, which is no multiple of {count}, but an \
         expert is placed as a whole: use a number of ranks that divides an expert, or leave routing out"
    )]
    Indivisible { layer: usize, count: usize, stored: Bytes },
    #[error(
        "routing: which experts a stage reads is known when it begins, so they cannot be copied ahead of it or chunk by \
         chunk (reads): use Staged(ahead: 0) without chunk, Direct or Serial, or leave routing out"
    )]
    Ahead,
}

impl Experts {
    /// Those of a stage.
    fn of(stage: &ModelStage) -> Result<Self, ExpertsError> {
        let mut experts = Self::default();
        for piece in &stage.weights {
            if let Growth::Experts(routing) = piece.growth {
                // All pieces of a layer have its routing.
                (experts.count, experts.active) = (routing.count() as usize, routing.active() as usize);
                experts.pieces.push(*piece);
            }
        }
        let stored = experts.stored();
        let count = experts.count as u64;
        experts.expert_bytes = Bytes::new(stored.get().checked_div(count).unwrap_or(0));
        if experts.expert_bytes.times(count) != stored {
            let layer = stage.layer.map_or(0, LayerId::index);
            return Err(ExpertsError::Indivisible { layer, count: experts.count, stored });
        }
        Ok(experts)
    }

    /// What all of them store.
    #[must_use]
    pub fn stored(&self) -> Bytes {
        self.pieces.iter().map(|piece| piece.stored).sum()
    }

    /// What a step of so many tokens is expected to read of them, by the routing of the model.
    #[must_use]
    pub fn read_at(&self, tokens: u32) -> Bytes {
        self.pieces.iter().map(|piece| piece.read_at(tokens)).sum()
    }

    /// The formats of so many bytes of them.
    pub fn formats(&self, bytes: Bytes) -> impl Iterator<Item = (Option<Format>, Bytes)> + '_ {
        let stored = u128::from(self.stored().get().max(1));
        self.pieces.iter().map(move |piece| (piece.format, bytes.share(u128::from(piece.stored.get()), stored)))
    }
}

impl LanguageModel {
    /// The experts of each layer, as units.
    ///
    /// # Errors
    /// [`ExpertsError`] if no layer has any, or those of a layer do not divide what they store.
    pub fn experts(&self) -> Result<Table<LayerId, Experts>, ExpertsError> {
        let mut experts = Table::filled(self.layers(), Experts::default());
        for stage in self.stages() {
            if let Some(layer) = stage.layer.filter(|_| stage.has_experts()) {
                experts[layer] = Experts::of(stage)?;
            }
        }
        let has_some = experts.iter().any(|experts: &Experts| experts.count > 0);
        if has_some { Ok(experts) } else { Err(ExpertsError::None(self.name().to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> LanguageModel {
        LanguageModel::new(&crate::config::parse(text, "model").unwrap()).unwrap()
    }

    #[test]
    fn experts_are_the_pieces_of_a_layer_over_their_count() {
        let gpt = LanguageModel::new(&crate::catalog::model("gpt-oss-120b").unwrap()).unwrap();
        let experts = gpt.experts().unwrap();
        assert_eq!(experts.len(), 36);
        let first = &experts[LayerId::new(0)];
        assert_eq!((first.count, first.active), (128, 4));
        // Matrices of 2880 x 5760 and 2880 x 2880 in MXFP4, 4.25 bits a weight, and biases in BF16.
        assert_eq!(first.expert_bytes.get(), (2880 * 5760 + 2880 * 2880) * 17 / 32 + (5760 + 2880) * 2);
        assert_eq!(first.stored(), first.expert_bytes.times(128));
        // One token reads 4 of 128.
        assert_eq!(first.read_at(1), first.expert_bytes.times(4));
        let of_formats: Bytes = first.formats(first.expert_bytes).map(|(_, bytes)| bytes).sum();
        assert_eq!(of_formats, first.expert_bytes);
    }

    #[test]
    fn models_without_whole_experts_are_refused() {
        let dense = model(
            "(name: \"d\", layers: [(count: 1, attention: (stored: \"1 B\"), mlp: (stored: \"1 B\"), kv_bytes: \"1 B\")])",
        );
        assert_eq!(dense.experts(), Err(ExpertsError::None("d".to_owned())));
        let gpt = LanguageModel::new(&crate::catalog::model("gpt-oss-120b").unwrap()).unwrap();
        let error = gpt.of_rank(7).experts().unwrap_err();
        assert!(matches!(error, ExpertsError::Indivisible { layer: 0, count: 128, .. }), "{error}");
        assert!(error.to_string().contains("ranks"), "{error}");
    }
}
