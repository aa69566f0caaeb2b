//! Watches a run that serves requests.
//!
//! The recorder is called up to millions of times, so it keeps no list of steps: it adds each to
//! histograms, to sums and to a [`ServingSeries`]. Of each request it keeps when its last token
//! came out, for the times between tokens. What the timeline shows (when requests were set aside,
//! and their moves) it keeps of the first [`TIMELINE_REQUESTS`] requests only.

use crate::memory::{PerClass, TierId, TransferClass};
use crate::metrics::recorder::{Histograms, Mean};
use crate::metrics::requests::{Pause, RequestsTimeline, ServingSeries, StepTokens, TIMELINE_REQUESTS};
use crate::simulation::{MoveRecord, Scenario, ServingProbe, ServingRecord, TransferRecord};
use crate::units::{Bytes, RequestId, SimTime, Table};
use crate::workload::{MoveKind, StepPart};
use std::ops::ControlFlow;

/// The most pauses, and the most moves, that a timeline keeps.
const TIMELINE_SPANS: usize = 20_000;

/// Watches a run that serves requests.
#[derive(Clone, Debug)]
pub struct RequestsRecorder {
    pub(super) histograms: Histograms,
    pub(super) series: ServingSeries,
    /// By class and tier.
    pub(super) bytes: PerClass<Vec<Bytes>>,
    pub(super) alpha: Alpha,
    /// By tier: the sum over steps of its share of the bytes read.
    pub(super) shares: Vec<Mean>,
    /// Running requests times picoseconds in steps, these picoseconds, and the most requests.
    pub(super) running: u128,
    pub(super) busy: SimTime,
    pub(super) most_running: u32,
    /// By kind: how many, and their bytes.
    pub(super) moves: [(u64, Bytes); MoveKind::COUNT],
    /// What the last step had in use on each tier.
    pub(super) used: Vec<Bytes>,
    pub(super) timeline: RequestsTimeline,
    seen: Table<RequestId, Seen>,
    /// When the last step ended.
    last_end: SimTime,
}

/// HBM's share of the bytes read by steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Alpha {
    pub first: Option<f64>,
    pub last: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// What is kept of a request between its steps.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When its last token came out; `MAX` before the first.
    last_token: SimTime,
    /// The end of its last step; `MAX` before the first.
    last_end: SimTime,
    /// The tokens whose KV it had then.
    tokens: u32,
}

const UNSEEN: Seen = Seen { last_token: SimTime::MAX, last_end: SimTime::MAX, tokens: 0 };

impl RequestsRecorder {
    /// A recorder for a run of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let requests = scenario.requests().map_or(0, |requests| requests.all.len());
        Self::of(scenario.memory().tiers().len(), requests)
    }

    /// A recorder for that many tiers and requests.
    pub(super) fn of(tiers: usize, requests: usize) -> Self {
        let requests_timings = Some(Box::default());
        Self {
            histograms: Histograms { requests: requests_timings, ..Histograms::default() },
            series: ServingSeries::new(tiers),
            bytes: PerClass::from_fn(|_| vec![Bytes::ZERO; tiers]),
            alpha: Alpha::default(),
            shares: vec![Mean::default(); tiers],
            running: 0,
            busy: SimTime::ZERO,
            most_running: 0,
            moves: Default::default(),
            used: vec![Bytes::ZERO; tiers],
            timeline: RequestsTimeline::default(),
            seen: Table::filled(requests, UNSEEN),
            last_end: SimTime::ZERO,
        }
    }

    /// Adds the times between tokens, and pauses. Requests that decode in the same two steps share
    /// the time between them: equal times are counted together.
    fn parts(&mut self, record: &ServingRecord<'_>) -> StepTokens {
        let mut tokens = StepTokens::default();
        let mut alike = (SimTime::ZERO, 0u64);
        let tpot = &mut self.histograms.tokens.tpot;
        for part in &record.step.parts {
            tokens.all += part.tokens;
            tokens.prompt += if part.is_chunk { part.tokens } else { 0 };
            let seen = &mut self.seen[part.request];
            if seen.last_end != self.last_end
                && seen.last_end != SimTime::MAX
                && part.request.index() < TIMELINE_REQUESTS
                && self.timeline.pauses.len() < TIMELINE_SPANS
            {
                self.timeline.pauses.push(pause(seen, part, record.began));
            }
            if part.outputs {
                tokens.outputs += 1;
                if seen.last_token != SimTime::MAX {
                    let gap = record.ended - seen.last_token;
                    if alike.0 != gap && alike.1 > 0 {
                        tpot.record_n(alike.0, alike.1);
                        alike.1 = 0;
                    }
                    alike = (gap, alike.1 + 1);
                }
                seen.last_token = record.ended;
            }
            seen.last_end = record.ended;
            seen.tokens = part.context + part.tokens;
        }
        if alike.1 > 0 {
            tpot.record_n(alike.0, alike.1);
        }
        tokens
    }
}

/// The time in which a request had no part in steps. A request that decodes has one in every step,
/// unless it was preempted; one that computes its prompt may have to wait.
fn pause(seen: &Seen, part: &StepPart, began: SimTime) -> Pause {
    let preempted = seen.last_token != SimTime::MAX || part.context < seen.tokens;
    Pause { request: part.request, from: seen.last_end, to: began, preempted }
}

impl Alpha {
    fn add(&mut self, share: f64) {
        self.first.get_or_insert(share);
        self.last = Some(share);
        self.min = Some(self.min.map_or(share, |min| min.min(share)));
        self.max = Some(self.max.map_or(share, |max| max.max(share)));
    }
}

impl ServingProbe for RequestsRecorder {
    fn step(&mut self, record: &ServingRecord<'_>) -> ControlFlow<()> {
        let latency = record.ended - record.began;
        self.histograms.token_latency.record(latency);
        let tokens = self.parts(record);
        self.last_end = record.ended;
        self.series.step(record, tokens);
        self.running += u128::from(record.step.running) * u128::from(latency.as_ps());
        self.busy += latency;
        self.most_running = self.most_running.max(record.step.running);
        let read = |tier: TierId| record.weights[tier] + record.kv[tier];
        let all: Bytes = record.used.ids().map(read).sum();
        for (tier, share) in record.used.ids().zip(&mut self.shares) {
            share.add(read(tier), all);
        }
        if all > Bytes::ZERO {
            self.alpha.add(read(TierId::HBM).as_f64() / all.as_f64());
        }
        self.used.copy_from_slice(record.used.as_slice());
        ControlFlow::Continue(())
    }

    fn transfers(&mut self, transfers: &TransferRecord) {
        let class: TransferClass = transfers.class;
        self.histograms.latency[class].record_n(transfers.latency, transfers.count);
        let queueing = transfers.latency.saturating_sub(transfers.unloaded);
        self.histograms.queueing[class].record_n(queueing, transfers.count);
        self.bytes[class][transfers.tier.index()] += Bytes::new(transfers.bytes.get() * transfers.count);
    }

    fn moved(&mut self, moved: &MoveRecord) {
        let kind = moved.moved.kind as usize;
        self.moves[kind].0 += 1;
        self.moves[kind].1 += moved.bytes;
        if let Some(timings) = &mut self.histograms.requests {
            timings.moves[kind].record(moved.completed - moved.issued);
        }
        self.series.moved(moved);
        if moved.moved.request.index() < TIMELINE_REQUESTS && self.timeline.moves.len() < TIMELINE_SPANS {
            self.timeline.moves.push(*moved);
        }
    }
}
