//! What a recorded trace says of itself, and the order of its rows: the same in all formats.
//!
//! Headers come from files, so they are checked against limits before anything is allocated by
//! them.

use super::{StepSkips, TraceError};
use crate::workload::{LanguageModel, MAX_TOKENS, Routing};
use serde::{Deserialize, Serialize};

/// The most tokens times layers of a trace: one step takes 128 MB then.
const MAX_TOKENS_OF_LAYERS: u64 = 1 << 30;

/// The most KV heads of a layer, and the most tokens of a step.
const MAX_PARTS: u64 = 1 << 16;

/// What a recorded trace says of itself.
///
/// A step has a row for each layer, or, where each KV head or each token has sets of its own, for
/// each of those in each layer: row `layer * parts + part` ([`parts`](Self::parts)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHeader {
    /// What its sets are.
    pub kind: TraceKind,
    /// How many layers.
    pub layers: usize,
    /// How many KV heads of a layer have sets of their own: row `layer * kv_heads + head` of a
    /// step. 1: a set holds for all heads of a layer.
    pub kv_heads: usize,
    /// How many tokens there were before step 0. Of routing: 0.
    pub prefill: usize,
    /// How many steps.
    pub steps: usize,
    /// The share of tokens skipped, in thousandths, where the recording was made for one.
    pub skip_permille: Option<u32>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// What the sets of a recorded trace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceKind {
    /// The tokens whose KV is not read.
    #[default]
    Skips,
    /// The experts that tokens are routed to.
    Experts(ExpertsShape),
}

/// The sizes of recorded routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertsShape {
    /// How many experts a layer has.
    pub experts: usize,
    /// How many of them a token is routed to.
    pub active: usize,
    /// How many tokens a step computes, each with sets of its own: row `layer * tokens + token`.
    pub tokens: usize,
}

impl TraceKind {
    /// What it is called in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Skips => "skips",
            Self::Experts(_) => "experts",
        }
    }

    /// The column of its sets.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Skips => "skipped",
            Self::Experts(_) => "experts",
        }
    }

    /// The column of what has sets of its own within a layer.
    pub(super) fn part_column(self) -> &'static str {
        match self {
            Self::Skips => "kv_head",
            Self::Experts(_) => "token",
        }
    }

    /// What a member of a set that is too large is, in messages: of skip sets a token past the
    /// context.
    pub(super) fn stray(self, member: usize, context: usize) -> String {
        match self {
            Self::Skips => format!("token {member} is skipped, but the context has only {context} tokens"),
            Self::Experts(_) => {
                format!("expert {member} is used, but the header says that there are {context} experts")
            }
        }
    }
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
    /// That of a trace of skip sets for whole layers, which says nothing of where it comes from.
    #[must_use]
    pub fn skips(layers: usize, prefill: usize, steps: usize) -> Self {
        let provenance = Provenance::default();
        Self { kind: TraceKind::Skips, layers, kv_heads: 1, prefill, steps, skip_permille: None, provenance }
    }

    /// The context of `step`: what its sets may hold are the tokens before it, or all experts.
    #[must_use]
    pub fn context(&self, step: usize) -> usize {
        match self.kind {
            TraceKind::Skips => self.prefill + step,
            TraceKind::Experts(shape) => shape.experts,
        }
    }

    /// The longest context, for which sets have room.
    #[must_use]
    pub fn range(&self) -> usize {
        self.context(self.steps)
    }

    /// How many sets a layer has in a step: of KV heads, or of tokens.
    #[must_use]
    pub fn parts(&self) -> usize {
        match self.kind {
            TraceKind::Skips => self.kv_heads,
            TraceKind::Experts(shape) => shape.tokens,
        }
    }

    /// How many sets a step has: its rows.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.layers * self.parts()
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.steps as u64 * self.sets() as u64
    }

    /// Room for the sets of a step.
    #[must_use]
    pub fn room(&self) -> StepSkips {
        StepSkips::none(self.sets(), self.range())
    }

    /// Its sizes, in words.
    #[must_use]
    pub fn sizes(&self) -> String {
        let Self { steps, layers, kv_heads, prefill, .. } = self;
        match self.kind {
            TraceKind::Skips if *kv_heads == 1 => {
                format!("{steps} steps, {layers} layers, {prefill} tokens before step 0")
            }
            TraceKind::Skips => {
                format!("{steps} steps, {layers} layers of {kv_heads} KV heads, {prefill} tokens before step 0")
            }
            TraceKind::Experts(ExpertsShape { experts, active, tokens }) => {
                let tokens = if tokens == 1 { String::new() } else { format!(" of {tokens} tokens") };
                format!("{steps} steps{tokens}, {layers} layers, {active} of {experts} experts for a token")
            }
        }
    }

    /// Refuses a trace that holds something else than skip sets.
    ///
    /// # Errors
    /// [`TraceError::Kind`].
    pub fn want_skips(&self, path: &str) -> Result<(), TraceError> {
        match self.kind {
            TraceKind::Skips => Ok(()),
            TraceKind::Experts(_) => Err(TraceError::Kind {
                path: path.to_owned(),
                found: "routing (kind: experts)",
                wanted: "skip sets are wanted: give it as the routing of a model with experts",
            }),
        }
    }

    /// The sizes of routing; refuses a trace that holds something else.
    ///
    /// # Errors
    /// [`TraceError::Kind`].
    pub fn want_experts(&self, path: &str) -> Result<ExpertsShape, TraceError> {
        match self.kind {
            TraceKind::Experts(shape) => Ok(shape),
            TraceKind::Skips => Err(TraceError::Kind {
                path: path.to_owned(),
                found: "skip sets",
                wanted: "routing is wanted, a trace with kind: experts in its header; skip sets are given with --trace",
            }),
        }
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
        if let Some(shape) = fields.experts {
            let experts = check("experts", shape.experts, 1, u64::from(Routing::MAX_EXPERTS))?;
            let active = check("active", shape.active, 1, experts as u64)?;
            let tokens = check("tokens", shape.tokens, 1, MAX_PARTS)?;
            let bits = (layers as u64).saturating_mul(tokens as u64).saturating_mul(experts as u64);
            check("layers * tokens * experts", bits, 1, MAX_TOKENS_OF_LAYERS)?;
            let kind = TraceKind::Experts(ExpertsShape { experts, active, tokens });
            return Ok(Self { kind, layers, kv_heads: 1, prefill: 0, steps, skip_permille: None, provenance });
        }
        let kv_heads = check("kv_heads", fields.kv_heads, 1, MAX_PARTS)?;
        let prefill = check("prefill_tokens", fields.prefill, 0, MAX_TOKENS)?;
        let skip_permille = match fields.skip_permille {
            Some(permille) => Some(check("skip_permille", permille, 0, 1000)? as u32),
            None => None,
        };
        let tokens = check("prefill_tokens + steps", fields.prefill + fields.steps, 1, MAX_TOKENS)?;
        // A bit for each is what a reader of a step takes.
        let bits = layers as u64 * tokens as u64;
        check("layers * (prefill_tokens + steps)", bits, 1, MAX_TOKENS_OF_LAYERS)?;
        let bits = bits.saturating_mul(kv_heads as u64);
        check("layers * kv_heads * (prefill_tokens + steps)", bits, 1, MAX_TOKENS_OF_LAYERS)?;
        Ok(Self { kind: TraceKind::Skips, layers, kv_heads, prefill, steps, skip_permille, provenance })
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
    /// 1 where a set holds for all heads of a layer.
    pub kv_heads: u64,
    /// Of routing; of skip sets `None`.
    pub experts: Option<ExpertsFields>,
}

/// The numbers that only routing has.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ExpertsFields {
    pub experts: u64,
    pub active: u64,
    pub tokens: u64,
}

/// Watches that rows come by step, then layer, then KV head or token, none missing and none twice.
pub(super) struct RowOrder {
    layers: usize,
    parts: usize,
    /// What parts are called in files.
    part_column: &'static str,
    /// The row that must come next.
    pub row: u64,
}

impl RowOrder {
    pub fn new(header: &TraceHeader) -> Self {
        Self { layers: header.layers, parts: header.parts(), part_column: header.kind.part_column(), row: 0 }
    }

    /// The step and the layer of the next row.
    pub fn wanted(&self) -> (usize, usize) {
        let row = self.row / self.parts as u64;
        ((row / self.layers as u64) as usize, (row % self.layers as u64) as usize)
    }

    /// Moves on to the next row, whose step, layer and part must be those. The part is missing
    /// where a layer has but one.
    pub fn check(&mut self, path: &str, step: i64, layer: i64, part: Option<i64>) -> Result<(), TraceError> {
        let (wanted_step, wanted_layer) = self.wanted();
        if (step, layer) == (wanted_step as i64, wanted_layer as i64) {
            let wanted = (self.row % self.parts as u64) as i64;
            let row = self.row;
            self.row += 1;
            let what = match (part, self.parts) {
                (None, 1) => return Ok(()),
                (Some(part), _) if part == wanted => return Ok(()),
                (None, _) => format!("'{}' is empty, where {wanted} must stand", self.part_column),
                (Some(part), 1) => {
                    let column = self.part_column;
                    format!("'{column}' is {part}, but the header gives no {column}s: write how many there are")
                }
                (Some(part), _) => format!("'{}' is {part}, where {wanted} must stand", self.part_column),
            };
            return Err(TraceError::Row { path: path.to_owned(), row, step: wanted_step, layer: wanted_layer, what });
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
