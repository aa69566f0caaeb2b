//! Tiers that compute: by hand for a stage of each merge, refusals, and random small runs.

use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::catalog;
use tiersim::config::Reference;
use tiersim::explain::Explanation;
use tiersim::memory::{Arbitration, TransferClass};
use tiersim::runs::{Cancel, Resources, Silent};
use tiersim::simulation::{Assignment, Fields, Scenario, ScenarioConfig};
use tiersim::strategy::{BoundKind, InitializationKind, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{Bytes, SimTime};
use tiersim::validation::{self, Accuracy, Case, CaseFile, Checked};
use tiersim::workload::{ComputeConfig, ComputedPiece, Merge, ReadsConfig, RuntimeConfig, TierComputeConfig};

/// Cores that reach 0.8 of 500 GB/s: 400 GB/s, and begin in 3 us; activations take 1 us each way.
fn cpu(merge: Merge) -> TierComputeConfig {
    TierComputeConfig {
        pieces: vec![ComputedPiece::Weights, ComputedPiece::Kv],
        reach: 0.8,
        per_stage: SimTime::from_ns(3_000.0),
        merge,
        rate: None,
        activations: Some(Bytes::new(250_000)),
    }
}

/// Cores that begin at once and reach all, with activations of no size.
fn ideal(pieces: &[ComputedPiece]) -> TierComputeConfig {
    TierComputeConfig { pieces: pieces.to_vec(), ..cpu(Merge::Parallel).at_once() }
}

fn computing(of: TierComputeConfig) -> RuntimeConfig {
    RuntimeConfig { computes: [("external".to_owned(), of)].into(), ..RuntimeConfig::default() }
}

/// A layer of 2 MB of attention, half of it on HBM, and 2 MB of mlp, all of it external.
fn half_on_hbm() -> ScenarioConfig {
    small(1, (2_000_000, 2_000_000), 0, 1_000_000, 0, 2)
}

#[test]
fn a_parallel_part_runs_beside_the_chips() {
    // Attention: the chip reads 1 MB in 1 us; activations 1 us, begin 3 us, 1 MB in 2.5 us, back 1
    // us. Mlp: 1 + 3 + 5 + 1 us.
    let (outcome, keep) = simulate(&with(half_on_hbm(), computing(cpu(Merge::Parallel))));
    for step in &keep.steps {
        assert!(close(step.latency.as_ns(), 7_500.0 + 10_000.0), "{step:?}");
        // HBM holds 1 of 4 MB; of the others each takes 2.5 us, and its part of the other 5 us.
        assert!(close(step.bound.as_ns(), 3.0 * (2_500.0 + 2_500.0)), "{step:?}");
        assert_eq!(
            (step.attention_read.as_slice(), step.mlp_read.as_slice()),
            (&[1_000_000; 2][..], &[0, 2_000_000][..])
        );
    }
    assert_eq!(keep.bytes(TransferClass::WeightRead), 2 * 4_000_000);
    assert_eq!(keep.bytes(TransferClass::Activation), 2 * 4 * 250_000);
    assert_eq!(outcome.issued, accounted(&outcome));
    // The link carries activations alone.
    let scenario = Scenario::new(with(half_on_hbm(), computing(cpu(Merge::Parallel)))).unwrap();
    for (lane, load) in scenario.memory().lanes().iter().zip(&outcome.lanes) {
        let expected = match lane.name.as_str() {
            "external.link.read" | "external.link.write" => (0, 1_000_000),
            "external.bus" => (6_000_000, 2_000_000),
            "external.cores" => (6_000_000, 0),
            _ => (2_000_000, 0),
        };
        let found = (load.bytes[TransferClass::WeightRead].get(), load.bytes[TransferClass::Activation].get());
        assert_eq!(found, expected, "{}", lane.name);
    }
}

#[test]
fn a_serial_part_follows_the_chips() {
    // 1 us before the attention's part; the chip has none of the mlp.
    for (latency, bound) in steps(&with(half_on_hbm(), computing(cpu(Merge::Serial)))) {
        assert!(close(latency, 1.0 + 7.5 + 10.0), "{latency}");
        // A byte on HBM saves 5 us a MB, and costs 1.
        assert!(close(bound, 15.0 + 1.0), "{bound}");
    }
    // What is not computed there is read as `reads` says: here of the mlp alone, after HBM, 8 us;
    // the attention's part begins when HBM has been read.
    let mut runtime = computing(TierComputeConfig { pieces: vec![ComputedPiece::Attention], ..cpu(Merge::Serial) });
    runtime.reads.insert("external".to_owned(), ReadsConfig::Serial);
    assert!(steps(&with(half_on_hbm(), runtime)).iter().all(|(latency, _)| close(*latency, 8.5 + 8.0)));
}

#[test]
fn the_best_split_makes_chip_and_tier_finish_together() {
    // 1000 GB/s and 400 GB/s: 1.4 MB a stage take 1 us at the best split.
    let of = TierComputeConfig { reach: 0.8, ..ideal(&[ComputedPiece::Weights]) };
    let mut config = with(small(1, (1_400_000, 1_400_000), 0, 1 << 30, 0, 2), computing(of));

    config.strategy.initialization = "Static(weights: 71.4%, kv: 85%)".parse().unwrap();
    for (latency, bound) in steps(&config) {
        assert!(close(bound, 2.0), "{bound}");
        assert!((2.0..2.004).contains(&latency), "{latency}");
    }
    // Without the CPU, over the link: 2.8 MB at 1250 GB/s.
    let read = with(small(1, (1_400_000, 1_400_000), 0, 1 << 30, 0, 2), RuntimeConfig::default());
    assert!(close(steps(&read)[0].1, 2.24));
}

#[test]
fn its_flop_go_with_its_bytes() {
    // Attention: the chip computes 2 us for its MB, the tier 8 us for its own. Mlp: 16 us.
    let of = TierComputeConfig { rate: Some("0.25 TFLOP/s".parse().unwrap()), ..cpu(Merge::Parallel) };
    let mut config = with(half_on_hbm(), computing(of));
    let factor = Some(2.0);
    config.compute = Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: factor,
        flop_per_kv_byte: factor,
    });
    for (latency, bound) in steps(&config) {
        assert!(close(latency, (1.0 + 3.0 + 8.0 + 1.0) + (1.0 + 3.0 + 16.0 + 1.0)), "{latency}");
        assert!(close(bound, 3.0 * (2.5 + 8.0)), "{bound}");
    }
    // With all on HBM it computes nothing, and the chip all.
    memory(&mut config).tiers[0].capacity = Bytes::new(1 << 30);
    assert!(steps(&config).iter().all(|(latency, _)| close(*latency, 8.0)));
}

#[test]
fn kv_that_it_attends_to_waits_for_its_write() {
    // All KV is external. Step 0: 1 MB of it at 500 GB/s in 2 us; mlp 1 us; the new MB is written
    // over the link from 2 to 6 us. Step 1 reads 2 MB from 6 us on, 4 us.
    let config = small(1, (1_000_000, 1_000_000), 1_000_000, 2_000_000, 1, 3);
    let found = steps(&with(config, computing(ideal(&[ComputedPiece::Kv]))));
    assert!(close(found[0].0, 3.0), "{found:?}");
    assert!(close(found[1].0, 3.0 + 4.0 + 1.0), "{found:?}");
}

fn explain(config: &ScenarioConfig) -> Explanation {
    let scenario = Scenario::new(config.clone()).unwrap();
    let resources = Resources { threads: 1, memory: Bytes::new(1 << 30) };
    let ladder = tiersim::runs::climb(&scenario, resources, &Cancel::new(false), &Silent).unwrap();
    ladder.explanation(&scenario).unwrap()
}

#[test]
fn an_explanation_names_it() {
    let explanation = explain(&with(half_on_hbm(), computing(cpu(Merge::Serial))));
    let waited = |cause: &str| explanation.waits.get(cause).map_or(0, |wait| wait.time_ps);
    // Two steps: 1 us of HBM, 2 parts of 1 us in, 3 to begin, and 1 out; 7.5 us of reads.
    assert_eq!(waited("hbm.bus"), 2_000_000);
    assert_eq!(waited("external.link.write"), 4_000_000);
    assert_eq!(waited("tier's compute"), 12_000_000);
    assert_eq!(waited("external.cores"), 15_000_000);
    assert_eq!(waited("external.link.read"), 4_000_000);
    assert!(explanation.bound.computes_ps > 0 && explanation.bound.serial_ps > 0, "{:?}", explanation.bound);
    let names: Vec<&str> = explanation.costs.iter().map(|cost| cost.name.as_str()).collect();
    assert!(names.contains(&"TiersAtOnce") && names.contains(&"DirectReads"), "{names:?}");
    let explanation = explain(&half_on_hbm());
    assert!(!explanation.without_effect.iter().any(|name| name == "TiersAtOnce"));
}

#[test]
fn a_layout_by_piece_is_explained() {
    // The bound's layout fills HBM, where the rules put new KV: that run places it as the strategy
    // does.
    let mut config = with(small(1, (1_000_000, 2_000_000), 1_000, 1_200_000, 100, 3), computing(cpu(Merge::Parallel)));
    config.layout = Some("mlp=external, *=hbm".parse().unwrap());
    let explanation = explain(&config);
    assert!(explanation.complete, "{:?}", explanation.errors);
    assert!(explanation.costs.iter().any(|cost| cost.name == "BoundLayout"));
}

#[test]
fn it_is_set_by_path() {
    let set =
        |path: &str, value: serde_json::Value| Assignment { path: path.to_owned(), value, asked: path.to_owned() };
    let fields = Fields::new(&half_on_hbm()).unwrap();
    let whole = "(pieces: [Weights], reach: 0.8, activations: \"0 B\")";
    let config = fields
        .apply(&[
            set("runtime.name", "cpu".into()),
            set("runtime.computes.external", whole.into()),
            set("runtime.computes.external.merge", "Serial".into()),
        ])
        .unwrap();
    // 1 + 2.5 us, then 5 us.
    assert!(steps(&config).iter().all(|(latency, _)| close(*latency, 8.5)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |runtime: RuntimeConfig| Scenario::new(with(half_on_hbm(), runtime)).unwrap_err().to_string();
    let of = |change: fn(&mut TierComputeConfig)| {
        let mut of = cpu(Merge::Parallel);
        change(&mut of);
        refused(computing(of))
    };
    for (message, expected) in [
        (of(|of| of.pieces.clear()), "computes.external.pieces: there are none"),
        (of(|of| of.reach = 0.0), "computes.external.reach: 0"),
        (of(|of| of.reach = f64::NAN), "computes.external.reach: NaN"),
        (of(|of| of.per_stage = SimTime::from_ns(2e9)), "computes.external.per_stage: 2"),
        (of(|of| of.activations = None), "computes.external.activations: the model gives its layers in bytes"),
        (of(|of| of.rate = Some("1 TFLOP/s".parse().unwrap())), "compute.flop_per_weight_byte: it is missing"),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    let named = |name: &str| RuntimeConfig {
        computes: [(name.to_owned(), cpu(Merge::Parallel))].into(),
        ..RuntimeConfig::default()
    };
    let first = refused(named("hbm"));
    assert!(first.contains("computes: 'hbm' is the first tier"), "{first}");
    let unknown = refused(named("externel"));
    assert!(unknown.contains("no tier 'externel'") && unknown.contains("external"), "{unknown}");
    let mut hashed = with(half_on_hbm(), named("external"));
    memory(&mut hashed).tiers[1].interleaving = serde_json::from_str("{\"Hashed\": {\"page_tokens\": 1}}").unwrap();
    let message = Scenario::new(hashed).unwrap_err().to_string();
    assert!(message.contains("computes.external: its pages are hashed"), "{message}");
    let unread: Result<TierComputeConfig, _> = tiersim::config::parse("(peices: [Weights])", "x");
    assert!(unread.unwrap_err().to_string().contains("pieces"));
}

/// The shares of experts on GPUs in models/validation/README.md: the curve by share with
/// one fitted bandwidth, and the mean error.
#[test]
fn the_curve_by_share_of_experts_is_that_measured() {
    let files: Vec<CaseFile> = catalog::CASES.iter().filter(|file| file.name == "cpu").map(CaseFile::shipped).collect();
    let mut cases = validation::read(&files).unwrap();
    cases.retain(|case: &Case| case.group == "ktransformers on four RTX 4090 and CPU");
    assert_eq!(cases.len(), 33);
    let resources = Resources { threads: 1, memory: Bytes::new(1 << 30) };
    let simulated =
        validation::validate(Checked::new(cases).unwrap(), resources, &Cancel::new(false), &Silent).unwrap();
    let accuracy = Accuracy::new(&simulated);
    assert!(accuracy.failed.is_empty(), "{:?}", accuracy.failed);
    assert!(accuracy.overall["all"].mean_abs_error <= 0.12, "{:?}", accuracy.overall["all"]);
    let text = serde_json::to_value(&accuracy).unwrap();
    let times = |strategy: &str, figure: &str| -> Vec<f64> {
        let of = |share: u32| {
            let name = format!("kt-qwen3-next-{strategy}-{share}%");
            let case = text["cases"].as_array().unwrap().iter().find(|case| case["case"] == name.as_str()).unwrap();
            1.0 / case[figure].as_f64().unwrap()
        };
        let times: Vec<f64> = (0..=100).step_by(10).map(of).collect();
        // What is left of the way from no experts on the GPUs to all of them.
        times.iter().map(|time| (time - times[10]) / (times[0] - times[10])).collect()
    };
    for (strategy, most) in [("random", 0.10), ("front-loading", 0.05)] {
        for (found, measured) in times(strategy, "simulated").iter().zip(times(strategy, "measured")) {
            assert!((found - measured).abs() <= most, "{strategy}: {found} against {measured}");
        }
    }
}

#[test]
fn the_second_tier_may_be_called_external() {
    let mut config = half_on_hbm();
    memory(&mut config).tiers[1].name = "ddr5".to_owned();
    let found = steps(&with(config, computing(cpu(Merge::Parallel))));
    assert!(found.iter().all(|(latency, _)| close(*latency, 17.5)), "{found:?}");
}

prop_compose! {
    fn tier_compute()(
        pieces in prop::sample::subsequence(vec![ComputedPiece::Weights, ComputedPiece::Attention, ComputedPiece::Mlp, ComputedPiece::Experts, ComputedPiece::Kv], 1..4),
        reach in 0.05f64..=1.0,
        per_stage in prop_oneof![Just(0u64), 0u64..50_000],
        serial: bool,
        giga in prop::option::of(1u64..2_000),
        activations in prop_oneof![Just(0u64), 1u64..5_000],
    ) -> TierComputeConfig {
        TierComputeConfig {
            pieces,
            reach,
            per_stage: SimTime::from_ps(per_stage),
            merge: if serial { Merge::Serial } else { Merge::Parallel },
            rate: giga.map(|giga| format!("{giga} GFLOP/s").parse().unwrap()),
            activations: Some(Bytes::new(activations)),
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn no_run_beats_its_bound(
        computes in prop::array::uniform2(prop::option::weighted(0.7, tier_compute())),
        ways in prop::array::uniform2(0u8..3),
        parts in (
            prop::sample::select(InitializationKind::ALL),
            prop::sample::select(PlacementKind::ALL),
            prop::sample::select(MigrationKind::ALL),
        ),
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        tiers in 2usize..4,
        room in 1u64..100,
        tokens in (0u32..40, 1u32..8),
        skip in 0u32..=1000,
        weight_prefetch in 0u32..3,
        chip in prop::option::of(100u64..5_000),
        charged: bool,
        batch in 1u32..3,
    ) {
        let mut config = small(2, (20_000, 50_000), 1_000, 0, tokens.0, tokens.1);
        let Reference::Inline(model) = &mut config.model else { panic!("it is spelled out") };
        model.layers[0].mlp.read = Some(Bytes::new(20_000));
        config.trace = skipping(skip, 300, 1);
        config.weight_prefetch = weight_prefetch;
        config.batch = batch;
        config.strategy = Parts { initialization: parts.0, placement: parts.1, migration: parts.2, ..Parts::REFERENCE };
        config.bound = if charged { BoundKind::Charged } else { BoundKind::Free };
        let rate = chip.unwrap_or(1_000_000);
        let factor = Some(1.5);
        config.compute = Some(ComputeConfig {
            rate: format!("{rate} GFLOP/s").parse().unwrap(), flop_per_weight_byte: factor, flop_per_kv_byte: factor,
        });
        let all = 2 * (70_000 + 1_000 * u64::from(batch) * u64::from(tokens.0 + tokens.1));
        let system = memory(&mut config);
        system.arbitration = arbitration;
        let third = tiersim::memory::TierConfig { bandwidth: bandwidth(300), name: "third".to_owned(), ..system.tiers[1].clone() };
        system.tiers.push(third);
        system.tiers.truncate(tiers);
        system.tiers[0].capacity = Bytes::new(1 + all * room / 100);
        let way = |way: u8| match way {
            0 => ReadsConfig::Direct,
            1 => ReadsConfig::Serial,
            _ => ReadsConfig::Staged { buffer: Bytes::new(1_000), ahead: 0, chunk: None },
        };
        let names = || ["external", "third"].into_iter().take(tiers - 1).map(str::to_owned);
        let runtime = RuntimeConfig {
            per_stage: SimTime::from_ps(700),
            computes: names().zip(computes).filter_map(|(name, of)| Some((name, of?))).collect(),
            reads: names().zip(ways.map(way)).collect(),
            ..RuntimeConfig::default()
        };
        let Ok(scenario) = Scenario::new(with(config, runtime)) else { return Ok(()) };
        let mut keep = Keep::default();
        // A layout may not fit, or memory may run out: what was simulated counts.
        let Ok(outcome) = tiersim::simulation::run(&scenario, &mut keep) else { return Ok(()) };
        for step in &keep.steps {
            prop_assert!(step.latency >= step.bound, "{step:?}");
        }
        if outcome.error.is_none() {
            prop_assert_eq!(outcome.issued, accounted(&outcome));
            if let Ok(Some(bound)) = scenario.charged_bound() {
                prop_assert!(outcome.simulated >= bound, "{} beats {bound}", outcome.simulated);
            }
            let resources = Resources { threads: 1, memory: Bytes::new(1 << 30) };
            let ladder = tiersim::runs::climb(&scenario, resources, &Cancel::new(false), &Silent).unwrap();
            let explanation = ladder.explanation(&scenario).unwrap();
            let waits: u64 = explanation.waits.0.iter().map(|(_, wait)| wait.time_ps).sum();
            prop_assert_eq!(waits, explanation.achieved_ps);
        }
    }
}
