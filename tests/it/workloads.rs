//! Workloads other than the study's: what the engine makes of the stages that it is handed.
//!
//! A [`Script`] lists the steps. The hand-computed runs are on the small machine of
//! [`small`](crate::common::runs::small): HBM at 1000 GB/s, so a byte takes a picosecond there, and
//! external memory behind a link of 250 GB/s.

use crate::common::runs::*;
use proptest::prelude::*;
use std::sync::Arc;
use tiersim::memory::TransferClass;
use tiersim::simulation::{Outcome, Scenario, ScenarioConfig, run_workload};
use tiersim::strategy::{InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{RegionId, SequenceId, SimTime, Step, Token};
use tiersim::workload::{
    ComputeConfig, Free, Lengths, Next, Regions, Shape, SkipSource, SkipWindows, Stage, StepBatch, StepPlan, StepSkips,
    TraceError, TraceWindow, Workload, stages,
};

/// What a step of a [`Script`] does, besides decoding a token of every sequence.
#[derive(Clone, Default)]
struct Scene {
    /// When it may begin.
    at: Option<SimTime>,
    frees: Vec<Free>,
    /// By KV region, the tokens that it skips.
    skips: Vec<Vec<usize>>,
    /// Instead of the stages of the steps before.
    stages: Option<Vec<Stage>>,
}

/// Steps that are listed beforehand.
struct Script {
    regions: Regions,
    first: Arc<[Stage]>,
    present: Arc<[Stage]>,
    scenes: Vec<Scene>,
    prefill: usize,
    window: SkipWindows,
    batch: Arc<StepBatch>,
    waited: bool,
}

/// The skip sets of the scenes, in order.
struct Listed(std::vec::IntoIter<Vec<Vec<usize>>>);

impl SkipSource for Listed {
    fn next_step(&mut self, _context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let scene = self.0.next().unwrap_or_default();
        for (region, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
            set.clear();
            set.extend(scene.get(region).into_iter().flatten().copied());
            *count = set.count();
        }
        Ok(())
    }
}

impl Script {
    /// `scenes` of the scenario's model decoding `sequences`; `change` may change their stages.
    fn new(scenario: &Scenario, sequences: usize, scenes: Vec<Scene>, change: impl Fn(&mut Stage)) -> Self {
        let (prompt, most) = (scenario.prefill(), scenario.prefill() + scenario.decode());
        let regions = Regions::new(
            scenario.model(),
            &vec![Lengths { at_start: prompt, prompt, expected: prompt, most }; sequences],
        );
        let all: Vec<SequenceId> = SequenceId::all(sequences).collect();
        let mut stages = stages(scenario.model(), &regions, &all);
        stages.iter_mut().for_each(change);
        let skips: Vec<_> = scenes.iter().map(|scene| scene.skips.clone()).collect();
        let shape = Shape { layers: regions.kv_len(), decode: scenes.len(), ..scenario.shape() };
        let range = scenario.prefill() + scenario.decode();
        // The sets are as long as those of the scenario.
        let shape = Shape { prefill: range - shape.decode, ..shape };
        let window = SkipWindows::of_one(TraceWindow::new(Box::new(Listed(skips.into_iter())), shape, 0).unwrap());
        let batch = Arc::new(StepBatch::decoding(&all));
        let first: Arc<[Stage]> = stages.into();
        let present = Arc::clone(&first);
        Self { regions, first, present, scenes, prefill: scenario.prefill(), window, batch, waited: false }
    }
}

impl Workload for Script {
    fn regions(&self) -> &Regions {
        &self.regions
    }

    fn stages(&self) -> &[Stage] {
        &self.first
    }

    fn next(&mut self, now: SimTime, completed: Option<Step>) -> Result<Next, TraceError> {
        let step = completed.map_or(Step::new(0), Step::next);
        let Some(scene) = self.scenes.get(step.index()) else { return Ok(Next::End) };
        if let Some(at) = scene.at.filter(|at| *at > now) {
            assert!(!std::mem::replace(&mut self.waited, true), "asked again before {at:?}");
            return Ok(Next::WaitUntil(at));
        }
        self.waited = false;
        if completed.is_some() {
            self.window.advance(SequenceId::new(0))?;
        }
        if let Some(stages) = &scene.stages {
            self.present = stages.clone().into();
        }
        Ok(Next::Step(StepPlan {
            step,
            context: self.prefill + step.index(),
            batch: Arc::clone(&self.batch),
            frees: scene.frees.clone(),
            arrivals: Vec::new(),
            stages: Arc::clone(&self.present),
            is_last: step.index() + 1 == self.scenes.len(),
        }))
    }

    fn window(&self) -> &SkipWindows {
        &self.window
    }
}

fn play(config: &ScenarioConfig, sequences: usize, scenes: Vec<Scene>, change: impl Fn(&mut Stage)) -> (Outcome, Keep) {
    let scenario = Scenario::new(config.clone()).unwrap();
    let script = Script::new(&scenario, sequences, scenes, change);
    let mut keep = Keep::default();
    let outcome = run_workload(&scenario, scenario.strategy().build(), script, &mut keep).unwrap();
    (outcome, keep)
}

fn unchanged(_: &mut Stage) {}

/// One layer, two sequences: weights are read once, the KV of both is one transfer, and each
/// appends a token.
#[test]
fn two_sequences_share_the_weights() {
    let config = small(1, (1000, 1000), 100, 1 << 20, 4, 3);
    let (outcome, keep) = play(&config, 2, vec![Scene::default(); 3], unchanged);
    assert!(outcome.error.is_none());
    for (step, kept) in keep.steps.iter().enumerate() {
        let context = 4 + step as u64;
        assert_eq!(kept.attention_read, [1000 + 2 * 100 * context, 0], "step {step}");
        assert_eq!(kept.read_tokens, 2 * context);
        assert_eq!(kept.used, [2000 + 2 * 100 * (context + 1), 0]);
        // The mlp's read and two writes of 100 B share the bus: the writes delay it by their bytes.
        assert_eq!(kept.latency.as_ps(), 1000 + 2 * 100 * context + 1000 + 2 * 100, "step {step}");
    }
    let count = |class: TransferClass| keep.carried.iter().filter(|it| it.0 == class).count();
    assert_eq!(count(TransferClass::KvRead), 3, "one read a step over both sequences");
    assert_eq!(count(TransferClass::WeightRead), 6);
    assert_eq!(count(TransferClass::KvWrite), 6);
}

/// A fixed time comes before the reads, compute beside them; the bound counts both.
#[test]
fn a_stage_takes_its_fixed_time_and_its_flop() {
    let mut config = small(1, (1000, 1000), 100, 1 << 20, 4, 2);
    // A picosecond each.
    let rate = "1 TFLOP/s".parse().unwrap();
    config.compute = Some(ComputeConfig { rate, flop_per_weight_byte: Some(0.0), flop_per_kv_byte: Some(0.0) });
    let change = |stage: &mut Stage| {
        (stage.fixed, stage.flop.fixed) = (SimTime::from_ps(300), if stage.releases.is_empty() { 0.0 } else { 1500.0 });
    };
    let (outcome, keep) = play(&config, 1, vec![Scene::default(); 2], change);
    assert!(outcome.error.is_none());
    for (step, kept) in keep.steps.iter().enumerate() {
        let attention = 300 + 1000 + 100 * (4 + step as u64);
        // The mlp computes for longer than it reads.
        assert_eq!(kept.latency.as_ps(), attention + 300 + 1500, "step {step}");
        assert!(kept.bound <= kept.latency);
        // All reads at both bandwidths together, or the compute: 1250 B take 1000 ps.
        let least = 300 + (1000 + 100 * (4 + step as u64)) * 1000 / 1250 + 300 + 1500;
        assert!(kept.bound.as_ps().abs_diff(least) <= 1, "{:?} against {least}", kept.bound);
    }
}

/// Stages may change from one step to the next, and so do reads and bound.
#[test]
fn steps_may_have_other_stages() {
    let config = small(2, (1000, 1000), 100, 1 << 20, 4, 2);
    let scenario = Scenario::new(config.clone()).unwrap();
    let all = scenario.stages(&scenario.regions());
    let second = Scene { stages: Some(all[..2].to_vec()), ..Scene::default() };
    let (_, keep) = play(&config, 1, vec![Scene::default(), second], unchanged);
    assert_eq!(keep.steps[0].attention_read, [2 * (1000 + 400), 0]);
    assert_eq!(keep.steps[1].attention_read, [1000 + 500, 0]);
    assert!(keep.steps[1].bound.as_ps() < keep.steps[0].bound.as_ps() * 6 / 10);
}

/// Between two steps the machine waits, and what is in flight completes meanwhile.
#[test]
fn a_workload_may_wait() {
    let config = small(1, (1000, 1000), 100, 1 << 20, 4, 2);
    let later = SimTime::from_ps(50_000);
    let scenes = vec![Scene::default(), Scene { at: Some(later), ..Scene::default() }];
    let (outcome, keep) = play(&config, 1, scenes, unchanged);
    let second = keep.steps[1].latency;
    assert_eq!(second.as_ps(), 1000 + 500 + 1000 + 100);
    assert_eq!(outcome.simulated, later + second);
    let write = keep.carried.iter().find(|it| it.0 == TransferClass::KvWrite).unwrap();
    assert!(write.4 < later, "written while nothing else happens");
}

/// A prompt's chunk appends several tokens in one stage.
#[test]
fn a_stage_may_append_several_tokens() {
    let mut config = small(1, (1000, 1000), 100, 1 << 20, 2, 8);
    config.page_tokens = 2;
    let change = |stage: &mut Stage| stage.appends.iter_mut().for_each(|append| append.tokens = 3);
    let (outcome, keep) = play(&config, 1, vec![Scene::default(); 2], change);
    assert!(outcome.error.is_none());
    assert_eq!(keep.steps.iter().map(|kept| kept.read_tokens).collect::<Vec<_>>(), [2, 5]);
    // In pages of two tokens.
    assert_eq!(keep.steps.iter().map(|kept| kept.used[0]).collect::<Vec<_>>(), [2000 + 600, 2000 + 800]);
    assert_eq!(keep.bytes(TransferClass::KvWrite), 600);
}

/// A sequence that has ended frees its KV, and its region serves another one.
#[test]
fn a_freed_region_is_as_good_as_new() {
    let config = small(2, (1000, 1000), 100, 1 << 20, 4, 3);
    let frees = (0..2).map(|layer| Free::Region(RegionId::new(layer))).collect();
    let scenes = vec![Scene::default(), Scene { frees, ..Scene::default() }, Scene::default()];
    let (outcome, keep) = play(&config, 2, scenes, unchanged);
    assert!(outcome.error.is_none());
    let used: Vec<u64> = keep.steps.iter().map(|kept| (kept.used[0] - 4000) / 200).collect();
    // Tokens of both sequences: 5 and 5; the first starts again; 2 and 7.
    assert_eq!(used, [10, 1 + 6, 2 + 7]);
    let read: Vec<u64> = keep.steps.iter().map(|kept| kept.read_tokens / 2).collect();
    assert_eq!(read, [8, 5, 1 + 6]);
    assert_eq!(accounted(&outcome), outcome.issued);
}

/// Pages that have left the attention window are freed, those that are being written excepted.
#[test]
fn pages_before_a_token_are_freed() {
    let mut config = small(1, (1000, 1000), 100, 1 << 20, 8, 4);
    config.page_tokens = 2;
    let scene = |step: usize| {
        // Two pages stay, and the one that is written to.
        let first = 4 + step / 2 * 2;
        let skips = vec![(0..first).collect()];
        Scene { frees: vec![Free::Before(RegionId::new(0), Token::new(first + 1))], skips, ..Scene::default() }
    };
    let (outcome, keep) = play(&config, 1, (0..4).map(scene).collect(), unchanged);
    assert!(outcome.error.is_none());
    // Pages of 200 B: 4 of the prompt, of which 2 are freed at once; then one more every other
    // step.
    assert_eq!(keep.steps.iter().map(|kept| kept.used[0] - 2000).collect::<Vec<_>>(), [600, 600, 600, 600]);
    assert_eq!(keep.steps.iter().map(|kept| kept.read_tokens).collect::<Vec<_>>(), [4, 5, 4, 5]);
}

/// Any strategy that a real system could run.
fn any_strategy() -> impl Strategy<Value = Parts> {
    // Oracles see no further than the window of a script: they are left out.
    let migrations = MigrationKind::ALL.iter().copied().filter(|kind| kind.build().look_ahead() == 0);
    let placements = PlacementKind::ALL.iter().copied().filter(|kind| kind.build().look_ahead() == 0);
    let migrations = prop::sample::select(migrations.collect::<Vec<_>>());
    let placements = prop::sample::select(placements.collect::<Vec<_>>());
    let initializations = prop::sample::select(InitializationKind::ALL.to_vec());
    (initializations, placements, migrations, any::<bool>()).prop_map(|(initialization, placement, migration, drop)| {
        let late = if drop { Late::Drop } else { Late::Finish };
        Parts { initialization, placement, migration, late, ..Parts::REFERENCE }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Runs of several sequences that come and go, under any strategy: no tier is ever over its
    /// capacity, all bytes are accounted for, no step beats its bound, and the same run gives the
    /// same result.
    #[test]
    fn several_sequences_come_and_go(
        strategy in any_strategy(), sequences in 1usize..4, layers in 1u32..4, page_tokens in 1u32..5, prefill in 0u32..20,
        hbm in 0u64..40, ends in prop::collection::vec(prop::option::of(0usize..4), 1..12), seed in any::<u64>(),
    ) {
        let needs = u64::from(layers) * 2000;
        let mut config = small(layers, (1000, 1000), 100, needs / 2 + hbm * 100, prefill, 12);
        (config.page_tokens, config.strategy) = (page_tokens, strategy);
        let regions = layers as usize * sequences;
        let mut context = vec![prefill as usize; sequences];
        let mut bits = seed;
        let scenes: Vec<Scene> = ends.iter().map(|end| {
            let mut frees = Vec::new();
            if let Some(ended) = end.filter(|end| *end < sequences) {
                frees.extend((0..layers as usize).map(|layer| Free::Region(RegionId::new(ended * layers as usize + layer))));
                context[ended] = 0;
            }
            let skips = (0..regions).map(|region| {
                (0..context[region / layers as usize]).filter(|_| { bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1); bits >> 62 == 0 }).collect()
            }).collect();
            context.iter_mut().for_each(|tokens| *tokens += 1);
            Scene { frees, skips, ..Scene::default() }
        }).collect();
        let (outcome, keep) = play(&config, sequences, scenes.clone(), unchanged);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        prop_assert_eq!(accounted(&outcome), outcome.issued);
        let stored: u64 = context.iter().map(|tokens| tokens.div_ceil(page_tokens as usize) as u64).sum();
        let last = keep.steps.last().unwrap();
        prop_assert_eq!(
            last.used.iter().sum::<u64>() >= needs + stored * u64::from(page_tokens) * 100 * u64::from(layers), true);
        for kept in &keep.steps {
            prop_assert!(kept.used[0] <= needs / 2 + hbm * 100, "HBM is over its capacity");
            prop_assert!(kept.bound <= kept.latency, "{:?} beats {:?}", kept.latency, kept.bound);
        }
        let stored_at_end: u64 = outcome.at_end.kv.iter().map(|bytes| bytes.get()).sum();
        prop_assert_eq!(stored_at_end, stored * u64::from(page_tokens) * 100 * u64::from(layers));
        prop_assert_eq!(play(&config, sequences, scenes, unchanged).1, keep);
    }
}

/// Parameters that count tokens count tokens, whatever a page holds.
#[test]
fn parameters_count_tokens_whatever_a_page_holds() {
    let out = |page_tokens: u32, tokens: &str| -> u64 {
        let mut config = small(1, (1000, 1000), 100, 2000 + 100 * 128, 128, 2);
        config.page_tokens = page_tokens;
        config.strategy.migration = format!("Prior(threshold: 50%, tokens: {tokens})").parse().unwrap();
        let (_, keep) = simulate(&config);
        keep.steps[0].migrated.1 / 100
    };
    // 64 tokens in pages of 1, 4 and 16; 10 in whole pages.
    assert_eq!([out(1, "64"), out(4, "64"), out(16, "64")], [64, 64, 64]);
    assert_eq!([out(1, "10"), out(4, "10"), out(16, "10")], [10, 12, 16]);
    // Of each 16 tokens the first half goes to HBM.
    for page_tokens in [1, 2, 4, 8] {
        let mut config = small(1, (1000, 1000), 100, 1 << 20, 0, 33);
        config.page_tokens = page_tokens;
        config.strategy.placement = "BatchRatio(window: 16, on_hbm: 50%)".parse().unwrap();
        let (_, keep) = simulate(&config);
        let used = |step: usize| (keep.steps[step].used[0] - 2000) / 100;
        assert_eq!([used(7), used(15), used(23), used(31)], [8, 8, 16, 16], "pages of {page_tokens}");
    }
}
