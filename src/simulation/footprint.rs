//! How much memory a run needs, from its sizes: an upper estimate, which a test holds against what
//! runs take.

use super::scenario::Scenario;
use crate::strategy::{MigrationKind, MoveBatch, Parts};
use crate::units::{Bytes, PageSize};
use crate::workload::{Requests, Sequence, Shape, TraceConfig};

/// What a run needs whatever its size: code, tables, event queues, and the histograms, of up to 450
/// kB each.
const BASE: u64 = 12 << 20;
/// What is kept of a KV region besides sets: its reads in each stage, writes and moves.
const A_REGION: u64 = 1 << 10;
/// What a lane takes.
const A_LANE: u64 = 16 << 10;
/// What the series of a run keep of a step, and of each tier in a step.
const A_STEP: (u64, u64) = (96, 16);
/// What the reader of a recorded trace keeps of its file: pages and their dictionaries.
const A_RECORDING: u64 = 48 << 20;

/// What serving takes whatever the requests: series over time, distributions, and the moves and
/// pauses that a timeline shows.
const OF_SERVING: u64 = 64 << 20;
/// What is kept of a request: itself, its record, its state in the scheduler, its tokens so far.
const A_REQUEST: u64 = 1 << 10;
/// What is kept of a prefix block of a prompt, in the prompt and in the caches.
const A_BLOCK: u64 = 128;

impl Scenario {
    /// The most memory that a run of this scenario with a [`Recorder`](crate::metrics::Recorder)
    /// takes, not counting skip sets that several runs share. It grows with tokens times layers:
    /// for each page of a layer a bit for each set that it may be in, and what it may take in a
    /// move.
    #[must_use]
    pub fn memory_needed(&self) -> Bytes {
        if let Some(requests) = self.requests() {
            return memory_of(requests);
        }
        let parts = self.parts();
        let tiers = self.memory().tiers().len() as u64;
        let of_sequences: u64 = self.sequences().all().iter().map(|of| self.memory_of(of, &parts)).sum();
        let series = self.steps() as u64 * (A_STEP.0 + A_STEP.1 * tiers) * 3;
        let lanes = self.memory().lanes().len() as u64 * A_LANE;
        Bytes::new(BASE + of_sequences + self.moves_need() + series + lanes)
    }

    /// What moves need. A page is in one move at a time, in a list or as a part of a set.
    fn moves_need(&self) -> u64 {
        let tiers = self.memory().tiers().len() as u64;
        if tiers == 1 || self.strategy().migration == MigrationKind::None {
            return 0;
        }
        let pages = |sequence: &Sequence| self.shape_of(sequence).range() as u64;
        let longest = self.sequences().all().iter().map(pages).max().unwrap_or(0);
        let all: u64 = self.sequences().all().iter().map(pages).sum::<u64>() * self.model().kv_regions() as u64;
        // What grows has up to twice the room it needs, and for a moment its old room as well.
        all * MoveBatch::most_bytes_a_page(longest as usize) + longest * 4 * tiers * 3
    }

    /// What one of its sequences needs.
    fn memory_of(&self, sequence: &Sequence, parts: &Parts) -> u64 {
        let shape = self.shape_of(sequence);
        let Shape { layers, prefill, decode, page_size } = shape;
        let (layers, tiers) = (layers as u64, self.memory().tiers().len() as u64);
        let (tokens, pages) = ((prefill + decode) as u64, shape.range() as u64);
        let ahead = parts.look_ahead().min(decode) as u64;

        let residency = layers * ((2 * tiers + 1) * set(pages) + A_REGION);
        let trace = self.sequences().trace_of(sequence.group);
        let is_skipped = !trace.skips_nothing() || self.model().kv().iter().any(|kv| kv.window.is_some());
        let skips = if !is_skipped {
            0
        } else {
            let in_tokens = if page_size != PageSize::TOKEN { layers * set(tokens) } else { 0 };
            (ahead + 1) * layers * set(pages) + in_tokens + of_trace(trace, layers, tokens)
        };
        residency + skips + parts.migration.memory(shape, is_skipped).get()
    }
}

/// The most memory that a run takes that serves `requests`, with its recorder. It does not grow
/// with the number of steps.
fn memory_of(requests: &Requests) -> Bytes {
    let (count, blocks) = (requests.all.len() as u64, requests.blocks.len() as u64);
    Bytes::new(BASE + OF_SERVING + count * A_REQUEST + blocks * A_BLOCK)
}

/// What the source of skip sets takes for so many layers of so many tokens.
fn of_trace(trace: &TraceConfig, layers: u64, tokens: u64) -> u64 {
    match trace {
        TraceConfig::Generated(_) => layers * 2 * set(tokens),
        TraceConfig::Lifelike(_) => of_lifelike(layers, tokens),
        TraceConfig::Recorded(_) => A_RECORDING + 3 * layers * set(tokens) + of_lifelike(layers, tokens),
    }
}

/// The most memory that writing the skip sets of `trace` to a file takes: its source and the sets
/// of a step and of the one before.
#[must_use]
pub fn memory_of_trace(trace: &TraceConfig, layers: usize, tokens: usize) -> Bytes {
    let (layers, tokens) = (layers as u64, tokens as u64);
    Bytes::new(BASE + of_trace(trace, layers, tokens) + 4 * layers * set(tokens))
}

/// A set of tokens, a bit each.
fn set(bits: u64) -> u64 {
    bits.div_ceil(64) * 8 + 32
}

/// A score and its change for each token of each layer, and of what they have in common.
fn of_lifelike(layers: u64, tokens: u64) -> u64 {
    (layers + 2) * tokens * 8 + tokens * 16
}
