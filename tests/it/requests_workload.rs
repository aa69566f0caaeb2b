//! The engine of runs serves requests as the serving engine does, to the picosecond.

use std::ops::ControlFlow;
use std::sync::Arc;
use tiersim::simulation::{
    Fields, Probe, Scenario, ScenarioConfig, ServingProbe, ServingRecord, StepRecord, run_workload, serve,
};
use tiersim::units::{BlockId, PageSize, SimTime};
use tiersim::workload::{
    GoalsConfig, KvConfig, LimitsConfig, Preemption, QueueOrder, Request, Requests, RequestsWorkload,
};

/// When steps ended.
#[derive(Debug, Default, PartialEq)]
struct Ends(Vec<SimTime>);

impl Probe for Ends {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.0.push(step.ended);
        ControlFlow::Continue(())
    }
}

impl ServingProbe for Ends {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        self.0.push(step.ended);
        ControlFlow::Continue(())
    }
}

/// Requests of (arrival in µs, prompt, output, first prefix blocks in common).
fn requests(all: &[(u64, u32, u32, u32)], kv_tokens: u32) -> Requests {
    let (mut blocks, mut distinct) = (Vec::new(), 64);
    let mut request = |&(arrival, prompt, output, alike): &(u64, u32, u32, u32)| {
        let start = blocks.len() as u32;
        for block in 0..prompt.div_ceil(64) {
            let own = if block < alike { block } else { distinct };
            distinct += u32::from(block >= alike);
            blocks.push(BlockId::new(own as usize));
        }
        let blocks = start..blocks.len() as u32;
        Request { arrival: SimTime::from_ps(arrival * 1_000_000), prompt, output, blocks }
    };
    let all = all.iter().map(&mut request).collect();
    let limits = LimitsConfig { sequences: 5, tokens: 512, kv_tokens: Some(kv_tokens), ..LimitsConfig::default() };
    Requests {
        all,
        blocks,
        distinct_blocks: distinct,
        block_tokens: 64,
        limits,
        order: QueueOrder::Fcfs,
        preemption: Preemption::Recompute,
        kv: KvConfig::default(),
        goals: GoalsConfig::default(),
    }
}

/// Both engines serve `requests` alike. Returns how many preemptions there were, and the tokens of
/// prompts that were found.
#[track_caller]
fn both_engines_agree(fields: &[(&str, &str)], requests: Requests) -> (u32, u32) {
    let mut of = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    let fixed = [("strategy", "baseline"), ("page_tokens", "16"), ("layout", "*=hbm")];
    for (path, value) in fixed.iter().chain(fields) {
        of.set(path, (*value).into()).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let scenario = Scenario::new(of.config().unwrap()).unwrap();
    let requests = Arc::new(requests);
    let mut ends = Ends::default();
    let served = serve(&scenario, &requests, &mut ends).unwrap();
    let pages = u64::from(requests.limits.kv_tokens.unwrap() / 16);
    let page_size = PageSize::new(16).unwrap();
    let workload = RequestsWorkload::new(scenario.model(), scenario.runtime(), &requests, pages, page_size);
    let mut expected = Ends::default();
    let run = run_workload(&scenario, scenario.parts(), workload, &mut expected).unwrap();
    assert!(run.error.is_none() && served.error.is_none());
    assert!(ends.0.len() > 20);
    for (index, (end, expected)) in ends.0.iter().zip(&expected.0).enumerate() {
        assert_eq!(end, expected, "step {index}");
    }
    assert_eq!(ends.0.len(), expected.0.len());
    assert_eq!((served.simulated, served.drained), (run.simulated, run.drained));
    assert_eq!(served.issued, run.issued);
    assert!(served.records.iter().all(|record| record.finished.is_some()));
    let preempted = served.records.iter().map(|record| record.preemptions).sum();
    (preempted, served.records.iter().map(|record| record.hit_hbm).sum())
}

const LOG: [(u64, u32, u32, u32); 9] = [
    (0, 700, 12, 0),
    (0, 90, 30, 0),
    (50, 333, 25, 0),
    (60, 1, 9, 0),
    (70, 1200, 6, 0),
    (80, 17, 40, 0),
    (90, 64, 1, 0),
    (300_000, 512, 5, 0),
    (300_000, 400, 25, 0),
];

#[test]
fn requests_take_as_long_on_both_engines() {
    assert_eq!(both_engines_agree(&[], requests(&LOG, 100_000)), (0, 0));
    let h100 = [("model", "llama-3.1-8b"), ("memory", "h100-sxm"), ("runtime", "vllm")];
    assert_eq!(both_engines_agree(&h100, requests(&LOG, 100_000)), (0, 0));
}

#[test]
fn preempted_requests_are_computed_again_on_both() {
    let h100 = [("model", "llama-3.1-8b"), ("memory", "h100-sxm"), ("runtime", "vllm")];
    // Five prompts fit, and ten tokens more of each.
    let (preempted, _) = both_engines_agree(&h100, requests(&[(0, 150, 60, 0); 5], 800));
    assert!(preempted > 0);
}

#[test]
fn windows_slide_on_both() {
    let gpt = [("model", "gpt-oss-20b"), ("memory", "h100-sxm"), ("runtime", "vllm")];
    both_engines_agree(&gpt, requests(&LOG, 100_000));
}

#[test]
fn prefix_blocks_that_are_found_cost_nothing_on_both() {
    let mut log = LOG;
    log.iter_mut().for_each(|request| request.3 = 9);
    let (_, found) = both_engines_agree(&[], requests(&log, 100_000));
    assert!(found > 1000);
}
