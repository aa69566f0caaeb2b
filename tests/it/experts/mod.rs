//! Experts as units: the same bytes as weights where nothing moves, caches against a twin, and
//! what holds of every run.

mod twin;

use crate::common::runs::{self, Kept, memory, simulate, small};
use proptest::prelude::*;
use std::ops::ControlFlow;
use tiersim::config::{self, Reference};
use tiersim::memory::{ResidencyKind, TransferClass};
use tiersim::simulation::{Outcome, Probe, RoutedRead, Scenario, ScenarioConfig, StepRecord, run};
use tiersim::strategy::{ExpertChoice, InitializationKind, Late, MigrationKind, On, PlacementKind, Strategy as Parts};
use tiersim::units::{Bytes, LayerId, Ratio};
use tiersim::workload::{
    ExpertTraceConfig, LanguageModel, ModelConfig, PrefillConfig, PrefillOrder, RoutingGeneratorConfig, routings,
    unread,
};

/// Three layers of so many experts of 12,288 B each, of which a token is routed to `active`.
fn model(count: u32, active: u32) -> ModelConfig {
    config::parse(
        &format!(
            "(name: \"m\", architecture: (hidden: 64, vocabulary: 100, blocks: [(count: 3, layers: [(\
             attention: Full(heads: 2, kv_heads: 1, head_size: 32), \
             mlp: Experts(count: {count}, active: {active}, intermediate: 32, shared: 1))])]))"
        ),
        "model",
    )
    .unwrap()
}

const EXPERT: u64 = 3 * 64 * 32 * 2;

fn routing(exponent: f64, persistence: u32, seed: u64) -> Option<ExpertTraceConfig> {
    Some(ExpertTraceConfig::Generated(RoutingGeneratorConfig {
        exponent: Some(exponent),
        persistence: Ratio::from_permille(persistence).unwrap(),
        seed,
        ..RoutingGeneratorConfig::default()
    }))
}

/// A run of the model with all experts in external memory but a share of them.
fn scenario(count: u32, active: u32, on_hbm: &str, (prefill, decode): (u32, u32)) -> ScenarioConfig {
    let mut config = small(1, (1, 1), 1, 1 << 30, prefill, decode);
    config.model = Reference::Inline(model(count, active));
    config.layout = match on_hbm {
        "100%" => None,
        "0%" => Some("experts=external, *=hbm".parse().unwrap()),
        share => Some(format!("experts={share} hbm, experts=external, *=hbm").parse().unwrap()),
    };
    config
}

/// The experts that each step has read.
#[derive(Default)]
struct Routed {
    steps: Vec<RoutedRead>,
    latencies: Vec<u64>,
}

impl Probe for Routed {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.steps.extend(step.experts.cloned());
        self.latencies.push(step.latency.as_ps());
        ControlFlow::Continue(())
    }
}

fn simulate_routed(config: &ScenarioConfig) -> (Outcome, Routed) {
    let mut routed = Routed::default();
    let outcome = run(&Scenario::new(config.clone()).unwrap(), &mut routed).unwrap();
    (outcome, routed)
}

#[test]
fn all_experts_take_as_long_as_the_weights_that_they_are() {
    for (on_hbm, reads) in [("100%", "Direct"), ("25%", "Direct"), ("0%", "Direct"), ("25%", "Serial")] {
        let mut weights = scenario(16, 16, on_hbm, (40, 12));
        weights.trace = runs::skipping(300, 100, 3);
        if let Reference::Inline(runtime) = &mut weights.runtime {
            runtime.reads = [("external".to_owned(), config::parse(reads, "reads").unwrap())].into_iter().collect();
        }
        let units = ScenarioConfig { routing: routing(1.0, 500, 1), ..weights.clone() };
        let ((as_weights, of_weights), (as_units, of_units)) = (simulate(&weights), simulate(&units));
        assert_eq!(of_weights, of_units, "{on_hbm} {reads}");
        assert_eq!((as_weights.simulated, &as_weights.at_end), (as_units.simulated, &as_units.at_end));
        let (_, routed) = simulate_routed(&units);
        assert!(routed.steps.iter().all(|step| step.read.values().sum::<u64>() == 3 * 16));
    }
    // Nothing is said of experts where they are weights.
    let (_, none) = simulate_routed(&scenario(16, 16, "25%", (4, 2)));
    assert!(none.steps.is_empty() && none.latencies.len() == 2);
}

#[test]
fn a_step_by_hand() {
    // One token is routed to 2 of 4 experts of each layer, all of them in external memory behind
    // 250 GB/s: 24,576 B take 98,304 ps in each layer.
    let mut config = scenario(4, 2, "0%", (4, 1));
    config.routing = routing(0.0, 0, 1);
    let (outcome, routed) = simulate_routed(&config);
    let external = &routed.steps[0];
    assert_eq!((external.read.values().copied().collect::<Vec<_>>(), external.late), (vec![0, 6], 0));
    assert_eq!(external.bytes.values().map(|bytes| bytes.get()).collect::<Vec<_>>(), [0, 6 * EXPERT]);
    let mut without = config.clone();
    without.layout = None;
    let (all_on_hbm, _) = simulate_routed(&without);
    // On HBM, at 1 ps a byte, they are read with the router of four outputs, the shared expert, a
    // norm and what else is small, two vectors of the hidden size in all.
    let fixed = 64 * 4 * 2 + EXPERT + 2 * 64 * 2;
    let saved = 3 * (2 * EXPERT * 4 - (2 * EXPERT + fixed));
    assert_eq!(outcome.simulated.as_ps() - all_on_hbm.simulated.as_ps(), saved);
    assert_eq!(outcome.completed[TransferClass::WeightRead], all_on_hbm.completed[TransferClass::WeightRead]);
}

#[test]
fn experts_need_a_routing_and_a_model_that_has_some() {
    let error = |set: &dyn Fn(&mut ScenarioConfig)| {
        let mut config = scenario(8, 2, "50%", (8, 4));
        config.routing = routing(1.0, 0, 1);
        set(&mut config);
        Scenario::new(config).unwrap_err().to_string()
    };
    let dense = |config: &mut ScenarioConfig| {
        config.model = small(1, (1, 1), 1, 1 << 30, 1, 1).model;
        config.layout = None;
    };
    assert!(error(&dense).contains("no experts"), "{}", error(&dense));
    let charged = |config: &mut ScenarioConfig| config.bound = tiersim::strategy::BoundKind::Charged;
    assert!(error(&charged).contains("Charged") && error(&charged).contains("routing"), "{}", error(&charged));
    let exponent = |config: &mut ScenarioConfig| config.routing = routing(-1.0, 0, 1);
    assert!(error(&exponent).contains("exponent"), "{}", error(&exponent));
}

#[test]
fn popular_experts_on_hbm_are_read_there() {
    let mut config = scenario(32, 2, "25%", (8, 200));
    config.routing = routing(1.2, 0, 5);
    let hits = |experts: ExpertChoice| {
        let mut config = config.clone();
        config.strategy.experts = experts;
        let (_, routed) = simulate_routed(&config);
        let on = |place: usize| routed.steps.iter().map(|step| *step.read.values().nth(place).unwrap()).sum::<u64>();
        on(0) as f64 / (on(0) + on(1)) as f64
    };
    let [front, popular, random] = [ExpertChoice::Front, ExpertChoice::Popular, ExpertChoice::Random].map(hits);
    // What the eight most popular experts of each layer are expected to be read of all.
    let scenario = Scenario::new(config).unwrap();
    let source = scenario.routing().unwrap().unwrap();
    let expected: f64 = LayerId::all(3)
        .map(|layer| {
            let mut popularity = source.popularity(layer);
            popularity.sort_by(|a, b| b.total_cmp(a));
            popularity[..8].iter().sum::<f64>() / popularity.iter().sum::<f64>() / 3.0
        })
        .sum();
    assert!((popular - expected).abs() < 0.05, "{popular} {expected}");
    assert!(front < popular - 0.2 && random < popular - 0.2, "{front} {popular} {random}");
}

fn strategies() -> impl Strategy<Value = Parts> {
    (
        prop::sample::select(InitializationKind::ALL),
        prop::sample::select(PlacementKind::ALL),
        prop::sample::select(MigrationKind::ALL),
        prop::sample::select(vec![None, Some("0B"), Some("30kB"), Some("30%")]),
        prop::sample::select(vec![Late::Finish, Late::Drop]),
        prop::sample::select(On::ALL.map(|(_, _, on)| on).to_vec()),
        prop::sample::select(ExpertChoice::ALL.map(|(_, _, experts)| experts).to_vec()),
    )
        .prop_map(|(initialization, placement, migration, budget, late, on, experts)| Parts {
            initialization,
            placement,
            migration,
            budget: budget.map(|budget| budget.parse().unwrap()),
            late,
            on,
            experts,
            ..Parts::REFERENCE
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever moves: a step reads the experts that the source names, no tier holds more than it
    /// can, all that is stored stays stored, and no step beats its bound.
    #[test]
    fn experts_are_read_as_routed_and_stay_whole(
        strategy in strategies(),
        exponent in 0.0f64..2.0,
        persistence in 0u32..=1000,
        (seed, skip) in any::<(u64, bool)>(),
        hbm in 60_000u64..700_000,
        (batch, chunk) in (1u32..4, prop::option::of(1u32..9)),
        (inclusive, serial, prefetch) in any::<(bool, bool, bool)>(),
    ) {
        let mut config = scenario(16, 2, "0%", (9, 12));
        config.layout = None;
        config.routing = routing(exponent, persistence, seed % 1000);
        config.strategy = strategy;
        (config.batch, config.weight_prefetch) = (batch, 2 * u32::from(prefetch && !serial));
        if skip {
            config.trace = runs::skipping(400, 100, seed % 1000);
        }
        if let Some(chunk_tokens) = chunk {
            config.prefill = PrefillConfig::Timed { chunk_tokens, order: PrefillOrder::Mixed };
        }
        if let (true, Reference::Inline(runtime)) = (serial, &mut config.runtime) {
            runtime.reads = [("external".to_owned(), config::parse("Serial", "reads").unwrap())].into_iter().collect();
        }
        memory(&mut config).tiers[0].capacity = Bytes::new(hbm);
        if inclusive {
            memory(&mut config).residency = ResidencyKind::Inclusive;
        }
        let scenario = Scenario::new(config.clone()).unwrap();
        let (outcome, routed) = simulate_routed(&config);
        let (_, keep) = simulate(&config);
        prop_assert!(outcome.error.is_none());
        let layers = routings(scenario.model());
        let (mut source, mut left) = (scenario.routing().unwrap().unwrap(), unread(&layers));
        let mut schedule = tiersim::workload::Schedule::new(scenario.sequences());
        for (step, read) in routed.steps.iter().enumerate() {
            let tokens = schedule.next_step().unwrap().tokens();
            source.next_step(tokens, &mut left).unwrap();
            let expected: usize = left.counts.iter().map(|unread| 16 - unread).sum();
            prop_assert_eq!(read.read.values().sum::<u64>(), expected as u64, "step {}", step);
            let bytes: u64 = read.bytes.values().map(|bytes| bytes.get()).sum();
            prop_assert_eq!(bytes, expected as u64 * EXPERT);
            let Kept { latency, bound, .. } = &keep.steps[step];
            prop_assert!(latency >= bound, "step {}: {} against {}", step, latency, bound);
        }
        prop_assert!(schedule.next_step().is_none());
        prop_assert_eq!(&outcome.issued, &runs::accounted(&outcome));
        // Weights are those of the model, at the start and at the end.
        let stored = LanguageModel::new(&model(16, 2)).unwrap().stored_weights();
        for at in [&outcome.at_start, &outcome.at_end] {
            prop_assert_eq!(at.weights.iter().copied().sum::<Bytes>(), stored);
        }
        let moves = !matches!(config.strategy.on, On::Kv) || config.strategy.migration == MigrationKind::None;
        prop_assert!(moves || outcome.at_start.weights == outcome.at_end.weights);
        for (peak, tier) in outcome.peak.iter().zip(scenario.memory().tiers()) {
            prop_assert!(*peak <= tier.capacity);
        }
    }
}
