//! Requests, checked: in the order of arrival, with dense ids for their prefix blocks.

use super::config::{GoalsConfig, KvConfig, LimitsConfig, Preemption, QueueOrder, RequestsConfig, SourceConfig};
use super::error::RequestsError;
use crate::units::{BlockId, RequestId, SimTime, Table};
use std::ops::Range;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it arrives; the first request of a run arrives at 0 or later.
    pub arrival: SimTime,
    /// The tokens of its prompt, at least 1.
    pub prompt: u32,
    /// The tokens of its output, at least 1. The first comes out of the step that ends the prompt.
    pub output: u32,
    /// Its place in [`Requests::blocks`]: the prefix blocks of its prompt, the first first. All but
    /// the last are full; where the prompt ends within the last, that one is not shared.
    pub blocks: Range<u32>,
}

impl Request {
    /// The tokens whose KV it has when it ends: all but the last, which is never read.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        u64::from(self.prompt) + u64::from(self.output) - 1
    }
}

/// The requests of a run and how they are served, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// All of them, sorted by arrival; of equal times in the order of the source.
    pub all: Table<RequestId, Request>,
    /// The prefix blocks of all prompts, one request after the other. Ids are dense.
    pub blocks: Vec<BlockId>,
    /// How many different blocks there are.
    pub distinct_blocks: u32,
    /// How many tokens a prefix block has: 512 in Mooncake's logs.
    pub block_tokens: u32,
    /// Limits of the engine.
    pub limits: LimitsConfig,
    /// Which of the waiting requests is admitted first.
    pub order: QueueOrder,
    /// What happens to the KV of a request that is preempted.
    pub preemption: Preemption,
    /// Where KV is kept.
    pub kv: KvConfig,
    /// What counts as goodput.
    pub goals: GoalsConfig,
}

impl Requests {
    /// Reads or generates the requests of `config`, and checks how they are served.
    ///
    /// # Errors
    /// [`RequestsError`], naming the file, row and column, or the field, and what to write instead.
    pub fn new(config: &RequestsConfig) -> Result<Self, RequestsError> {
        let SourceConfig::Generated(of) = &config.source else {
            let (field, message) = ("source".to_owned(), "logs are not read yet".to_owned());
            return Err(RequestsError::Field { field, message });
        };
        let gap = SimTime::from_ns(1e9 / of.per_second);
        let request = |number: u32| Request {
            arrival: gap.times(u64::from(number)),
            prompt: of.prompt_tokens,
            output: of.output_tokens,
            blocks: 0..0,
        };
        Ok(Self {
            all: (0..of.count).map(request).collect(),
            blocks: Vec::new(),
            distinct_blocks: 0,
            block_tokens: 512,
            limits: config.limits,
            order: config.order,
            preemption: config.preemption,
            kv: config.kv.clone(),
            goals: config.goals,
        })
    }

    /// The prefix blocks of `request`.
    #[must_use]
    pub fn blocks_of(&self, request: &Request) -> &[BlockId] {
        &self.blocks[request.blocks.start as usize..request.blocks.end as usize]
    }
}
