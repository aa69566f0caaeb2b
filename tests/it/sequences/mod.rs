//! Runs of several sequences: by hand; against a slow twin of the whole run; what must always hold
//! of sequences that come and go.
//!
//! The hand-computed runs are on the small machine of [`small`]: a byte takes a picosecond of HBM,
//! whose bus reads and writes share, and four of external memory, whose reads and writes have lanes
//! of their own.

mod by_hand;
mod equal;
mod outputs;
mod prefill;
mod properties;
mod reports;
mod twin;

use crate::common::runs::small;
use std::ops::ControlFlow;
use tiersim::memory::{Cancelled, Completed, PerClass, TransferClass};
use tiersim::simulation::{Ends, Outcome, Probe, Scenario, ScenarioConfig, StepRecord, run};
use tiersim::units::SimTime;
use tiersim::workload::{PrefillConfig, PrefillOrder, SequencesConfig, StageLabel};

/// A group of so many sequences: (prompt, tokens decoded, first step).
pub fn group(count: u32, (prefill, decode, start_step): (u32, u32, u32)) -> SequencesConfig {
    SequencesConfig {
        count,
        prefill_tokens: Some(prefill),
        decode_tokens: Some(decode),
        start_step,
        ..SequencesConfig::default()
    }
}

/// One layer of 1000 B and 2000 B of weights and KV of 10 B a token, on HBM of that capacity, which
/// decodes `groups`.
pub fn decoding(hbm: u64, groups: &[(u32, u32, u32)]) -> ScenarioConfig {
    let mut config = small(1, (1000, 2000), 10, hbm, 1, 1);
    config.sequences = groups.iter().map(|of| group(1, *of)).collect();
    config
}

pub fn timed(chunk_tokens: u32, order: PrefillOrder) -> PrefillConfig {
    PrefillConfig::Timed { chunk_tokens, order }
}

/// What a test sees of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Who decoded, and of which prompts how many tokens were computed.
    pub decoded: Vec<usize>,
    pub chunks: Vec<(usize, usize)>,
    /// The sequences whose prompts ended.
    pub prompts_ended: Vec<usize>,
    /// In picoseconds.
    pub latency: u64,
    pub bound: u64,
    pub used: Vec<u64>,
    /// KV tokens and all bytes read.
    pub read_tokens: u64,
    pub read: u64,
    pub head: u64,
    pub embedding: u64,
}

/// The steps of a run; the count of the complete transfers of each class, and the bytes that these
/// and dropped ones have carried.
#[derive(Debug, PartialEq)]
pub struct Watch {
    pub steps: Vec<Seen>,
    pub count: PerClass<u64>,
    pub bytes: PerClass<u64>,
    /// What dropped transfers had not carried.
    pub dropped: PerClass<u64>,
    last: SimTime,
}

impl Default for Watch {
    fn default() -> Self {
        let zero = || PerClass::filled(0);
        Self { steps: Vec::new(), count: zero(), bytes: zero(), dropped: zero(), last: SimTime::ZERO }
    }
}

impl Watch {
    pub fn latencies(&self) -> Vec<u64> {
        self.steps.iter().map(|step| step.latency).collect()
    }

    pub fn used(&self, tier: usize) -> Vec<u64> {
        self.steps.iter().map(|step| step.used[tier]).collect()
    }
}

impl Probe for Watch {
    fn transfer<Tag>(&mut self, it: &Completed<Tag>, _ends: Ends) {
        assert!(it.finished >= self.last && it.issued <= it.started, "time ran back");
        self.last = it.finished;
        self.count[it.class] += 1;
        self.bytes[it.class] += it.bytes.get();
    }

    fn dropped<Tag>(&mut self, it: &Cancelled<Tag>, _ends: Ends) {
        assert!(it.at >= self.last, "time ran back");
        self.last = it.at;
        self.dropped[it.class] += it.dropped.get();
        self.bytes[it.class] += it.carried.get();
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        let of_label = |label: StageLabel| step.read[label].values().map(|bytes| bytes.get()).sum::<u64>();
        let chunks = step.batch.chunks.iter();
        self.steps.push(Seen {
            decoded: step.batch.decoding.iter().map(|id| id.index()).collect(),
            chunks: chunks.clone().map(|chunk| (chunk.sequence.index(), chunk.tokens)).collect(),
            prompts_ended: chunks.filter(|chunk| chunk.is_last).map(|chunk| chunk.sequence.index()).collect(),
            latency: step.latency.as_ps(),
            bound: step.bound.as_ps(),
            used: step.used.values().map(|bytes| bytes.get()).collect(),
            read_tokens: step.read_kv_tokens,
            read: StageLabel::ALL.iter().map(|label| of_label(*label)).sum(),
            head: of_label(StageLabel::Head),
            embedding: of_label(StageLabel::Embedding),
        });
        ControlFlow::Continue(())
    }
}

/// A run that must complete.
pub fn watch(config: &ScenarioConfig) -> (Outcome, Watch) {
    let mut watch = Watch::default();
    let outcome = run(&Scenario::new(config.clone()).unwrap(), &mut watch).unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    for class in TransferClass::ALL {
        assert_eq!(outcome.issued[class], outcome.completed[class] + outcome.dropped[class]);
        assert_eq!(outcome.dropped[class].get(), watch.dropped[class], "{class:?}");
    }
    (outcome, watch)
}
