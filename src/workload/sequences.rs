//! The sequences that a run decodes: as a person writes them, and checked.
//!
//! A scenario has one sequence, or a `batch` of equal ones, or a list of groups (`sequences`) whose
//! prompts, lengths and skip sets differ. A sequence begins in the step that its group says. Its
//! prompt is there by then (`prefill: Given`, as in the study), or it is computed in chunks
//! (`prefill: Timed`); then it decodes a token in each step until it ends.
//!
//! The sequences of a group are alike but for their skip sets: a generator is seeded anew for each.
//! Those of a recorded trace are the same for all of a group. In a file:
//!
//! ```text
//! batch: 8,                                           // eight equal sequences
//!
//! sequences: [                                        // or groups that differ
//!     (count: 4),                                     // as the scenario says
//!     (count: 2, prefill_tokens: "8k", decode_tokens: 64, start_step: 16),
//! ],
//! prefill: Timed(chunk_tokens: 512, order: First),    // or Given, the default
//! ```

use super::trace::TraceConfig;
use crate::units::{GroupId, SequenceId, Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A group of equal sequences, as a person writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Sequences", deny_unknown_fields)]
pub struct SequencesConfig {
    /// How many.
    #[serde(default = "one", deserialize_with = "crate::config::count_from_1")]
    pub count: u32,
    /// The tokens of each prompt; the scenario's where not given.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::config::optional_count")]
    pub prefill_tokens: Option<u32>,
    /// The tokens that each decodes; the scenario's where not given.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::config::optional_count_from_1"
    )]
    pub decode_tokens: Option<u32>,
    /// The step of the run with which they begin.
    #[serde(default, deserialize_with = "crate::config::count")]
    pub start_step: u32,
    /// Which tokens each step skips; as the scenario says where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceConfig>,
}

fn one() -> u32 {
    1
}

impl Default for SequencesConfig {
    fn default() -> Self {
        Self { count: 1, prefill_tokens: None, decode_tokens: None, start_step: 0, trace: None }
    }
}

/// Whether prompts take time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrefillConfig {
    /// The KV of a prompt is there when its sequence begins, and costs no time.
    #[default]
    Given,
    /// Prompts are computed in chunks.
    Timed {
        /// How many tokens of prompts a step computes at most.
        #[serde(default = "chunk_tokens", deserialize_with = "crate::config::count_from_1")]
        chunk_tokens: u32,
        /// Which steps compute them.
        #[serde(default)]
        order: PrefillOrder,
    },
}

/// The default `chunk_tokens`, which is vLLM's budget of tokens in a step.
pub const CHUNK_TOKENS: u32 = 2048;

fn chunk_tokens() -> u32 {
    CHUNK_TOKENS
}

impl PrefillConfig {
    /// Prompts in chunks, as where no more is said.
    pub const TIMED: Self = Self::Timed { chunk_tokens: CHUNK_TOKENS, order: PrefillOrder::Mixed };

    /// Whether prompts are there at no cost.
    #[must_use]
    pub fn is_given(&self) -> bool {
        *self == Self::Given
    }
}

/// Which steps compute prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrefillOrder {
    /// Those that decode the other sequences.
    #[default]
    #[serde(alias = "mixed")]
    Mixed,
    /// Steps of their own, before the other sequences go on.
    #[serde(alias = "first")]
    First,
}

impl PrefillOrder {
    /// Each with its name on the command line and with what it does, in a line.
    pub const ALL: [(&'static str, &'static str, Self); 2] = [
        ("mixed", "Steps that compute a chunk decode the other sequences as well", Self::Mixed),
        ("first", "Chunks have steps of their own, for which the other sequences pause", Self::First),
    ];
}

/// One sequence of a run, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The group that it belongs to.
    pub group: GroupId,
    /// Its place in the group, from 0: what its skip sets are seeded by.
    pub place: usize,
    /// The tokens of its prompt.
    pub prefill: usize,
    /// The tokens that it decodes.
    pub decode: usize,
    /// The step of the run with which it begins.
    pub start: usize,
}

/// The sequences of a run, checked, group by group.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    all: Table<SequenceId, Sequence>,
    traces: Table<GroupId, TraceConfig>,
    prefill: PrefillConfig,
}

/// Sequences that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum SequencesError {
    #[error("batch: 0 sequences: there is nothing to decode; write at least 1")]
    NoBatch,
    #[error(
        "batch: {0} equal sequences, and `sequences` lists others: leave one of them out, or give the groups a `count`"
    )]
    Both(u32),
    #[error("sequences[{0}].count: 0 sequences: write at least 1, or leave the group out")]
    NoCount(usize),
    #[error("sequences[{0}].decode_tokens: 0 steps: there is nothing to simulate; write at least 1")]
    NoSteps(usize),
    #[error("{field}: {count} sequences in all, but at most {max} can be simulated", max = Sequences::MAX)]
    TooMany { field: &'static str, count: u64 },
    #[error(
        "sequences[{group}].start_step: {start}, but the sequences that begin before it end after step {end}, so that nothing would \
         run in between: write at most {end}"
    )]
    StartsAfterEnd { group: usize, start: usize, end: usize },
    #[error("sequences: none begins with step 0: let the first group begin there (start_step: 0)")]
    NoneAtStart,
    #[error("prefill.chunk_tokens: 0 tokens: write at least 1")]
    NoChunk,
}

impl Sequences {
    /// The most sequences of a run.
    pub const MAX: u64 = 65_536;

    /// Checks `batch` equal sequences of `like` or, where any are listed, those of `groups`, whose
    /// missing fields are as in `like`; all but their starts, which
    /// [`Schedule::checked`](super::Schedule::checked) checks.
    ///
    /// # Errors
    /// [`SequencesError`], naming the field, the value and what to write instead.
    pub fn new(
        like: &LikeConfig<'_>,
        batch: u32,
        groups: &[SequencesConfig],
        prefill: PrefillConfig,
    ) -> Result<Self, SequencesError> {
        if let PrefillConfig::Timed { chunk_tokens: 0, .. } = prefill {
            return Err(SequencesError::NoChunk);
        }
        if batch == 0 {
            return Err(SequencesError::NoBatch);
        }
        let equal = [SequencesConfig { count: batch, ..SequencesConfig::default() }];
        let (field, groups) = match (groups.is_empty(), batch) {
            (true, _) => ("batch", &equal[..]),
            (false, 1) => ("sequences[].count", groups),
            (false, batch) => return Err(SequencesError::Both(batch)),
        };
        let count: u64 = groups.iter().map(|group| u64::from(group.count)).sum();
        if count > Self::MAX {
            return Err(SequencesError::TooMany { field, count });
        }
        let (mut all, mut traces) = (Table::new(), Table::new());
        for (index, of) in groups.iter().enumerate() {
            if of.count == 0 {
                return Err(SequencesError::NoCount(index));
            }
            let group = traces.push(of.trace.as_ref().unwrap_or(like.trace).clone());
            let decode = of.decode_tokens.unwrap_or(like.decode_tokens) as usize;
            if decode == 0 {
                return Err(SequencesError::NoSteps(index));
            }
            let prefill = of.prefill_tokens.unwrap_or(like.prefill_tokens) as usize;
            for place in 0..of.count as usize {
                all.push(Sequence { group, place, prefill, decode, start: of.start_step as usize });
            }
        }
        Ok(Self { all, traces, prefill })
    }

    /// All sequences, group by group.
    #[must_use]
    pub fn all(&self) -> &Table<SequenceId, Sequence> {
        &self.all
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.traces.len()
    }

    /// How their prompts are computed.
    #[must_use]
    pub fn prefill(&self) -> PrefillConfig {
        self.prefill
    }

    /// Where the skip sets of a group come from.
    #[must_use]
    pub fn trace_of(&self, group: GroupId) -> &TraceConfig {
        &self.traces[group]
    }

    /// Puts `trace` in the place of that of a group.
    pub fn set_trace(&mut self, group: GroupId, trace: TraceConfig) {
        self.traces[group] = trace;
    }

    /// The same with `count` sequences in a group that has some.
    #[must_use]
    pub fn resized(&self, group: GroupId, count: usize) -> Self {
        let before = self.all.iter().take_while(|of| of.group < group).copied();
        let first = self.all.iter().find(|of| of.group == group);
        let resized = first.into_iter().flat_map(|first| (0..count).map(|place| Sequence { place, ..*first }));
        let after = self.all.iter().skip_while(|of| of.group <= group).copied();
        let all = before.chain(resized).chain(after).collect();
        Self { all, traces: self.traces.clone(), prefill: self.prefill }
    }

    /// The trace of one sequence, a synthetic one with a seed of its own.
    #[must_use]
    pub fn trace(&self, sequence: SequenceId) -> TraceConfig {
        let Sequence { group, place, .. } = self.all[sequence];
        self.traces[group].of_sequence(place)
    }
}

/// What groups of sequences that give no value of their own are like.
#[derive(Clone, Copy, Debug)]
pub struct LikeConfig<'a> {
    /// The tokens of a prompt.
    pub prefill_tokens: u32,
    /// The tokens that a sequence decodes.
    pub decode_tokens: u32,
    /// Which tokens each step skips.
    pub trace: &'a TraceConfig,
}
