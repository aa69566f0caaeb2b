//! Index bytes: what sparse attention reads of every page to select those that it attends to.
//!
//! Selecting tokens is not free. DeepSeek-V3.2 keeps a key of its indexer with each token and reads
//! all of them in each step; Quest keeps the least and the greatest keys of each page. The index is
//! read in full by every stage that reads KV, so it stays in the first tier: it takes capacity
//! there for all tokens that each sequence will ever have, and is read from there beside the pages
//! that were selected. Its growth by a token in each step is not written.

use super::model::LanguageModel;
use crate::units::{Bytes, LayerId, PageSize, RegionId, Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What attention reads of every page, as a person writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexConfig {
    /// The index keys of the model's own attention, which are otherwise read with the KV of the
    /// tokens that are selected.
    Model,
    /// So many bytes of each page of a layer, besides its KV.
    PerPage(Bytes),
}

/// An index that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum IndexError {
    #[error(
        "index: Model, but the model {model} has no indexer, whose keys would be read: write index: PerPage(\"256 B\"), with what \
         is read of each page to select it"
    )]
    NoIndexer { model: String },
    #[error(
        "index: the index of all sequences takes {needed} B of {tier}, which has {capacity}: enlarge the tier, or take fewer \
         tokens, larger pages (page_tokens) or a smaller index"
    )]
    TooLarge { tier: String, needed: u128, capacity: Bytes },
}

/// The index of a page, by layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvIndex {
    by_layer: Table<LayerId, Bytes>,
    page_size: PageSize,
}

impl KvIndex {
    /// The index of `model` with pages of that size, and the model without what is in the index.
    ///
    /// # Errors
    /// [`IndexError::NoIndexer`].
    pub fn split(
        config: IndexConfig,
        model: LanguageModel,
        page_size: PageSize,
    ) -> Result<(Self, LanguageModel), IndexError> {
        let is_own = |layer: LayerId| model.kv()[layer].source == layer && model.kv()[layer].token_bytes > Bytes::ZERO;
        let of = |layer: LayerId| match config {
            _ if !is_own(layer) => Bytes::ZERO,
            IndexConfig::Model => model.kv()[layer].index_bytes.times(page_size.tokens() as u64),
            IndexConfig::PerPage(bytes) => bytes,
        };
        let by_layer: Table<LayerId, Bytes> = model.kv().ids().map(of).collect();
        if config == IndexConfig::Model && by_layer.iter().all(|bytes| *bytes == Bytes::ZERO) {
            return Err(IndexError::NoIndexer { model: model.name().to_owned() });
        }
        let model = if config == IndexConfig::Model { model.without_index() } else { model };
        Ok((Self { by_layer, page_size }, model))
    }

    /// The index of a page of a KV region.
    #[must_use]
    pub fn of(&self, region: RegionId) -> Bytes {
        self.by_layer[LayerId::new(region.index() % self.by_layer.len())]
    }

    /// The index of so many tokens of a KV region, in bytes.
    #[must_use]
    pub fn of_tokens(&self, region: RegionId, tokens: usize) -> Bytes {
        self.of(region).times(self.page_size.pages(tokens) as u64)
    }

    /// What it takes of the first tier for sequences of so many tokens each.
    ///
    /// # Errors
    /// [`IndexError::TooLarge`] if the tier of that name and capacity has less.
    pub fn reserved(
        &self,
        tokens: impl Iterator<Item = usize>,
        tier: &str,
        capacity: Bytes,
    ) -> Result<Bytes, IndexError> {
        let a_page: u128 = self.by_layer.iter().map(|bytes| u128::from(bytes.get())).sum();
        let needed: u128 = tokens.map(|tokens| self.page_size.pages(tokens) as u128 * a_page).sum();
        match u64::try_from(needed) {
            Ok(bytes) if bytes < capacity.get() => Ok(Bytes::new(bytes)),
            _ => Err(IndexError::TooLarge { tier: tier.to_owned(), needed, capacity }),
        }
    }
}
