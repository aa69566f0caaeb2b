//! Serving against the engine of runs, and jumping against stage by stage.

use super::decides::Decides;
use super::layout::ServingLayout;
use super::run::{Pace, Serving};
use super::{ServingOutcome, ServingProbe, ServingRecord};
use crate::simulation::probe::{Probe, StepRecord};
use crate::simulation::{Fields, Outcome, Scenario, ScenarioConfig, run};
use crate::units::{Bytes, MoveId, RequestId, SimTime, Table};
use crate::workload::{
    Decision, ExternalKv, GoalsConfig, KvConfig, KvMove, LimitsConfig, Preemption, QueueOrder, Request, RequestRecord,
    Requests, ServingStep, StepPart,
};
use std::ops::ControlFlow;

/// Steps that are decided beforehand, one after the other.
pub(super) struct Script {
    steps: Vec<ServingStep>,
    next: usize,
    records: Table<RequestId, RequestRecord>,
}

impl Script {
    pub fn new(steps: Vec<ServingStep>) -> Self {
        Self { steps, next: 0, records: Table::new() }
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

    fn take_moves(&mut self, _moves: &mut Vec<KvMove>) {}

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

fn served(scenario: &Scenario, steps: Vec<ServingStep>, external: bool, pace: Pace) -> (Steps, ServingOutcome) {
    let requests = requests(external);
    let layout = ServingLayout::new(scenario, &requests).unwrap();
    let mut probe = Steps::default();
    let outcome = Serving::new(scenario, &requests, layout, Script::new(steps), &mut probe, pace).finish().unwrap();
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
    let mut steps = Steps::default();
    let of_run: Outcome = run(&scenario, &mut steps).unwrap();
    for pace in [Pace::StageByStage, Pace::Jumping] {
        let (served, outcome) = served(&scenario, one_request(prompt, chunk, decode, external), external, pace);
        assert_eq!(served.0.len(), steps.0.len());
        for (index, (served, step)) in served.0.iter().zip(&steps.0).enumerate() {
            assert_eq!(served, step, "{pace:?}, step {index} of {fields:?}");
        }
        assert_eq!(outcome.simulated, of_run.simulated);
        assert_eq!(outcome.drained, of_run.drained, "{pace:?}");
        assert_eq!(outcome.lanes, of_run.lanes);
        assert_eq!((outcome.issued, outcome.completed), (of_run.issued, of_run.completed));
        assert_eq!(outcome.events, of_run.events, "{pace:?}");
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
