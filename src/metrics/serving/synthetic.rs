//! A synthetic engine that serves requests, for tests of what watches one.
//!
//! It admits requests in the order of arrival, computes a prompt in one step, decodes a token of
//! each running request in every step, and sets the last one aside for a while now and then.

use super::recorder::RequestsRecorder;
use crate::memory::{PerTier, TierId, TransferClass};
use crate::metrics::RunReport;
use crate::simulation::{
    MoveRecord, Scenario, ScenarioConfig, ServingOutcome, ServingProbe, ServingRecord, TransferRecord,
};
use crate::units::{Bytes, MoveId, RequestId, SimTime, Step};
use crate::workload::{
    GoalsConfig, KvConfig, KvMove, LimitsConfig, MoveKind, Preemption, QueueOrder, Request, RequestRecord, Requests,
    ServingStep, StepPart, WhenMoved,
};
use std::sync::Arc;

/// A run of the synthetic engine, and when every token of each request came out.
pub struct Served {
    pub report: RunReport,
    pub tokens: Vec<Vec<SimTime>>,
    pub steps: Vec<SimTime>,
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// `count` requests that arrive every `gap` on average.
pub fn requests(count: u64, gap: SimTime, goals: GoalsConfig) -> Requests {
    let mut numbers = Numbers(7);
    let mut arrival = SimTime::ZERO;
    let mut next = || {
        arrival += SimTime::from_ps(numbers.below(2 * gap.as_ps() + 1));
        let (prompt, output) = (1 + numbers.below(4_000) as u32, 1 + numbers.below(300) as u32);
        Request { arrival, prompt, output, blocks: 0..0 }
    };
    Requests {
        all: (0..count).map(|_| next()).collect(),
        blocks: Vec::new(),
        distinct_blocks: 0,
        block_tokens: 512,
        limits: LimitsConfig::default(),
        order: QueueOrder::Fcfs,
        preemption: Preemption::Swap,
        kv: KvConfig::default(),
        goals,
    }
}

/// What the engine knows of a running request.
struct Running {
    id: RequestId,
    out: u32,
    /// The step until which it is set aside.
    aside: u64,
}

/// Serves `requests` on the memory of the scenario `study`.
pub fn serve(requests: Requests) -> Served {
    let scenario = Scenario::new(ScenarioConfig::load("study").unwrap()).unwrap();
    let requests = Arc::new(requests);
    let tiers = scenario.memory().tiers().len();
    let per_tier = |values: [u64; 2]| -> PerTier<Bytes> {
        (0..tiers).map(|tier| Bytes::new(values.get(tier).copied().unwrap_or(0))).collect()
    };
    let mut recorder = RequestsRecorder::of(tiers, requests.all.len());
    let mut outcome = ServingOutcome::new(scenario.memory(), requests.all.iter().map(RequestRecord::new).collect());
    let mut tokens: Vec<Vec<SimTime>> = vec![Vec::new(); requests.all.len()];
    let (mut now, mut next, mut numbers, mut steps) = (SimTime::ZERO, 0, Numbers(11), Vec::new());
    let mut running: Vec<Running> = Vec::new();
    let mut moves = 0;
    outcome.weights = per_tier([16_000_000_000, 0]);
    outcome.kv_room = per_tier([50_000_000_000, 200_000_000_000]);
    for number in 0.. {
        let arrived = requests.all.iter().filter(|request| request.arrival <= now).count();
        let mut step = ServingStep { waiting: arrived.saturating_sub(next) as u32, ..ServingStep::default() };
        for of in running.iter().filter(|of| of.aside <= number) {
            let context = requests.all[of.id].prompt + of.out - 1;
            step.parts.push(part(of.id, context, 1));
        }
        if next < arrived && running.len() < 24 {
            let id = RequestId::new(next);
            let record = &mut outcome.records[id];
            record.scheduled = Some(now);
            record.hit_hbm = requests.all[id].prompt / 8;
            record.hit_external = requests.all[id].prompt / 4;
            step.parts.push(part(id, 0, requests.all[id].prompt));
            running.push(Running { id, out: 0, aside: 0 });
            next += 1;
            for kind in [MoveKind::Store, MoveKind::Load] {
                moves += 1;
                let tokens = requests.all[id].prompt;
                let moved = KvMove { id: MoveId::new(moves), kind, request: id, tokens, when: WhenMoved::Background };
                let bytes = Bytes::new(u64::from(moved.tokens) * 131_072);
                let issued = if kind == MoveKind::Load { requests.all[id].arrival } else { now };
                let completed = issued + SimTime::from_ps(bytes.get() * 20);
                recorder.moved(&MoveRecord { moved, bytes, issued, completed });
            }
        }
        if step.parts.is_empty() {
            match requests.all.iter().nth(next) {
                Some(request) if running.is_empty() => {
                    outcome.waits.idle += request.arrival - now;
                    now = request.arrival;
                }
                None if running.is_empty() => break,
                _ => {}
            }
            if running.is_empty() {
                continue;
            }
        }
        step.running = step.parts.len() as u32;
        let kv: u64 = running.iter().map(|of| u64::from(requests.all[of.id].prompt + of.out)).sum();
        (step.pages_hbm, step.pages_cached, step.pages_external) = (kv / 16 + 40, 40, kv / 32);
        let latency = SimTime::from_ps(
            4_000_000_000 + u64::from(step.tokens()) * 20_000_000 + numbers.below(1_000_000_000) + kv * 10_000,
        );
        let (began, ended) = (now, now + latency);
        let kv = kv * 131_072;
        let record = ServingRecord {
            number: Step::new(number as usize),
            began,
            ended,
            step: &step,
            weights: &per_tier([16_000_000_000, 0]),
            kv: &per_tier([kv, kv / 8]),
            written: &per_tier([u64::from(step.tokens()) * 131_072, 0]),
            used: &per_tier([16_000_000_000 + kv, kv / 2]),
        };
        let _ = recorder.step(&record);
        let class = TransferClass::WeightRead;
        let (tier, bytes) = (TierId::HBM, Bytes::new(500_000_000));
        let (unloaded, count) = (SimTime::from_ps(99_000_000), 32);
        recorder.transfers(&TransferRecord { class, tier, bytes, latency: unloaded, unloaded, count });
        steps.push(latency);
        now = ended;
        outcome.waits.tiers[TierId::HBM] += latency;
        for part in &step.parts {
            tokens[part.request.index()].push(now);
            let of = running.iter_mut().find(|of| of.id == part.request).unwrap();
            of.out += 1;
            let record = &mut outcome.records[part.request];
            record.tokens_out = of.out;
            record.first_token.get_or_insert(now);
            if of.out == requests.all[part.request].output {
                record.finished = Some(now);
            }
        }
        running.retain(|of| of.out < requests.all[of.id].output);
        if number % 50 == 49
            && let Some(last) = running.last_mut()
        {
            last.aside = number + 9;
            outcome.records[last.id].preemptions += 1;
        }
    }
    (outcome.steps, outcome.simulated, outcome.drained) = (steps.len() as u64, now, now);
    outcome.peak = per_tier([60_000_000_000, 20_000_000_000]);
    Served { report: recorder.report(&scenario, &requests, &outcome), tokens, steps }
}

fn part(request: RequestId, context: u32, tokens: u32) -> StepPart {
    let is_chunk = context == 0;
    StepPart { request, context, context_external: 0, tokens, tokens_external: 0, outputs: true, is_chunk }
}
