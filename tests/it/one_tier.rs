//! A memory system of one tier, "everything in HBM", and layers without KV: under every strategy,
//! and with every command.

use crate::common::program::tiersim;
use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::memory::{Arbitration, ResidencyKind, TransferClass};
use tiersim::metrics::Recorder;
use tiersim::simulation::{Scenario, ScenarioConfig, run};
use tiersim::strategy::{BoundKind, InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{Bytes, SimTime};
use tiersim::workload::{LayersConfig, ModelConfig};

fn model(config: &mut ScenarioConfig) -> &mut ModelConfig {
    match &mut config.model {
        tiersim::config::Reference::Inline(model) => model,
        tiersim::config::Reference::Name(name) => panic!("'{name}' is not spelled out"),
    }
}

/// Three layers, of which the second has no KV, on as many tiers.
fn config(tiers: usize, hbm: u64, (prefill, decode): (u32, u32), skip: u32) -> ScenarioConfig {
    let mut config = small(1, (20_000, 50_000), 1_000, hbm, prefill, decode);
    config.trace = skipping(skip, 300, 1);
    let layers = &mut model(&mut config).layers;
    let without = LayersConfig { kv_bytes: Bytes::ZERO, ..layers[0].clone() };
    layers.extend([without, LayersConfig { kv_bytes: Bytes::new(700), ..layers[0].clone() }]);
    memory(&mut config).tiers.truncate(tiers);
    config
}

prop_compose! {
    fn any_strategy()(
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
    ) -> Parts {
        Parts { initialization, placement, migration, late, ..Parts::REFERENCE }
    }
}

fn any_arbitration() -> impl Strategy<Value = Arbitration> {
    prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo])
}

proptest! {
    #![proptest_config(cases(150))]

    /// There is nothing to choose, so every strategy does what the baseline does, and the bound is
    /// what the reads take.
    #[test]
    fn on_one_tier_every_strategy_is_the_baseline(
        strategy in any_strategy(),
        arbitration in any_arbitration(),
        tokens in (0u32..40, 1u32..16),
        skip in 0u32..=1000,
        page_tokens in 1u32..5,
        weight_prefetch in 0u32..3,
        charged: bool,
    ) {
        let mut config = config(1, 1 << 30, tokens, skip);
        config.page_tokens = page_tokens;
        config.weight_prefetch = weight_prefetch;
        memory(&mut config).arbitration = arbitration;
        let (_, baseline) = simulate(&config);
        config.strategy = strategy;
        if charged && page_tokens == 1 {
            config.bound = BoundKind::Charged;
        } else {
            memory(&mut config).residency = ResidencyKind::Inclusive;
        }
        let scenario = Scenario::new(config).unwrap();
        prop_assert_eq!(scenario.memory().best_ratio(), 1.0);
        let (outcome, keep) = carry_out(&scenario);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        prop_assert_eq!(&keep, &baseline);
        for step in &keep.steps {
            let read = step.attention_read[0] + step.mlp_read[0];
            // A byte a picosecond; what is written beside the reads takes its share.
            prop_assert!(step.bound <= SimTime::from_ps(read) && step.bound.as_ps() + 1 >= read, "{:?}", step);
            prop_assert!(step.latency >= step.bound, "{:?}", step);
            prop_assert_eq!((step.migrated, step.late), ((0, 0), 0));
        }
        if let Some(bound) = scenario.charged_bound().unwrap() {
            prop_assert!(bound <= outcome.simulated, "{bound} is more than {}", outcome.simulated);
        }
        let mut recorder = Recorder::new(&scenario);
        let outcome = run(&scenario, &mut recorder).unwrap();
        let summary = recorder.finish(&scenario, &outcome).summary;
        prop_assert_eq!(summary.alpha.mean, Some(1.0));
        prop_assert!(summary.lanes.0.iter().all(|(_, lane)| lane.utilization <= 1.0 && lane.busy_ns <= summary.drained_ns));
    }

    /// Nothing is issued for zero bytes, whatever the strategy.
    #[test]
    fn layers_without_kv_read_and_write_none(
        strategy in any_strategy(),
        arbitration in any_arbitration(),
        residency in prop::sample::select(vec![ResidencyKind::Exclusive, ResidencyKind::Inclusive]),
        tokens in (0u32..40, 1u32..16),
        skip in 0u32..=1000,
        page_tokens in 1u32..5,
        fill in 1u64..130,
    ) {
        let all = 3 * 70_000 + u64::from(tokens.0 + tokens.1) * 1_700;
        let mut config = config(2, all * fill / 100, tokens, skip);
        config.page_tokens = page_tokens;
        config.strategy = strategy;
        memory(&mut config).arbitration = arbitration;
        memory(&mut config).residency = residency;
        let (outcome, keep) = simulate(&config);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        prop_assert_eq!(outcome.issued, accounted(&outcome));
        prop_assert!(keep.carried.iter().all(|it| it.1 > Bytes::ZERO || it.0 == TransferClass::MigrateIn || it.0 == TransferClass::MigrateOut));
        let written: u64 = keep.carried.iter().filter(|it| it.0 == TransferClass::KvWrite).map(|it| it.1.get()).sum();
        // Under inclusive residency what goes to HBM goes to the last tier as well.
        let once = u64::from(tokens.1) * 1_700;
        prop_assert!((once..=2 * once).contains(&written), "{written} B written");
        for (step, kept) in keep.steps.iter().enumerate() {
            let context = u64::from(tokens.0) + step as u64;
            prop_assert!(kept.read_tokens <= 2 * context, "a layer without KV reads no tokens");
            prop_assert!(kept.latency >= kept.bound, "{:?}", kept);
        }
    }
}

#[test]
fn one_tier_is_two_of_which_the_second_is_never_used() {
    let one = simulate(&config(1, 1 << 30, (30, 20), 400)).1;
    let two = simulate(&config(2, 1 << 30, (30, 20), 400)).1;
    let latencies = |keep: &Keep| keep.steps.iter().map(|step| step.latency).collect::<Vec<_>>();
    assert_eq!(latencies(&one), latencies(&two));
    assert_eq!(one.carried, two.carried);
}

#[test]
fn a_model_without_any_kv_reads_its_weights() {
    let mut config = config(1, 1 << 30, (30, 5), 0);
    model(&mut config).layers.iter_mut().for_each(|layer| layer.kv_bytes = Bytes::ZERO);
    let (outcome, keep) = simulate(&config);
    // 3 layers of 70 kB at a byte a picosecond.
    assert_eq!(outcome.simulated, SimTime::from_ps(5 * 3 * 70_000));
    assert!(keep.carried.iter().all(|it| it.0 == TransferClass::WeightRead));
    assert!(keep.steps.iter().all(|step| step.latency == step.bound && step.read_tokens == 0));
}

#[test]
fn what_does_not_fit_on_one_tier_is_refused_before_the_run() {
    let error = Scenario::new(config(1, 200_000, (30, 20), 0)).unwrap_err().to_string();
    assert!(error.contains("prefill_tokens") && error.contains("enlarge a tier"), "{error}");
    // The KV of later tokens does not fit: the run ends early, and reports where.
    let (outcome, keep) = simulate(&config(1, 210_000 + 40 * 1_700, (30, 20), 0));
    assert_eq!(keep.steps.len(), 10);
    assert!(outcome.error.unwrap().to_string().contains("'hbm'"));
}

const MODEL: &str = "LanguageModel(name: \"m\", layers: [\
    (count: 2, attention: (stored: \"1 MB\"), mlp: (stored: \"4 MB\"), kv_bytes: \"4 kB\"),\
    (count: 2, attention: (stored: \"1 MB\"), mlp: (stored: \"4 MB\"), kv_bytes: \"0 B\")])";
const MEMORY: &str = "MemorySystem(name: \"one\", tiers: [(name: \"lpddr\", capacity: \"64 GB\", bandwidth: \"273 GB/s\", latency: \"100 ns\")])";
const SCENARIO: &str = "Scenario(name: \"s\", model: \"model.ron\", memory: \"memory.ron\", prefill_tokens: 100, decode_tokens: 20, \
    trace: Generated(skip: 0.3, seed: 1), strategy: \"baseline\")";
const SWEEP: &str = "Sweep(name: \"w\", base: \"scenario.ron\", axes: [Values(field: \"trace.skip\", values: [\"0%\", \"50%\"]), \
    Values(field: \"strategy\", values: [\"baseline\", \"best-ratio\"])])";

/// What `tiersim` prints to stdout.
fn printed(place: &Path, arguments: &str) -> String {
    let output = tiersim(place, &[]).args(arguments.split(' ')).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "tiersim {arguments}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn every_command_takes_one_tier() {
    let place = TempDir::new().expect("a temporary folder");
    for (name, text) in [("model.ron", MODEL), ("memory.ron", MEMORY), ("scenario.ron", SCENARIO), ("sweep.ron", SWEEP)]
    {
        fs::write(place.path().join(name), text).expect("a file");
    }
    fs::write(
        place.path().join("log.csv"),
        "issue_ns,class,source,destination,bytes\n0,KvRead,lpddr,chip,1000\n5,KvWrite,chip,lpddr,1000\n",
    )
    .expect("a file");
    let run = |arguments: &str| printed(place.path(), arguments);
    let checked = run("check model.ron memory.ron scenario.ron sweep.ron");
    assert!(checked.contains("lpddr: 100 % of peak assumed"), "{checked}");
    assert!(run("list --memory memory.ron").contains("1.0000"));
    run("run scenario.ron --strategy baseline --strategy best-ratio --out run");
    run("run scenario.ron --strategy balanced-online --timeline 0..2 --out timeline");
    run("strategies scenario.ron --out strategies");
    let pair = ["compare", "scenario.ron", "scenario.ron --skip 0.5", "--out", "compare"];
    let output = tiersim(place.path(), &pair).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    run("explain scenario.ron --strategy best-ratio --out explain");
    run("sweep sweep.ron --out sweep");
    run("curve --memory memory.ron --transfers 2000 --out curve");
    run("replay log.csv --memory memory.ron --out replay");
    for page in ["run/report.html", "strategies/report.html", "explain/explain.html"] {
        let text = fs::read_to_string(place.path().join(page)).unwrap_or_default();
        assert!(!text.contains("NaN") && !text.contains("external"), "{page}");
    }
}
