//! Serving against the engine of runs, and jumping against stage by stage.

use super::decides::Decides;
use super::layout::ServingLayout;
use super::run::{Detail, Serving};
use super::{MoveRecord, ServingOutcome, ServingProbe, ServingRecord, TransferRecord, serve_at};
use crate::memory::{PerClass, PerTier, TierId, TransferClass};
use crate::simulation::probe::{Probe, StepRecord};
use crate::simulation::{Fields, Outcome, Scenario, ScenarioConfig, run};
use crate::units::{BlockId, Bytes, MoveId, RequestId, SequenceId, SimTime, Table};
use crate::workload::{
    CacheConfig, Decision, ExternalKv, GoalsConfig, KvConfig, KvMove, LimitsConfig, MoveKind, MovePriority, Preemption,
    QueueOrder, Request, RequestRecord, Requests, Schedule, SequencesConfig, ServingStep, StepPart, StoredBlocks,
    WhenMoved, WriteBack,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Steps that are decided beforehand, one after the other.
pub(super) struct Script {
    steps: Vec<ServingStep>,
    /// What is moved when the first is decided.
    moves: Vec<KvMove>,
    next: usize,
    records: Table<RequestId, RequestRecord>,
}

impl Script {
    pub fn new(steps: Vec<ServingStep>) -> Self {
        Self { steps, moves: Vec::new(), next: 0, records: Table::new() }
    }
}

impl Decides for Script {
    fn next(&mut self, _now: SimTime) -> Decision {
        self.next += 1;
        if self.next > self.steps.len() { Decision::End } else { Decision::Step }
    }

    fn step(&self) -> &ServingStep {
        &self.steps[self.next.clamp(1, self.steps.len()) - 1]
    }

    fn completed(&mut self, _now: SimTime) {}

    fn moved(&mut self, _now: SimTime, _moved: MoveId) {}

    fn take_moves(&mut self, moves: &mut Vec<KvMove>) {
        moves.append(&mut self.moves);
    }

    fn has_waiting(&self) -> bool {
        false
    }

    fn records(&self) -> &Table<RequestId, RequestRecord> {
        &self.records
    }
}

/// The steps of a request of `prompt` tokens, computed `chunk` by chunk, that then decodes `decode`
/// tokens; with all its KV in external memory, or none.
fn one_request(prompt: u32, chunk: u32, decode: u32, external: bool) -> Vec<ServingStep> {
    let step = |context: u32, tokens: u32, outputs: bool, is_chunk: bool| {
        let part = StepPart {
            request: RequestId::new(0),
            context,
            context_external: if external { context } else { 0 },
            tokens,
            tokens_external: if external { tokens } else { 0 },
            outputs,
            is_chunk,
        };
        ServingStep { parts: vec![part], running: 1, ..ServingStep::default() }
    };
    let chunks = (0..prompt.div_ceil(chunk)).map(|index| {
        let tokens = chunk.min(prompt - index * chunk);
        step(index * chunk, tokens, index * chunk + tokens == prompt, true)
    });
    chunks.chain((0..decode).map(|done| step(prompt + done, 1, true, false))).collect()
}

/// The steps of a run of the scenario's sequences.
fn steps_of(scenario: &Scenario) -> Vec<ServingStep> {
    let (mut schedule, all) = (Schedule::new(scenario.sequences()), scenario.sequences().all());
    let mut decoded: Table<SequenceId, u32> = Table::filled(all.len(), 0);
    let mut steps = Vec::new();
    while let Some(batch) = schedule.next_step().cloned() {
        let part = |sequence: SequenceId, context: usize, tokens: usize| StepPart {
            request: RequestId::new(sequence.index()),
            context: context as u32,
            context_external: 0,
            tokens: tokens as u32,
            tokens_external: 0,
            outputs: true,
            is_chunk: false,
        };
        let mut parts = Vec::new();
        for &sequence in &batch.decoding {
            parts.push(part(sequence, all[sequence].prefill + decoded[sequence] as usize, 1));
            decoded[sequence] += 1;
        }
        for chunk in &batch.chunks {
            let of = part(chunk.sequence, chunk.first, chunk.tokens);
            parts.push(StepPart { outputs: chunk.is_last, is_chunk: true, ..of });
        }
        steps.push(ServingStep { parts, ..ServingStep::default() });
    }
    steps
}

/// When each step ended, and what it read.
#[derive(Default, PartialEq, Debug)]
struct Steps(Vec<(SimTime, Vec<Bytes>)>);

impl Probe for Steps {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        let read = |tier| step.read_from(tier);
        self.0.push((step.ended, step.used.ids().map(read).collect()));
        ControlFlow::Continue(())
    }
}

impl ServingProbe for Steps {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        let read = |(tier, weights): (_, &Bytes)| *weights + step.kv[tier];
        self.0.push((step.ended, step.weights.iter().map(read).collect()));
        ControlFlow::Continue(())
    }
}

fn config(fields: &[(&str, &str)]) -> ScenarioConfig {
    let mut of = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    for (path, value) in [("strategy", "baseline")].iter().chain(fields) {
        let value = if *path == "compute" { serde_json::json!({ "rate": value }) } else { (*value).into() };
        of.set(path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    of.config().unwrap()
}

/// Requests as far as the engine asks for them.
fn requests(external: bool) -> Requests {
    let one = Request { arrival: SimTime::ZERO, prompt: 10, output: 10, blocks: 0..0 };
    let external = if external { ExternalKv::Direct } else { ExternalKv::Load };
    Requests {
        all: std::iter::once(one).collect(),
        blocks: Vec::new(),
        distinct_blocks: 0,
        block_tokens: 512,
        limits: LimitsConfig::default(),
        order: QueueOrder::default(),
        preemption: Preemption::default(),
        kv: KvConfig { external, ..KvConfig::default() },
        goals: GoalsConfig::default(),
    }
}

fn served(scenario: &Scenario, steps: Vec<ServingStep>, external: bool, detail: Detail) -> (Steps, ServingOutcome) {
    let requests = requests(external);
    let layout = ServingLayout::new(scenario, &requests).unwrap();
    let mut probe = Steps::default();
    let outcome = Serving::new(scenario, &requests, layout, Script::new(steps), &mut probe, detail).finish().unwrap();
    (probe, outcome)
}

/// One request takes exactly the time of a run of one sequence, step by step, on all lanes.
#[track_caller]
fn equals_a_run(fields: &[(&str, &str)], prompt: u32, chunk: u32, decode: u32, external: bool) {
    let prefill = format!("Timed(chunk_tokens: {chunk})");
    let (prompt_text, decode_text) = (prompt.to_string(), decode.to_string());
    let mut all = fields.to_vec();
    all.extend([("prefill", &prefill[..]), ("prefill_tokens", &prompt_text), ("decode_tokens", &decode_text)]);
    let scenario = Scenario::new(config(&all)).unwrap();
    serves_as_a_run(&scenario, &one_request(prompt, chunk, decode, external), external);
}

#[track_caller]
fn serves_as_a_run(scenario: &Scenario, script: &[ServingStep], external: bool) {
    let mut steps = Steps::default();
    let of_run: Outcome = run(scenario, &mut steps).unwrap();
    for detail in [Detail::StageByStage, Detail::Jumping] {
        let (served, outcome) = served(scenario, script.to_vec(), external, detail);
        assert_eq!(served.0.len(), steps.0.len());
        for (index, (served, step)) in served.0.iter().zip(&steps.0).enumerate() {
            assert_eq!(served, step, "{detail:?}, step {index}");
        }
        assert_eq!(outcome.simulated, of_run.simulated);
        assert_eq!(outcome.drained, of_run.drained, "{detail:?}");
        assert_eq!(outcome.lanes, of_run.lanes);
        assert_eq!((outcome.issued, outcome.completed), (of_run.issued, of_run.completed));
        assert_eq!(outcome.events, of_run.events, "{detail:?}");
        assert_eq!(outcome.waits.total(), outcome.simulated);
    }
}

#[test]
fn one_request_takes_the_time_of_a_run_on_several_machines() {
    let study = [("page_tokens", "16"), ("layout", "*=hbm")];
    equals_a_run(&study, 1000, 256, 12, false);
    let h100 = [
        ("model", "llama-3.1-8b"),
        ("memory", "h100-sxm"),
        ("runtime", "vllm"),
        ("page_tokens", "16"),
        ("layout", "*=hbm"),
    ];
    equals_a_run(&h100, 3000, 2048, 10, false);
    let gh200 = [("model", "llama-3.1-8b"), ("memory", "gh200"), ("runtime", "vllm"), ("layout", "*=hbm")];
    equals_a_run(&gh200, 300, 512, 10, false);
}

#[test]
fn requests_that_come_and_go_take_the_time_of_a_run_of_sequences() {
    let machines: [&[(&str, &str)]; 3] = [
        &[("page_tokens", "16")],
        &[("model", "llama-3.1-8b"), ("memory", "h100-sxm"), ("runtime", "vllm"), ("page_tokens", "16")],
        &[("model", "gpt-oss-20b"), ("memory", "gh200"), ("runtime", "vllm"), ("page_tokens", "16")],
    ];
    for machine in machines {
        let mut fields = machine.to_vec();
        fields.extend([("layout", "*=hbm"), ("prefill", "Timed(chunk_tokens: 64)")]);
        let of = |count, prefill_tokens, decode_tokens, start_step| SequencesConfig {
            count,
            prefill_tokens: Some(prefill_tokens),
            decode_tokens: Some(decode_tokens),
            start_step,
            ..SequencesConfig::default()
        };
        let sequences = vec![of(3, 100, 12, 0), of(2, 333, 5, 4), of(4, 1, 9, 9)];
        let scenario = Scenario::new(ScenarioConfig { sequences, ..config(&fields) }).unwrap();
        serves_as_a_run(&scenario, &steps_of(&scenario), false);
    }
}

#[test]
fn kv_in_external_memory_and_weights_there() {
    let kv = [("page_tokens", "16"), ("layout", "kv=external, *=hbm")];
    equals_a_run(&kv, 1000, 256, 12, true);
    let both = [
        ("model", "llama-3.1-8b"),
        ("memory", "gh200"),
        ("runtime", "vllm"),
        ("page_tokens", "16"),
        ("layout", "kv=external, mlp=20% external, *=hbm"),
    ];
    equals_a_run(&both, 700, 512, 6, true);
    let weights = [
        ("model", "llama-3.1-8b"),
        ("memory", "h100-sxm"),
        ("runtime", "pytorch-direct"),
        ("page_tokens", "16"),
        ("layout", "attention=external, *=hbm"),
    ];
    equals_a_run(&weights, 700, 512, 6, false);
}

#[test]
fn windows_experts_and_recurrent_state() {
    let of = |model| {
        [("model", model), ("memory", "h100-sxm"), ("runtime", "vllm"), ("page_tokens", "16"), ("layout", "*=hbm")]
    };
    equals_a_run(&of("gpt-oss-20b"), 700, 512, 8, false);
    equals_a_run(&of("gemma-3-12b"), 1500, 512, 5, false);
    let next = [
        ("model", "qwen3-next-80b-a3b"),
        ("memory", "h200-sxm"),
        ("page_tokens", "16"),
        ("layout", "mlp=50% external, *=hbm"),
        ("compute", "900 TFLOP/s"),
    ];
    equals_a_run(&next, 700, 512, 5, false);
}

#[test]
fn arbitrations() {
    for arbitration in ["Fair", "Priority", "Fifo"] {
        let study = [("memory.arbitration", arbitration), ("page_tokens", "16"), ("layout", "*=hbm")];
        equals_a_run(&study, 1000, 256, 12, false);
        let h100 = [
            ("memory", "h100-sxm"),
            ("memory.arbitration", arbitration),
            ("compute", "100 TFLOP/s"),
            ("model", "llama-3.1-8b"),
            ("runtime", "vllm"),
            ("page_tokens", "16"),
            ("layout", "mlp=10% external, *=hbm"),
        ];
        equals_a_run(&h100, 600, 512, 6, false);
    }
}

/// A step that decodes a token after 90 others on the study's machine, and the moves of these 90
/// tokens that are asked for before it: a layer of theirs takes 2 949 120 B / 900 GB/s on the link.
fn with_moves(
    moves: &[(MoveKind, WhenMoved)],
    after: &[usize],
    by_layer: &[usize],
    priority: MovePriority,
) -> (Seen, ServingOutcome) {
    let scenario = Scenario::new(config(&[("page_tokens", "16"), ("layout", "*=hbm")])).unwrap();
    let mut requests = requests(true);
    requests.kv.moves = priority;
    let ids = |ids: &[usize]| ids.iter().copied().map(MoveId::new).collect::<Vec<_>>();
    let mut steps = one_request(90, 90, 1, false).split_off(1);
    (steps[0].after, steps[0].by_layer) = (ids(after), ids(by_layer));
    let mut script = Script::new(steps);
    let of = |(id, &(kind, when)): (usize, &(MoveKind, WhenMoved))| KvMove {
        id: MoveId::new(id),
        kind,
        request: RequestId::new(0),
        tokens: 90,
        when,
    };
    script.moves = moves.iter().enumerate().map(of).collect();
    let layout = ServingLayout::new(&scenario, &requests).unwrap();
    let mut seen = Seen::default();
    let outcome = Serving::new(&scenario, &requests, layout, script, &mut seen, Detail::Jumping).finish().unwrap();
    (seen, outcome)
}

const LAYER: SimTime = SimTime::from_ps(3_276_800);

#[test]
fn a_step_begins_after_the_moves_that_it_waits_for() {
    let load = [(MoveKind::Load, WhenMoved::Awaited)];
    let (seen, outcome) = with_moves(&load, &[0], &[], MovePriority::Fair);
    assert_eq!((seen.steps[0].0, seen.moves[0].3), (LAYER.times(32), LAYER.times(32)));
    assert_eq!((outcome.waits.moves, outcome.waits.total()), (LAYER.times(32), outcome.simulated));
    assert_eq!(seen.moves[0].1, Bytes::new(90 << 20));
    // One that nobody waits for goes on beside the step.
    let (seen, outcome) = with_moves(&load, &[], &[], MovePriority::Fair);
    assert_eq!((seen.steps[0].0, seen.moves[0].3), (SimTime::ZERO, LAYER.times(32)));
    assert_eq!(outcome.waits.moves, SimTime::ZERO);
}

#[test]
fn layers_wait_for_their_part_of_a_load() {
    let load = [(MoveKind::Load, WhenMoved::ByLayer)];
    let (seen, outcome) = with_moves(&load, &[], &[0], MovePriority::Fair);
    assert_eq!((seen.steps[0].0, seen.moves[0].3), (SimTime::ZERO, LAYER.times(32)));
    // A layer takes longer than the load of one: only the first waits.
    assert_eq!(outcome.waits.moves, LAYER);
    assert_eq!(seen.transfers[&(TransferClass::MigrateIn, TierId::HBM, 90 << 15, LAYER, LAYER)], 32);
}

#[test]
fn stores_wait_for_loads_where_these_come_first() {
    let both = [(MoveKind::Store, WhenMoved::Background), (MoveKind::Load, WhenMoved::Awaited)];
    // The link has a lane for each direction.
    let ends = |moves: &[(MoveKind, WhenMoved)], priority| {
        let (seen, _) = with_moves(moves, &[], &[], priority);
        seen.moves.iter().map(|moved| (moved.0.kind, moved.3)).collect::<Vec<_>>()
    };
    let all = LAYER.times(32);
    let [store, load] = [MoveKind::Store, MoveKind::Load];
    assert_eq!(ends(&both, MovePriority::Fair), [(store, all), (load, all)]);
    // What has begun goes on; what is asked for later waits.
    assert_eq!(ends(&both, MovePriority::LoadsFirst), [(store, all), (load, all)]);
    let later = [both[1], both[0]];
    assert_eq!(ends(&later, MovePriority::LoadsFirst), [(load, all), (store, all + all)]);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let refused = |config: ScenarioConfig, tier: Option<&str>| {
        let scenario = Scenario::new(config).unwrap();
        let mut requests = requests(true);
        requests.kv.tier = tier.map(str::to_owned);
        match ServingLayout::new(&scenario, &requests) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it is served"),
        }
    };
    assert!(refused(ScenarioConfig { weight_prefetch: 1, ..config(&[]) }, None).starts_with("weight_prefetch: 1: "));
    assert!(refused(config(&[("memory.residency", "Inclusive")]), None).starts_with("memory.residency: "));
    assert_eq!(
        refused(config(&[]), Some("tape")),
        "requests.kv.tier: 'tape': no such tier behind the first; there are external"
    );
    let next = [("model", "qwen3-next-80b-a3b"), ("memory", "h200-sxm"), ("layout", "mlp=60% external, *=hbm")];
    let scenario = Scenario::new(config(&next)).unwrap();
    let mut many = requests(false);
    many.all = (0..4000).map(|_| many.all[RequestId::new(0)].clone()).collect();
    many.limits.sequences = 4000;
    let error = ServingLayout::new(&scenario, &many).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("requests.limits.sequences: 4000 requests at once"), "{error}");
}

/// All that a probe is seen.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    steps: Vec<(SimTime, SimTime, ServingStep, [PerTier<Bytes>; 4])>,
    moves: Vec<(KvMove, Bytes, SimTime, SimTime)>,
    /// By class, tier, size, latency and unloaded latency, how many.
    transfers: BTreeMap<(TransferClass, TierId, u64, SimTime, SimTime), u64>,
}

impl ServingProbe for Seen {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        let bytes = [step.weights, step.kv, step.written, step.used].map(Clone::clone);
        self.steps.push((step.began, step.ended, step.step.clone(), bytes));
        ControlFlow::Continue(())
    }

    fn transfers(&mut self, of: &TransferRecord) {
        let alike = (of.class, of.tier, of.bytes.get(), of.latency, of.unloaded);
        *self.transfers.entry(alike).or_default() += of.count;
    }

    fn moved(&mut self, of: &MoveRecord) {
        self.moves.push((of.moved, of.bytes, of.issued, of.completed));
    }
}

/// Requests that share prefixes, and little room for their KV.
fn random_requests() -> impl Strategy<Value = Requests> {
    let request = (0u64..40_000_000, 1u32..400, 1u32..12, 0u32..3, 0u32..6);
    let kv = (0u8..3, 0u8..3, any::<bool>(), any::<bool>(), any::<bool>());
    let limits = (1u32..6, 16u32..400, 10u32..60, 0u64..40, any::<bool>());
    (prop::collection::vec(request, 1..10), kv, limits).prop_map(|(all, kv, limits)| {
        let (sequences, tokens, pages, external_pages, swaps) = limits;
        let (cache, external, evicts, stores_all, loads_first) = kv;
        let (mut arrival, mut blocks) = (SimTime::ZERO, Vec::new());
        let all = all.into_iter().map(|(gap, prompt, output, prefix, own)| {
            arrival += SimTime::from_ps(if gap % 3 == 0 { 0 } else { gap * 1000 });
            let start = blocks.len() as u32;
            // Of 64 tokens each: the first ones are those of a prefix, the others its own or not.
            let of = |place: u32| {
                BlockId::new((prefix * 7 + place.min(6) + if place < own { 0 } else { 21 + place }) as usize)
            };
            blocks.extend((0..prompt.div_ceil(64)).map(of));
            Request { arrival, prompt, output, blocks: start..blocks.len() as u32 }
        });
        let all: Table<RequestId, Request> = all.collect();
        Requests {
            all,
            distinct_blocks: 64,
            blocks,
            block_tokens: 64,
            limits: LimitsConfig { sequences, tokens, kv_tokens: Some(pages * 16), ..LimitsConfig::default() },
            order: QueueOrder::default(),
            preemption: if swaps { Preemption::Swap } else { Preemption::Recompute },
            kv: KvConfig {
                cache: [CacheConfig::Off, CacheConfig::Hbm, CacheConfig::External][usize::from(cache)],
                external: [ExternalKv::Load, ExternalKv::LoadByLayer, ExternalKv::Direct][usize::from(external)],
                capacity: Some(Bytes::new(external_pages * 16 * 131_072)),
                write: if evicts { WriteBack::OnEviction } else { WriteBack::Through },
                blocks: if stores_all { StoredBlocks::All } else { StoredBlocks::Prompt },
                moves: if loads_first { MovePriority::LoadsFirst } else { MovePriority::Fair },
                ..KvConfig::default()
            },
            goals: GoalsConfig::default(),
        }
    })
}

/// Jumping gives what stage by stage gives: to the picosecond, to the byte, and to the probe.
fn jumping_equals_stage_by_stage(fields: &[(&str, &str)], requests: &Requests) {
    let scenario = Scenario::new(config(fields)).unwrap();
    let requests = Arc::new(requests.clone());
    let at = |detail| {
        let mut seen = Seen::default();
        let outcome = serve_at(&scenario, &requests, &mut seen, detail).unwrap();
        assert!(outcome.error.is_none());
        assert_eq!(outcome.issued, outcome.completed);
        assert_eq!(outcome.in_flight, PerClass::filled(Bytes::ZERO));
        assert_eq!(outcome.waits.total(), outcome.simulated);
        let mut before = SimTime::ZERO;
        for (began, ended, ..) in &seen.steps {
            assert!(before <= *began && began < ended);
            before = *ended;
        }
        assert_eq!((before, seen.steps.len() as u64), (outcome.simulated, outcome.steps));
        for (tier, peak) in outcome.peak.iter() {
            let room = outcome.weights[tier] + outcome.kv_room[tier];
            assert!(*peak <= room && room <= scenario.memory().tiers()[tier.index()].capacity, "{peak} of {room}");
        }
        (seen, outcome)
    };
    let (slow, fast) = (at(Detail::StageByStage), at(Detail::Jumping));
    for (slow, fast) in slow.0.steps.iter().zip(&fast.0.steps) {
        assert_eq!(slow, fast);
    }
    for (slow, fast) in slow.0.transfers.iter().zip(&fast.0.transfers) {
        assert_eq!(slow, fast);
    }
    assert_eq!(slow.0.moves, fast.0.moves);
    assert_eq!(slow.0, fast.0);
    let (slow, fast) = (slow.1, fast.1);
    assert_eq!(slow.records, fast.records);
    assert_eq!(slow.waits, fast.waits);
    assert_eq!(slow.lanes, fast.lanes);
    assert_eq!((slow.issued, slow.events, slow.peak), (fast.issued, fast.events, fast.peak));
    assert_eq!((slow.steps, slow.simulated, slow.drained), (fast.steps, fast.simulated, fast.drained));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn jumping_gives_the_same_on_a_machine_with_latencies(requests in random_requests()) {
        let h100 = [("model", "llama-3.1-8b"), ("memory", "h100-sxm"), ("runtime", "vllm"), ("page_tokens", "16"), ("layout", "*=hbm")];
        jumping_equals_stage_by_stage(&h100, &requests);
    }

    #[test]
    fn jumping_gives_the_same_on_ideal_machines(requests in random_requests(), arbitration in 0usize..3) {
        let arbitration = ["Fair", "Priority", "Fifo"][arbitration];
        let study = [("model", "qwen2.5-0.5b"), ("memory.arbitration", arbitration), ("page_tokens", "16"), ("layout", "mlp=10% external, *=hbm"), ("compute", "10 TFLOP/s")];
        jumping_equals_stage_by_stage(&study, &requests);
    }

    #[test]
    fn jumping_gives_the_same_with_windows_and_experts(requests in random_requests()) {
        let gpt = [("model", "gpt-oss-20b"), ("memory", "gh200"), ("runtime", "vllm"), ("page_tokens", "16"), ("layout", "*=hbm")];
        jumping_equals_stage_by_stage(&gpt, &requests);
    }
}
