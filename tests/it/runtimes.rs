//! Runtimes: what software and kernels cost, by hand and in random small runs.

use crate::common::program::tiersim;
use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use serde_json::Value;
use tiersim::config::Reference;
use tiersim::memory::{Arbitration, TransferClass};
use tiersim::simulation::{Fields, Scenario, ScenarioConfig};
use tiersim::strategy::{InitializationKind, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{Bytes, SimTime};
use tiersim::workload::{
    AmplificationConfig, BySize, Format, InterferenceConfig, RanksConfig, ReachClass, ReachConfig, ReadsConfig,
    RuntimeConfig,
};

fn microseconds(us: f64) -> SimTime {
    SimTime::from_ns(1000.0 * us)
}

fn of(class: ReachClass, reach: f64) -> ReachConfig {
    ReachConfig { class, format: None, tier: None, reach: BySize::Constant(reach) }
}

fn weights(reach: f64) -> ReachConfig {
    of(ReachClass::Weights, reach)
}

fn kv(reach: f64) -> ReachConfig {
    of(ReachClass::Kv, reach)
}

/// One layer of 1 MB and 2 MB of weights, all on an HBM of 1000 GB/s.
fn one_layer(kv: u64, prefill: u32) -> ScenarioConfig {
    small(1, (1_000_000, 2_000_000), kv, 1 << 30, prefill, 2)
}

#[test]
fn a_step_pays_per_stage_per_sequence_and_per_step() {
    let runtime = RuntimeConfig {
        per_stage: microseconds(5.0),
        per_sequence: microseconds(0.5),
        per_step: microseconds(3.0),
        ..RuntimeConfig::default()
    };
    // 1 us + 2 us of reads; two stages of 5.5 us; 3 us.
    for (latency, bound) in steps(&with(one_layer(0, 0), runtime.clone())) {
        assert!(close(latency, 17.0), "{latency}");
        // With external memory of 250 GB/s the reads could take 3 / 1.25 us.
        assert!(close(bound, 2.4 + 14.0), "{bound}");
    }
    // A stage that reads nothing takes no time.
    let mut config = with(small(1, (1_000_000, 0), 0, 1 << 30, 0, 2), runtime);
    assert!(steps(&config).iter().all(|(latency, _)| close(*latency, 1.0 + 5.5 + 3.0)));
    // Alone on one tier the bound is what the run takes.
    memory(&mut config).tiers.truncate(1);
    assert!(steps(&config).iter().all(|(latency, bound)| close(*latency, 9.5) && close(*bound, 9.5)));
}

#[test]
fn kernels_reach_less_of_the_bandwidth() {
    let reaches = vec![weights(0.5), kv(0.25)];
    let mut config = with(one_layer(1_000, 1_000), RuntimeConfig { reaches, ..RuntimeConfig::default() });
    // (1 MB / 0.5 + 1 MB / 0.25) / 1000 GB/s, then 2 MB / 0.5.
    assert!(close(steps(&config)[0].0, 2.0 + 4.0 + 4.0), "{:?}", steps(&config));
    memory(&mut config).tiers.truncate(1);
    let (latency, bound) = steps(&config)[0];
    assert!(close(latency, 10.0) && close(bound, 10.0), "{latency} {bound}");
}

#[test]
fn formats_and_sizes_have_reaches_of_their_own() {
    let mut config = one_layer(1_000, 1_000);
    let Reference::Inline(model) = &mut config.model else { panic!("it is spelled out") };
    model.layers[0].mlp.format = Some("q8_0".parse().unwrap());
    let q8 = ReachConfig { format: Some("q8_0".parse::<Format>().unwrap()), ..weights(0.8) };
    let by_size = BySize::Points(vec![(Bytes::new(1 << 10), 0.25), (Bytes::new(1 << 18), 0.5)]);
    let kv = ReachConfig { reach: by_size, ..kv(1.0) };
    let runtime = RuntimeConfig { reaches: vec![q8, weights(0.5), kv], ..RuntimeConfig::default() };
    // 1 MB / 0.5, 1 MB of KV / 0.5 as it is more than 256 KiB; 2 MB / 0.8.
    let found = steps(&with(config.clone(), runtime.clone()))[0].0;
    // The write of a token's KV takes 1 ns of the bus from the mlp's read.
    assert!((found - 6.5).abs() < 0.001, "{found}");
    // 16 KiB, half of the way from 1 to 256 KiB: 0.375.
    (config.prefill_tokens, config.decode_tokens) = (16, 1);
    let Reference::Inline(model) = &mut config.model else { panic!("it is spelled out") };
    model.layers[0].kv_bytes = Bytes::new(1 << 10);
    let found = steps(&with(config, runtime))[0].0;
    assert!((found - (4.5 + 0.016_384 / 0.375)).abs() < 0.001, "{found}");
}

#[test]
fn a_reach_may_be_of_another_tier() {
    // Half of all weights on HBM, the rest on external memory of 250 GB/s.
    let mut config = small(1, (1_000_000, 1_000_000), 0, 1_000_000, 0, 1);
    let external = ReachConfig { tier: Some("external".to_owned()), ..weights(0.5) };
    config = with(config, RuntimeConfig { reaches: vec![external], ..RuntimeConfig::default() });
    // Attention 1 us from HBM; mlp 8 us from external memory.
    let (latency, bound) = steps(&config)[0];
    assert!(close(latency, 9.0), "{latency}");
    // HBM holds 1 MB of 2: what is external, 1 MB in all, takes 8 us.
    assert!(close(bound, 8.0), "{bound}");
}

#[test]
fn lanes_carry_writes_and_early_reads_under_the_fixed_time() {
    // A KV of 1 MB a token is written in 1 us, under the 5 us of the mlp stage: the mlp's own read
    // of 2 us is as fast as if there were no write.
    let runtime = RuntimeConfig { per_stage: microseconds(5.0), ..RuntimeConfig::default() };
    let config = with(small(1, (1_000_000, 2_000_000), 1_000_000, 1 << 30, 0, 1), runtime);
    assert!(close(steps(&config)[0].0, 1.0 + 2.0 + 10.0), "{:?}", steps(&config));
    // Weights read early: the mlp's 2 us begin with attention's read, and go on under its fixed
    // time.
    let early = ScenarioConfig { weight_prefetch: 1, ..config };
    assert!(close(steps(&early)[0].0, 5.0 + 1.0 + 5.0), "{:?}", steps(&early));
}

fn serial(tier: &str) -> RuntimeConfig {
    RuntimeConfig { reads: [(tier.to_owned(), ReadsConfig::Serial)].into(), ..RuntimeConfig::default() }
}

#[test]
fn a_serial_tier_is_read_after_the_others() {
    // HBM holds half of the attention's weights: 1 us of HBM and 4 us of external memory, then 8
    // us.
    let direct = small(1, (2_000_000, 2_000_000), 0, 1_000_000, 0, 2);
    assert!(steps(&direct).iter().all(|(latency, _)| close(*latency, 4.0 + 8.0)));
    for (latency, bound) in steps(&with(direct.clone(), serial("external"))) {
        assert!(close(latency, 5.0 + 8.0) && close(bound, 13.0), "{latency} {bound}");
    }
    // Nothing is read early from it: the mlp's weights are read in the mlp stage.
    let early = ScenarioConfig { weight_prefetch: 1, ..with(direct.clone(), serial("external")) };
    assert!(steps(&early).iter().all(|(latency, _)| close(*latency, 13.0)), "{:?}", steps(&early));
    let message = Scenario::new(with(direct, serial("hbm"))).unwrap_err().to_string();
    assert!(message.contains("reads: 'hbm' is the first tier"), "{message}");
}

#[test]
fn a_serial_read_of_kv_waits_for_its_write_too() {
    // All KV is external: each step writes 1 MB in 4 us, while the mlp reads 1 us from HBM and the
    // next attention 1 us; then its KV, of which the last token is still being written.
    let mut config = with(small(1, (1_000_000, 1_000_000), 1_000_000, 2_000_000, 1, 3), serial("external"));
    config.strategy = "baseline".parse().unwrap();
    // 1 us, 4 us of KV; 1 us. Then 1 us, at 3 us after the write began; KV of 2 MB from 4 us on.
    let found = steps(&config);
    assert!(close(found[0].0, 6.0), "{found:?}");
    assert!(close(found[1].0, 3.0 + 8.0 + 1.0), "{found:?}");
}

fn staged(buffer: u64) -> RuntimeConfig {
    let way = ReadsConfig::Staged { buffer: Bytes::new(buffer), ahead: 0, chunk: None };
    RuntimeConfig { reads: [("external".to_owned(), way)].into(), ..RuntimeConfig::default() }
}

#[test]
fn a_staged_tier_is_copied_and_read_from_hbm() {
    // Attention: 1 MB of 2 is copied in 4 us, then 2 MB are read from HBM in 2 us. Mlp: 8 us and 2.
    let config = small(1, (2_000_000, 2_000_000), 0, 1_000_000 + 5_000, 0, 2);
    let (outcome, keep) = simulate(&with(config.clone(), staged(5_000)));
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    for step in &keep.steps {
        assert!(close(step.latency.as_ns(), 6_000.0 + 10_000.0), "{step:?}");
        // No placement copies less than what HBM cannot hold.
        assert!(close(step.bound.as_ns(), 16_000.0), "{step:?}");
    }
    assert_eq!(keep.bytes(TransferClass::Stage), 2 * 3_000_000);
    assert_eq!(keep.bytes(TransferClass::WeightRead), 2 * 4_000_000);
    // Kernels reach half of HBM's bandwidth; the copy is none.
    let reaches = vec![weights(0.5)];
    let found = steps(&with(config.clone(), RuntimeConfig { reaches, ..staged(5_000) }));
    assert!(close(found[0].0, 4.0 + 4.0 + 8.0 + 4.0), "{found:?}");
    // A summary shows the class only where it is used.
    let summary = |config: &ScenarioConfig| {
        let scenario = Scenario::new(config.clone()).unwrap();
        let mut recorder = tiersim::metrics::Recorder::new(&scenario);
        let outcome = tiersim::simulation::run(&scenario, &mut recorder).unwrap();
        serde_json::to_value(recorder.finish(&scenario, &outcome).summary).unwrap()
    };
    let (with_copies, without) = (summary(&with(config.clone(), staged(5_000))), summary(&config));
    assert_eq!(with_copies["transfers"]["Stage"]["bytes"]["hbm"].as_u64(), Some(6_000_000));
    assert_eq!(with_copies["lanes"]["hbm.bus"]["bytes_by_class"]["Stage"].as_u64(), Some(6_000_000));
    assert_eq!(with_copies["capacity_bytes"]["hbm"].as_u64(), Some(1_000_000));
    assert!(!without.to_string().contains("Stage\""));
    let refused = |runtime: RuntimeConfig| Scenario::new(with(config.clone(), runtime)).unwrap_err().to_string();
    let message = refused(staged(1 << 40));
    assert!(message.contains("reads.external.buffer") && message.contains("write less"), "{message}");
    let on_copy = ReachConfig { tier: Some("external".to_owned()), ..weights(0.5) };
    let message = refused(RuntimeConfig { reaches: vec![on_copy], ..staged(1) });
    assert!(message.contains("reaches[0].tier") && message.contains("copied"), "{message}");
}

/// Llama-3-70B in BF16 (139 GB, of which 56.9 GB do not fit) on a GH200: HBM at 3615 GB/s, LPDDR5X
/// over a link of 375 GB/s.
#[test]
fn seventy_billion_parameters_on_a_gh200() {
    let mut config = small(80, (300_000_000, 1_437_500_000), 0, 82_100_000_000, 0, 1);
    let tiers = &mut memory(&mut config).tiers;
    tiers[0].bandwidth = bandwidth(3615);
    tiers[1].link_mut().unwrap().read = bandwidth(375);
    let milliseconds = |config: &ScenarioConfig| steps(config)[0].1 / 1000.0;
    assert!((milliseconds(&config) - 151.7).abs() < 0.1);
    let (latency, bound) = steps(&with(config.clone(), serial("external")))[0];
    assert!((bound / 1000.0 - 174.4).abs() < 0.1 && (latency / 1000.0 - 174.4).abs() < 0.1, "{latency} {bound}");
    // Copied first: 56.9 GB over the link in 151.7 ms, then 139 GB from HBM in 38.5.
    memory(&mut config).tiers[0].capacity = Bytes::new(82_100_000_000 + 2_000_000_000);
    let (latency, bound) = steps(&with(config, staged(2_000_000_000)))[0];
    assert!((latency / 1000.0 - 190.2).abs() < 0.1 && close(bound, latency), "{latency} {bound}");
}

#[test]
fn ranks_share_weights_and_shared_tiers() {
    let ranks = RanksConfig { count: 4, all_reduce: microseconds(7.0) };
    let runtime = RuntimeConfig { ranks: Some(ranks), ..RuntimeConfig::default() };
    // 1 and 2 MB over four chips: 0.25 and 0.5 us, and 7 us in each of two stages.
    let mut config = with(one_layer(0, 0), runtime);
    assert!(steps(&config).iter().all(|(latency, _)| close(*latency, 14.75)));
    // Where they share HBM, each reads a quarter at a quarter of its bandwidth.
    memory(&mut config).tiers.truncate(1);
    memory(&mut config).tiers[0].shared_by_ranks = true;
    assert!(steps(&config).iter().all(|(latency, bound)| close(*latency, 17.0) && close(*bound, 17.0)));
    assert_eq!(Scenario::new(config.clone()).unwrap().memory().tiers()[0].capacity, Bytes::new(1 << 28));
    // One chip has no all-reduce.
    let Reference::Inline(runtime) = &mut config.runtime else { panic!("it is spelled out") };
    runtime.ranks = Some(RanksConfig { count: 1, ..ranks });
    assert!(steps(&config).iter().all(|(latency, _)| close(*latency, 3.0)));
}

#[test]
fn the_chip_of_a_runtime_computes_the_flop_of_an_architecture() {
    let text = "(name: \"a\", architecture: (hidden: 64, vocabulary: 1000, tied: false, blocks: [(count: 2, \
        layers: [(attention: Full(heads: 4, kv_heads: 4, head_size: 16), mlp: Dense(intermediate: 256))])]))";
    let model: tiersim::workload::ModelConfig = tiersim::config::parse(text, "a").unwrap();
    let mut config = ScenarioConfig { model: Reference::Inline(model), ..small(1, (1, 1), 0, 1 << 30, 0, 1) };
    let rate = "1 GFLOP/s".parse().unwrap();
    config = with(config, RuntimeConfig { compute: Some(rate), ..RuntimeConfig::default() });
    let found = steps(&config)[0].0;
    // By the scenario's own field it takes as long.
    let mut own = with(config.clone(), RuntimeConfig::default());
    own.compute = Some(tiersim::workload::ComputeConfig { rate, flop_per_weight_byte: None, flop_per_kv_byte: None });
    assert!(close(found, steps(&own)[0].0) && found > 100.0, "{found}");
}

/// The JSON that `tiersim explain` prints of a scenario file.
fn explained(scenario: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.ron"), scenario).unwrap();
    let output = tiersim(folder.path(), &["explain", "s.ron", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const ONE_TIER: &str = "Scenario(name: \"s\", prefill_tokens: 1000, decode_tokens: 10, \
    model: (name: \"m\", layers: [(count: 1, attention: (stored: \"1 MB\"), mlp: (stored: \"2 MB\"), kv_bytes: \"0 B\")]), \
    memory: (name: \"m\", tiers: [(name: \"hbm\", capacity: \"1 GB\", bandwidth: \"1000 GB/s\")]), \
    strategy: \"baseline\"";

#[test]
fn explain_names_fixed_times_and_reach() {
    // A step: 1 us of attention's weights and 2 of mlp's at full reach, 6 at half; 2 x 5 us.
    let runtime = "runtime: (name: \"r\", per_stage: \"5 us\", reaches: [(class: Weights, reach: 0.5)])";
    let found = explained(&format!("{ONE_TIER}, {runtime})"));
    let bound = &found["bound"];
    assert_eq!((bound["fixed_ps"].as_u64(), bound["reach_ps"].as_u64()), (Some(100_000_000), Some(30_000_000)));
    assert_eq!((bound["ideal_ps"].as_u64(), bound["time_ps"].as_u64()), (Some(30_000_000), Some(160_000_000)));
    assert_eq!(found["achieved_ps"].as_u64(), Some(160_000_000));
    assert_eq!(found["waits"]["fixed times"]["time_ps"].as_u64(), Some(100_000_000));
    assert_eq!(found["waits"]["hbm.kernels"]["time_ps"].as_u64(), Some(60_000_000));
    let sentences = found["sentences"].to_string();
    let expected = "Fixed times of the runtime: 10.00 us, kernels that do not reach the full bandwidth: 3.000 us of 16.00 us per step";
    assert!(sentences.contains(expected), "{sentences}");
    let plain = explained(&format!("{ONE_TIER})")).to_string();
    for name in ["NoFixedTimes", "FullReach", "fixed", "reach_ps"] {
        assert!(!plain.contains(name), "{name}: {plain}");
    }
}

#[test]
fn a_summary_has_the_fixed_times_that_stages_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.ron"), format!("{ONE_TIER}, runtime: \"r.ron\")")).unwrap();
    std::fs::write(folder.path().join("r.ron"), "Runtime(name: \"r\", per_stage: \"5 us\")").unwrap();
    let output = tiersim(folder.path(), &["run", "s.ron", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["waits"]["fixed_ns"].as_f64(), Some(100_000.0));
    assert_eq!(summary["waits"]["tiers_ns"]["hbm"].as_f64(), Some(30_000.0));
    assert_eq!(summary["scenario"]["runtime"]["per_stage"].as_str(), Some("5 us"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("runtime: r (5.000 us a stage)"), "{told}");
    assert!(told.contains("r has not been fitted on m: typical values"), "{told}");
    let checked = tiersim(folder.path(), &["check", "r.ron", "s.ron"]).output().unwrap();
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("r.ron: valid: the runtime 'r': 5.000 us a stage"), "{checked}");
    let refused = tiersim(folder.path(), &["run", "s.ron", "--memory", "r.ron"]).output().unwrap();
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("it is a runtime: use it with --runtime r.ron"), "{refused}");
    let swept = ["run", "s.ron", "--vary", "runtime=r.ron,ideal", "--out", "sweep"];
    let swept = tiersim(folder.path(), &swept).output().unwrap();
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
}

#[test]
fn ideal_is_no_runtime() {
    let study = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let all = ["run", "study", "--strategy", "best-ratio", "--decode", "8", "--json"];
        let output = tiersim(folder.path(), &[&all[..], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let plain = study(&[]);
    assert!(!String::from_utf8_lossy(&plain).contains("runtime"));
    assert_eq!(plain, study(&["--runtime", "ideal"]));
    let costly = String::from_utf8(study(&["--set", "runtime.per_stage=1us"])).unwrap();
    assert!(costly.contains("\"per_stage\": \"1 us\""), "{costly}");
}

#[test]
fn a_runtime_is_a_field_of_a_scenario() {
    let mut fields = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    fields.set("runtime.per_step", "7 us".into()).unwrap();
    fields
        .set("runtime.reaches", serde_json::json!([{"class": "Kv", "reach": [["1 KiB", 0.5], ["2 KiB", 1]]}]))
        .unwrap();
    let config = fields.config().unwrap();
    let Reference::Inline(runtime) = &config.runtime else { panic!("it is spelled out") };
    assert_eq!((runtime.per_step, runtime.reaches.len()), (microseconds(7.0), 1));
    let again: ScenarioConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    fields.set("runtime", "ideal".into()).unwrap();
    assert!(fields.set("runtime", "no-such-runtime".into()).is_err());
    assert!(
        !serde_json::to_string(&Scenario::new(fields.config().unwrap()).unwrap().resolved())
            .unwrap()
            .contains("runtime")
    );
}

#[test]
fn bad_runtimes_are_refused_with_field_and_remedy() {
    let refused = |runtime: &str, parts: &[&str]| {
        let config: RuntimeConfig = match tiersim::config::parse(&format!("Runtime(name: \"r\", {runtime})"), "r.ron") {
            Ok(config) => config,
            Err(error) => {
                let message = error.to_string();
                assert!(parts.iter().all(|part| message.contains(part)), "{message}");
                return;
            }
        };
        let scenario = ScenarioConfig { runtime: Reference::Inline(config), ..ScenarioConfig::load("study").unwrap() };
        let message = Scenario::new(scenario).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{runtime}: {message}");
    };
    for value in ["0", "0.0", "1.1", "-1", "NaN", "inf"] {
        refused(&format!("reaches: [(class: Weights, reach: {value})]"), &["reaches[0].reach", "from 0.001 to 1"]);
    }
    refused("reaches: [(class: Kv, reach: [])]", &["reaches[0].reach", "needs a point"]);
    refused(
        "reaches: [(class: Kv, reach: [(\"2 KiB\", 0.5), (\"1 KiB\", 0.6)])]",
        &["reaches[0].reach[1]", "1 KiB follows 2 KiB", "smallest first"],
    );
    refused("reaches: [(class: Kv, reach: [(\"2 KiB\", 1.5)])]", &["reaches[0].reach[0]", "1.5"]);
    refused(
        "reaches: [(class: Weights, tier: \"hmb\", reach: 0.5)]",
        &["reaches[0].tier", "'hmb'", "Did you mean 'hbm'?"],
    );
    refused("reaches: [(class: Wieghts, reach: 0.5)]", &["Wieghts", "Weights"]);
    refused("reaches: [(class: Weights, format: \"q9\", reach: 0.5)]", &["reaches[0].format", "q9"]);
    refused("reaches: [(class: Kv, format: \"q8_0\", reach: 0.5)]", &["reaches[0].format", "leave it out"]);
    refused("per_stage: \"2 s\"", &["per_stage", "2 s", "1 s"]);
    refused("per_stage: \"fast\"", &["per_stage", "fast"]);
    refused("per_stages: \"5 us\"", &["per_stages", "per_stage"]);
}

// ---- Random runtimes ----

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), 0.05f64..1.0]
}

fn by_size() -> impl Strategy<Value = BySize> {
    let points = prop::collection::btree_map(1u64..100_000, share(), 1..4);
    let points = points.prop_map(|points| points.into_iter().map(|(size, share)| (Bytes::new(size), share)).collect());
    prop_oneof![share().prop_map(BySize::Constant), points.prop_map(BySize::Points)]
}

prop_compose! {
    fn rule()(
        class in prop::sample::select(vec![ReachClass::Weights, ReachClass::Kv]),
        external: bool,
        of_format: bool,
        reach in by_size(),
    ) -> ReachConfig {
        let format = (of_format && class == ReachClass::Weights).then(|| "q4_k".parse().unwrap());
        ReachConfig { class, format, tier: external.then(|| "external".to_owned()), reach }
    }
}

prop_compose! {
    fn runtime()(
        per_stage in 0u64..20_000,
        per_sequence in prop_oneof![Just(0u64), 0u64..1_000],
        per_step in prop_oneof![Just(0u64), 0u64..100_000],
        reaches in prop::collection::vec(rule(), 0..5),
        ways in prop::array::uniform2(0u8..5),
        (ahead, buffer, chunk) in (0u32..12, 100u64..100_000, prop::option::of(10u64..100)),
        ranks in prop_oneof![Just(1u32), 1u32..4],
        (left_of, factor) in (prop::option::of(share()), prop::option::of(1.0f64..5.0)),
    ) -> RuntimeConfig {
        let way = |way: u8| match way {
            0 => ReadsConfig::Direct,
            1 => ReadsConfig::Serial,
            2 => ReadsConfig::Staged { buffer: Bytes::new(1_000), ahead: 0, chunk: None },
            _ => {
                let chunk = chunk.map(|percent| Bytes::new(buffer * percent / 100));
                ReadsConfig::Staged { buffer: Bytes::new(buffer), ahead, chunk }
            }
        };
        let reads = ["external", "third"].into_iter().zip(ways.map(way));
        let reads = reads.map(|(tier, way)| (tier.to_owned(), way)).collect();
        let ranks = Some(RanksConfig { count: ranks, all_reduce: SimTime::from_ps(1_000) });
        let [per_stage, per_sequence, per_step] = [per_stage, per_sequence, per_step].map(SimTime::from_ps);
        let left = |left| InterferenceConfig { tier: "external".to_owned(), left: BySize::Constant(left), in_flight: None };
        let interference = left_of.map(left).into_iter().collect();
        let amplified = |class| {
            let factors = |factor| AmplificationConfig { tier: "external".to_owned(), class, factors: vec![(1, factor)] };
            factor.map(factors)
        };
        let amplification = [ReachClass::Weights, ReachClass::Kv].into_iter().filter_map(amplified).collect();
        RuntimeConfig {
            per_stage,
            per_sequence,
            per_step,
            reaches,
            reads,
            ranks,
            interference,
            amplification,
            ..RuntimeConfig::default()
        }
    }
}

prop_compose! {
    fn any_strategy()(
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
    ) -> Parts {
        Parts { initialization, placement, migration, ..Parts::REFERENCE }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_run_beats_its_bound(
        runtime in runtime(),
        strategy in any_strategy(),
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        tiers in 1usize..4,
        room in 1u64..100,
        external in prop_oneof![Just(100u64), 30u64..100],
        tokens in (0u32..40, 1u32..10),
        skip in 0u32..=1000,
        weight_prefetch in 0u32..3,
        two_formats: bool,
    ) {
        let mut config = small(2, (20_000, 50_000), 1_000, 0, tokens.0, tokens.1);
        let Reference::Inline(model) = &mut config.model else { panic!("it is spelled out") };
        model.layers[0].mlp.format = two_formats.then(|| "q4_k".parse().unwrap());
        config.trace = skipping(skip, 300, 1);
        config.weight_prefetch = weight_prefetch;
        config.strategy = strategy;
        let all = 2 * (70_000 + 1_000 * u64::from(tokens.0 + tokens.1));
        let system = memory(&mut config);
        system.arbitration = arbitration;
        let third = tiersim::memory::TierConfig { bandwidth: bandwidth(100), name: "third".to_owned(), ..system.tiers[1].clone() };
        system.tiers.push(third);
        system.tiers.truncate(tiers);
        system.tiers[0].capacity = Bytes::new(if tiers == 1 { 10 * all } else { 1 + all * room / 100 });
        if tiers > 1 {
            // Enough for all, or so little that what it cannot hold must be on HBM.
            system.tiers[1].capacity = Bytes::new(all * external / 50);
        }
        let mut runtime = runtime;
        if tiers == 1 {
            (runtime.interference, runtime.amplification) = (Vec::new(), Vec::new());
            runtime.reaches.iter_mut().for_each(|rule| rule.tier = None);
        }
        if arbitration == Arbitration::Fifo {
            runtime.interference.clear();
        }
        let names = ["external", "third"];
        names.iter().skip(tiers - 1).for_each(|name| {
            runtime.reads.remove(*name);
        });
        let Ok(scenario) = Scenario::new(with(config, runtime)) else { return Ok(()) };
        let mut keep = Keep::default();
        // A layout may not fit, or memory may run out: what was simulated counts.
        let Ok(outcome) = tiersim::simulation::run(&scenario, &mut keep) else { return Ok(()) };
        for step in &keep.steps {
            prop_assert!(step.latency >= step.bound, "{step:?}");
        }
        if outcome.error.is_none() {
            prop_assert_eq!(outcome.issued, accounted(&outcome));
        }
    }
}
