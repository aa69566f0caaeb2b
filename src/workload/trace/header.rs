//! What a recorded trace says of itself, and the order of its rows: the same in all formats.
//!
//! Headers come from files, so they are checked against limits before anything is allocated by
//! them.

use super::TraceError;
use crate::workload::{LanguageModel, MAX_TOKENS};
use serde::{Deserialize, Serialize};

/// The most tokens times layers of a trace: one step takes 128 MB then.
const MAX_TOKENS_OF_LAYERS: u64 = 1 << 30;

/// What a recorded trace says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHeader {
    /// How many layers: rows of a step.
    pub layers: usize,
    /// How many tokens there were before step 0.
    pub prefill: usize,
    /// How many steps.
    pub steps: usize,
    /// The share of tokens skipped, in thousandths, where the recording was made for one.
    pub skip_permille: Option<u32>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Where a trace comes from, in words; each may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The model whose attention was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The text that it read or wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Under which licence the trace may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// How it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
}

impl Provenance {
    /// Each field with its name in files.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("model", self.model.as_deref()),
            ("source", self.source.as_deref()),
            ("licence", self.licence.as_deref()),
            ("made_by", self.made_by.as_deref()),
        ]
    }

    /// As `self`, with what `other` knows in its place.
    #[must_use]
    pub fn updated(self, other: Self) -> Self {
        Self {
            model: other.model.or(self.model),
            source: other.source.or(self.source),
            licence: other.licence.or(self.licence),
            made_by: other.made_by.or(self.made_by),
        }
    }
}

impl TraceHeader {
    /// The context of `step`: the tokens before it.
    #[must_use]
    pub fn context(&self, step: usize) -> usize {
        self.prefill + step
    }

    /// How many rows there are: a row a layer of a step.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.steps as u64 * self.layers as u64
    }

    /// Checks what a file says, before anything is sized by it.
    ///
    /// # Errors
    /// [`TraceError::Header`], naming the field.
    pub fn checked(path: &str, fields: HeaderFields, provenance: Provenance) -> Result<Self, TraceError> {
        let check = |field: &'static str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(value as usize);
            }
            Err(TraceError::Header {
                path: path.to_owned(),
                field,
                value: value.to_string(),
                limit: format!("it must be between {least} and {most}"),
            })
        };
        let steps = check("steps", fields.steps, 1, MAX_TOKENS)?;
        let layers = check("layers", fields.layers, 1, LanguageModel::MAX_LAYERS)?;
        let prefill = check("prefill_tokens", fields.prefill, 0, MAX_TOKENS)?;
        let skip_permille = match fields.skip_permille {
            Some(permille) => Some(check("skip_permille", permille, 0, 1000)? as u32),
            None => None,
        };
        let tokens = check("prefill_tokens + steps", fields.prefill + fields.steps, 1, MAX_TOKENS)?;
        // A bit for each is what a reader of a step takes.
        check("layers * (prefill_tokens + steps)", layers as u64 * tokens as u64, 1, MAX_TOKENS_OF_LAYERS)?;
        Ok(Self { layers, prefill, steps, skip_permille, provenance })
    }
}

/// The numbers of a header as a file gives them.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct HeaderFields {
    pub layers: u64,
    pub prefill: u64,
    pub steps: u64,
    pub skip_permille: Option<u64>,
}

/// Watches that rows come by step, then layer, none missing and none twice.
pub(super) struct RowOrder {
    layers: usize,
    /// The row that must come next.
    pub row: u64,
}

impl RowOrder {
    pub fn new(layers: usize) -> Self {
        Self { layers, row: 0 }
    }

    /// The step and the layer of the next row.
    pub fn wanted(&self) -> (usize, usize) {
        ((self.row / self.layers as u64) as usize, (self.row % self.layers as u64) as usize)
    }

    /// Moves on to the next row, whose step and layer must be those.
    pub fn check(&mut self, path: &str, step: i64, layer: i64) -> Result<(), TraceError> {
        let (wanted_step, wanted_layer) = self.wanted();
        if (step, layer) == (wanted_step as i64, wanted_layer as i64) {
            self.row += 1;
            return Ok(());
        }
        let what = if layer < 0 || layer >= self.layers as i64 {
            "there is no such layer"
        } else if (step, layer) > (wanted_step as i64, wanted_layer as i64) {
            "a row is missing, or rows are not sorted by step, then layer"
        } else {
            "a row comes twice, or rows are not sorted by step, then layer"
        };
        Err(TraceError::RowOrder { path: path.to_owned(), row: self.row, step, layer, wanted_step, wanted_layer, what })
    }
}
