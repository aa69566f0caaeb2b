//! Small decode runs, and what a test keeps of them.
//!
//! [`small`] is a scenario of few layers on HBM at 1000 GB/s and external memory behind a link of
//! 250 GB/s; a test changes what it is about. [`simulate`] keeps all transfers, [`simulate_steps`]
//! only the steps and the bytes of each class.

use std::ops::ControlFlow;
use tiersim::config::Reference;
use tiersim::memory::{
    Arbitration, Cancelled, ClassWeights, Completed, LinkConfig, MemoryConfig, PerClass, PerTier, ResidencyKind,
    TierConfig, TierId, TransferClass,
};
use tiersim::simulation::{Ends, Outcome, Probe, Scenario, ScenarioConfig, StepRecord, run};
use tiersim::strategy::{InitializationKind, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{Bandwidth, Bytes, Ratio, SimTime};
use tiersim::workload::{
    GeneratorConfig, LayersConfig, ModelConfig, RuntimeConfig, StageLabel, TraceConfig, WeightsConfig,
};

#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub latency: SimTime,
    pub bound: SimTime,
    pub attention_read: Vec<u64>,
    pub mlp_read: Vec<u64>,
    pub used: Vec<u64>,
    pub migrated: (u64, u64),
    pub late: u64,
    pub read_tokens: u64,
    pub read_beyond: u64,
}

impl Kept {
    fn of(step: &StepRecord<'_>) -> Self {
        let plain = |bytes: &PerTier<Bytes>| bytes.values().map(|bytes| bytes.get()).collect();
        Self {
            latency: step.latency,
            bound: step.bound,
            attention_read: plain(&step.read[StageLabel::Attention]),
            mlp_read: plain(&step.read[StageLabel::Mlp]),
            used: plain(step.used),
            migrated: (step.migrated_in.get(), step.migrated_out.get()),
            late: step.late_tokens,
            read_tokens: step.read_kv_tokens,
            read_beyond: step.read_beyond.get(),
        }
    }
}

/// A transfer, complete or dropped, without its id and tag: class, bytes carried, issue, start,
/// end, unloaded service time, and the tier that it counts for.
pub type Carried = (TransferClass, Bytes, SimTime, SimTime, SimTime, SimTime, TierId);

/// The steps of a run and the bytes of each class, for runs whose single transfers would fill the
/// memory. It checks each transfer's times.
#[derive(Default)]
pub struct Steps {
    pub steps: Vec<Kept>,
    pub bytes: PerClass<u64>,
    last: SimTime,
}

impl Probe for Steps {
    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, _ends: Ends) {
        assert!(transfer.finished >= self.last, "time ran back");
        assert!(transfer.latency() >= transfer.unloaded, "faster than when unloaded");
        self.last = transfer.finished;
        self.bytes[transfer.class] += transfer.bytes.get();
    }

    fn dropped<Tag>(&mut self, transfer: &Cancelled<Tag>, _ends: Ends) {
        assert!(transfer.at >= self.last && transfer.dropped > Bytes::ZERO);
        self.last = transfer.at;
        self.bytes[transfer.class] += transfer.carried.get();
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.steps.push(Kept::of(step));
        ControlFlow::Continue(())
    }
}

pub fn simulate_steps(config: &ScenarioConfig) -> (Outcome, Steps) {
    let mut steps = Steps::default();
    let outcome = run(&Scenario::new(config.clone()).unwrap(), &mut steps).unwrap();
    (outcome, steps)
}

/// The steps of a run and all its transfers.
#[derive(Default, Debug, PartialEq)]
pub struct Keep {
    pub steps: Vec<Kept>,
    pub carried: Vec<Carried>,
}

impl Keep {
    pub fn bytes(&self, class: TransferClass) -> u64 {
        self.carried.iter().filter(|it| it.0 == class).map(|it| it.1.get()).sum()
    }
}

impl Probe for Keep {
    fn transfer<Tag>(&mut self, it: &Completed<Tag>, ends: Ends) {
        let tier = ends.tier();
        self.carried.push((it.class, it.bytes, it.issued, it.started, it.finished, it.unloaded, tier));
    }

    fn dropped<Tag>(&mut self, it: &Cancelled<Tag>, ends: Ends) {
        self.carried.push((it.class, it.carried, it.issued, it.started, it.at, SimTime::ZERO, ends.tier()));
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.steps.push(Kept::of(step));
        ControlFlow::Continue(())
    }
}

pub fn carry_out(scenario: &Scenario) -> (Outcome, Keep) {
    let mut keep = Keep::default();
    let outcome = run(scenario, &mut keep).unwrap();
    // What completes at one instant may come in another order.
    keep.carried.sort_by_key(|it| (it.4, it.0.index(), it.6, it.2, it.1));
    (outcome, keep)
}

pub fn simulate(config: &ScenarioConfig) -> (Outcome, Keep) {
    carry_out(&Scenario::new(config.clone()).unwrap())
}

/// The bytes issued of each class: carried, or dropped because they were late.
pub fn accounted(outcome: &Outcome) -> PerClass<Bytes> {
    PerClass::from_fn(|class| outcome.completed[class] + outcome.dropped[class])
}

pub fn bandwidth(gigabytes: u64) -> Bandwidth {
    Bandwidth::new(gigabytes * 1_000_000_000).unwrap()
}

pub const BASELINE: Parts = Parts {
    initialization: InitializationKind::HbmFirst,
    placement: PlacementKind::PreferHbm,
    migration: MigrationKind::None,
    ..Parts::REFERENCE
};

pub const BEST_RATIO: Parts = Parts {
    initialization: InitializationKind::BestRatio,
    placement: PlacementKind::BestRatio,
    migration: MigrationKind::LookAhead,
    ..Parts::REFERENCE
};

/// Layers of (attention, mlp) weights and KV; HBM at 1000 GB/s, external memory behind a link of
/// 250 GB/s.
pub fn small(
    layers: u32,
    (attention, mlp): (u64, u64),
    kv: u64,
    hbm: u64,
    prefill: u32,
    decode: u32,
) -> ScenarioConfig {
    let weights = |stored: u64| WeightsConfig { stored: Bytes::new(stored), ..Default::default() };
    ScenarioConfig {
        name: "small".to_owned(),
        about: String::new(),
        model: Reference::Inline(ModelConfig {
            name: "small".to_owned(),
            about: String::new(),
            layers: vec![LayersConfig {
                count: layers,
                attention: weights(attention),
                mlp: weights(mlp),
                kv_bytes: Bytes::new(kv),
                window: None,
            }],
            architecture: None,
        }),
        memory: Reference::Inline(MemoryConfig {
            price: None,
            name: "small".to_owned(),
            about: String::new(),
            arbitration: Arbitration::Fair,
            class_weights: ClassWeights::default(),
            residency: ResidencyKind::Exclusive,
            tiers: vec![
                TierConfig::new("hbm", Bytes::new(hbm), bandwidth(1000)),
                TierConfig {
                    link: Some(LinkConfig::new(bandwidth(250), bandwidth(250)).into()),
                    ..TierConfig::new("external", Bytes::new(1 << 40), bandwidth(500))
                },
            ],
        }),
        prefill_tokens: prefill,
        decode_tokens: decode,
        batch: 1,
        sequences: Vec::new(),
        prefill: tiersim::workload::PrefillConfig::Given,
        requests: None,
        warmup_steps: 0,
        page_tokens: 1,
        kv_groups: Default::default(),
        routing: None,
        trace: TraceConfig::default(),
        layout: None,
        index: None,
        strategy: BASELINE,
        weight_prefetch: 0,
        bound: tiersim::strategy::BoundKind::Free,
        compute: None,
        runtime: Reference::Inline(RuntimeConfig::default()),
    }
}

pub fn memory(config: &mut ScenarioConfig) -> &mut MemoryConfig {
    match &mut config.memory {
        Reference::Inline(memory) => memory,
        Reference::Name(name) => panic!("'{name}' is not spelled out"),
    }
}

pub fn skipping(skip: u32, churn: u32, seed: u64) -> TraceConfig {
    TraceConfig::Generated(GeneratorConfig {
        skip: Ratio::from_permille(skip).unwrap(),
        churn: Ratio::from_permille(churn).unwrap(),
        seed,
        ..GeneratorConfig::default()
    })
}

/// The same under another runtime.
pub fn with(mut config: ScenarioConfig, runtime: RuntimeConfig) -> ScenarioConfig {
    config.runtime = Reference::Inline(RuntimeConfig { name: "test".to_owned(), ..runtime });
    config
}

/// Each step's latency and bound, in microseconds.
pub fn steps(config: &ScenarioConfig) -> Vec<(f64, f64)> {
    let (outcome, keep) = simulate(config);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    keep.steps.iter().map(|step| (step.latency.as_ns() / 1000.0, step.bound.as_ns() / 1000.0)).collect()
}

/// Whether a figure is as expected, but for rounding.
pub fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-5 * expected
}
