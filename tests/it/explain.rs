//! `tiersim explain`: why a run is as slow as it is.
//!
//! The ladder idealizes one cause after the other and attributes the loss to them; waits are
//! attributed to the tier or to compute. Both are compared with figures by hand and with a slow
//! twin, and what must always hold of them is tried on random runs. The last tests run the command.

use crate::common::program::{binary, tiersim};
use crate::common::properties::cases;
use crate::common::runs::{self, BASELINE, BEST_RATIO, Keep, bandwidth, memory, skipping, small};
use crate::common::schema::violations;
use crate::common::{config as memory_of, lay, tier};
use proptest::prelude::*;
use serde_json::Value;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use tempfile::TempDir;
use tiersim::explain::{Explanation, Ladder};
use tiersim::kernel::Calendar;
use tiersim::memory::{
    Arbitration, Bottleneck, ClassWeights, Completed, Duplex, Fabric, Interleaving, LinkConfig, MemorySystem, Pattern,
    PerClass, Reach, Request, ResidencyKind, TransferClass, Urgency,
};
use tiersim::metrics::WaitRecorder;
use tiersim::runs::{Cancel, Resources, RunsError, Silent};
use tiersim::simulation::{Ends, Ideal, Idealization, Probe, Scenario, ScenarioConfig, StepRecord, Waits, run};
use tiersim::units::{Bytes, SimTime, Step};
use tiersim::workload::ComputeConfig;

/// Enough for all of these.
fn resources(threads: usize) -> Resources {
    Resources { threads, memory: Bytes::new(1 << 30) }
}

fn climb_on(scenario: &Scenario, threads: usize, cancelled: bool) -> Result<Ladder, RunsError> {
    tiersim::runs::climb(scenario, resources(threads), &Cancel::new(cancelled), &Silent)
}

fn climb(scenario: &Scenario) -> Ladder {
    climb_on(scenario, 1, false).unwrap()
}

fn explain(config: &ScenarioConfig) -> Explanation {
    let scenario = Scenario::new(config.clone()).unwrap();
    climb(&scenario).explanation(&scenario).unwrap()
}

fn cost<'a>(explanation: &'a Explanation, name: &str) -> &'a tiersim::explain::Cost {
    explanation.costs.iter().find(|cost| cost.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// One layer of 4000 B of weights on HBM, which they fill (1000 GB/s), and KV of 1000 B a token
/// behind a link of 250 GB/s.
fn by_hand() -> ScenarioConfig {
    small(1, (4000, 0), 1000, 4000, 2, 2)
}

#[test]
fn waits_by_hand() {
    let scenario = Scenario::new(by_hand()).unwrap();
    let mut waits = WaitRecorder::new(scenario.memory());
    run(&scenario, &mut waits).unwrap();
    // Step 0: 4 ns of weights on HBM, 8 ns of two tokens over the link. Step 1 reads three tokens,
    // the last of which is being written for 4 ns first: 4 + 12.
    let ns = |ns: u64| SimTime::from_ps(1000 * ns);
    assert_eq!(waits.total(1), [("external.link.read", ns(8))]);
    assert_eq!(waits.total(2), [("external.link.read", ns(20)), ("pending write", ns(4))]);
    let carried = waits.of_step(1)[0].carried;
    assert_eq!(
        carried.map(f64::round).iter().map(|(_, it)| *it).collect::<Vec<_>>(),
        [0.0, 3000.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    );
}

#[test]
fn compute_and_latencies_are_waited_for() {
    let mut config = by_hand();
    config.decode_tokens = 1;
    memory(&mut config).tiers[1].latency = SimTime::from_ps(1500);
    let waits = |config: &ScenarioConfig| {
        let scenario = Scenario::new(config.clone()).unwrap();
        let mut waits = WaitRecorder::new(scenario.memory());
        run(&scenario, &mut waits).unwrap();
        waits.total(1).into_iter().map(|(cause, time)| (cause.to_owned(), time.as_ps())).collect::<Vec<_>>()
    };
    let named = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, ps)| ((*name).to_owned(), *ps)).collect::<Vec<_>>();
    assert_eq!(waits(&config), named(&[("external.link.read", 8000), ("latency", 1500)]));
    // 6000 B at 2 FLOP each and 1 TFLOP/s are 12 ns, longer than all reads; 9.5 ns at 1.583, as
    // long: the read counts.
    config.compute = Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: Some(2.0),
        flop_per_kv_byte: Some(2.0),
    });
    assert_eq!(waits(&config), named(&[("compute", 12_000)]));
    config.compute.as_mut().unwrap().flop_per_weight_byte = Some(1.375);
    assert_eq!(waits(&config), named(&[("external.link.read", 8000), ("latency", 1500)]));
    config.compute = None;
    memory(&mut config).tiers[1].transfer_cap = Some(bandwidth(100));
    assert_eq!(waits(&config), named(&[("transfer cap", 20_000), ("latency", 1500)]));
    memory(&mut config).arbitration = Arbitration::Fifo;
    assert_eq!(waits(&config), named(&[("transfer cap", 20_000), ("latency", 1500)]));
}

#[test]
fn the_ladder_by_hand() {
    let explanation = explain(&by_hand());
    // The writes cost the 4 ns of the read that awaits one. Then 8 + 12 ns: the bound, as HBM holds
    // the weights and nothing else; its layout is the same. With room for all in HBM, the bound's
    // layout has the weights and one of the two tokens there, and the new token joins them: 5 + 6
    // ns. Both tiers together would take 6000 and 7000 B at 1250 GB/s: 4.8 + 5.6 ns. So 0.6 ns are
    // placement's (tokens are whole), and scarce HBM costs the strategy as much less than the best
    // placement.
    assert_eq!(explanation.achieved_ps, 24_000);
    assert_eq!((explanation.bound.time_ps, explanation.loss_ps), (20_000, 4000));
    let costs: Vec<(&str, i64)> = explanation.costs.iter().map(|cost| (cost.name.as_str(), cost.loss_ps)).collect();
    assert_eq!(costs, [("FreeWrites", 4000), ("BoundLayout", 0), ("AmpleHbm", -600), ("Placement", 600)]);
    assert_eq!(
        (explanation.bound.ideal_ps, explanation.bound.pages_ps, explanation.bound.capacity_ps),
        (10_400, 0, 9600)
    );
    assert_eq!(cost(&explanation, "FreeWrites").waits_ps.0, [("pending write".to_owned(), 4000)]);
    let hbm = &cost(&explanation, "AmpleHbm").waits_ps.0;
    assert_eq!(*hbm, [("external.link.read".to_owned(), 20_000), ("hbm.bus".to_owned(), -11_000)]);
    assert_eq!(
        explanation.without_effect,
        ["FreeMigration", "NoLosses", "NoLimits", "EvenChannels", "NoLatencies", "SingleTokens"]
    );
    assert!(
        explanation.sentences[0].contains("1.2000 times the bound: the loss is 4.000 ns"),
        "{:?}",
        explanation.sentences
    );
}

#[test]
fn migration_is_what_is_lost_to_it() {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.decode_tokens = 300;
    config.trace = skipping(400, 30, 1);
    config.strategy = BEST_RATIO;
    let explanation = explain(&config);
    let migration = cost(&explanation, "FreeMigration");
    assert!(migration.share.unwrap() > 0.9, "{migration:?}");
    // The run without it is a run of its own: as one with all moves free.
    let scenario = Scenario::new(config).unwrap();
    let free = scenario.idealized(Idealization::NONE.with(Ideal::FreeMigration)).unwrap();
    let mut keep = Keep::default();
    let outcome = run(&free, &mut keep).unwrap();
    assert_eq!(explanation.achieved_ps as i64 - outcome.simulated.as_ps() as i64, migration.loss_ps);
    // It still happens: tokens move, over no lane.
    assert!(keep.steps.iter().any(|step| step.migrated.0 > 0 && step.migrated.1 > 0));
    assert_eq!(keep.bytes(TransferClass::MigrateIn) + keep.bytes(TransferClass::MigrateOut), 0);
    assert_eq!(keep.steps.iter().map(|step| step.late).sum::<u64>(), 0);
}

/// The twin: waits by tier, computed from the transfers only. A stage waits for the tier of the
/// read that was complete last; of reads that end together, for that of weights, then for that of
/// the faster tier.
#[derive(Default)]
struct ByTier {
    reads: Vec<(SimTime, TransferClass, usize)>,
    began: SimTime,
    waited: Vec<u64>,
}

impl Probe for ByTier {
    fn begin_step(&mut self, _step: Step, now: SimTime) {
        self.began = now;
    }

    fn transfer<Tag>(&mut self, it: &Completed<Tag>, ends: Ends) {
        if matches!(it.class, TransferClass::WeightRead | TransferClass::KvRead) {
            self.reads.push((it.finished, it.class, ends.tier().index()));
        }
    }

    fn watches_waits(&self) -> bool {
        true
    }

    // Reported here only when stages end.
    fn waits(&mut self, now: SimTime, waits: &Waits<'_>) {
        if waits.reads.is_empty() && now > self.began {
            let last = self.reads.iter().filter(|read| read.0 == now).map(|read| (read.1, read.2)).min().unwrap();
            self.waited.resize(self.waited.len().max(last.1 + 1), 0);
            self.waited[last.1] += (now - self.began).as_ps();
            self.began = now;
            self.reads.clear();
        }
    }
}

/// Every step's waits add up to its latency, to the picosecond.
struct AddUp(WaitRecorder);

impl AddUp {
    fn check(&self) {
        for step in 0..self.0.steps() {
            let sum: SimTime = self.0.of_step(step).iter().map(|wait| wait.time).sum();
            assert_eq!(sum, self.0.times(step).0, "step {step}");
        }
    }
}

fn scenarios() -> impl Strategy<Value = ScenarioConfig> {
    let machine = (0usize..3, any::<bool>(), any::<bool>(), 0u64..3, any::<bool>(), any::<bool>(), any::<bool>());
    let work = (1u32..4, 0u64..5000, 0u64..5000, 1u64..400, 0u32..40, 1u32..24, 0u32..800, 0u32..1000);
    let rest = (4000u64..60_000, 0usize..4, any::<bool>(), 0u32..3, 1u32..5, any::<u64>());
    (machine, work, rest).prop_map(|(machine, work, rest)| {
        let (arbitration, hashed, losses, latency, limits, inclusive, full) = machine;
        let (layers, attention, mlp, kv, prefill, decode, skip, churn) = work;
        let (hbm, strategy, computes, prefetch, page_tokens, seed) = rest;
        let mut config = small(layers, (attention, mlp), kv, hbm, prefill, decode);
        config.trace = skipping(skip, churn.min(skip), seed);
        config.strategy = [BASELINE, BEST_RATIO, BEST_RATIO, BEST_RATIO][strategy];
        config.weight_prefetch = prefetch;
        config.page_tokens = if page_tokens == 4 { 1 } else { page_tokens };
        config.compute = computes.then(|| ComputeConfig {
            rate: "1 TFLOP/s".parse().unwrap(),
            flop_per_weight_byte: Some(1.0),
            flop_per_kv_byte: Some(2.0),
        });
        let memory = memory(&mut config);
        memory.arbitration = [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo][arbitration];
        memory.residency = if inclusive { ResidencyKind::Inclusive } else { ResidencyKind::Exclusive };
        if hashed {
            memory.tiers[0].channels = 4;
            memory.tiers[0].interleaving = Interleaving::Hashed { page_tokens: 1 };
        }
        if losses {
            let preset = tiersim::catalog::efficiency("hbm3-6400").unwrap();
            memory.tiers[0].efficiency = Some(preset.into());
        }
        memory.tiers[1].latency = SimTime::from_ps(700 * latency);
        if limits {
            memory.tiers[1].transfer_cap = Some(bandwidth(200));
            memory.tiers[1].max_transfers = Some(2);
        }
        if full {
            memory.tiers[1].duplex = Duplex::Full;
        }
        config
    })
}

proptest! {
    #![proptest_config(cases(80))]

    /// The costs add up to the loss exactly, no run of the ladder beats its own bound, and waits
    /// add up to times.
    #[test]
    fn the_steps_add_up(config in scenarios()) {
        let Ok(scenario) = Scenario::new(config) else { return Ok(()) };
        let ladder = match climb_on(&scenario, 1, false) {
            Ok(ladder) => ladder,
            // Whole pages may not fit.
            Err(_) => return Ok(()),
        };
        for run in &ladder.runs {
            AddUp(run.waits.clone()).check();
            for step in 0..run.waits.steps() {
                let (latency, bound) = run.waits.times(step);
                prop_assert!(latency >= bound, "{:?}, step {step}: {latency} beats {bound}", run.idealized);
            }
        }
        let Ok(explanation) = ladder.explanation(&scenario) else { return Ok(()) };
        let sum: i64 = explanation.costs.iter().map(|cost| cost.loss_ps).sum();
        prop_assert_eq!(sum, explanation.loss_ps);
        prop_assert_eq!(explanation.loss_ps, explanation.achieved_ps as i64 - explanation.bound.time_ps as i64);
        let bound = &explanation.bound;
        prop_assert_eq!(bound.ideal_ps as i64 + bound.pages_ps + bound.capacity_ps, bound.time_ps as i64);
        prop_assert!(explanation.costs.last().unwrap().loss_ps >= 0);
        let times = explanation.costs.iter().map(|cost| cost.time_ps as i64).chain([0]).collect::<Vec<_>>();
        for (index, cost) in explanation.costs.iter().enumerate() {
            let waits: i64 = cost.waits_ps.0.iter().map(|(_, time)| time).sum();
            prop_assert_eq!(waits, times[index] - times[index + 1], "{}", cost.name);
        }
        let waited: u64 = explanation.waits.0.iter().map(|(_, wait)| wait.time_ps).sum();
        prop_assert_eq!(waited, explanation.achieved_ps);
        let threads = climb_on(&scenario, 3, false).unwrap().explanation(&scenario).unwrap();
        prop_assert_eq!(serde_json::to_string(&threads).unwrap(), serde_json::to_string(&explanation).unwrap());
    }

    /// A run with everything idealized still accounts for its bytes: no tier above its capacity,
    /// nothing issued that is not complete, every token read from one tier.
    #[test]
    fn an_ideal_run_obeys_the_rules(config in scenarios()) {
        let Ok(scenario) = Scenario::new(config) else { return Ok(()) };
        let Ok(ideal) = scenario.idealized(Ideal::ALL.into_iter().collect()) else { return Ok(()) };
        let mut keep = Keep::default();
        let outcome = run(&ideal, &mut keep).unwrap();
        for (tier, peak) in ideal.memory().tiers().iter().zip(&outcome.peak) {
            prop_assert!(*peak <= tier.capacity);
        }
        prop_assert_eq!(outcome.issued, outcome.completed);
        prop_assert_eq!(outcome.drained, outcome.simulated);
        for class in [TransferClass::KvWrite, TransferClass::MigrateIn, TransferClass::MigrateOut] {
            prop_assert_eq!(keep.bytes(class), 0);
        }
        let read = |step: &runs::Kept| step.attention_read.iter().chain(&step.mlp_read).sum::<u64>();
        let of_steps: u64 = keep.steps.iter().map(read).sum();
        prop_assert_eq!(of_steps, keep.bytes(TransferClass::WeightRead) + keep.bytes(TransferClass::KvRead));
        prop_assert_eq!(ideal.idealized(Idealization::NONE).unwrap().idealization(), ideal.idealization());
    }

    /// Waits by tier agree with the slow twin.
    #[test]
    fn waits_are_those_of_the_last_read(config in scenarios()) {
        let mut config = config;
        config.compute = None;
        config.weight_prefetch = 0;
        let Ok(scenario) = Scenario::new(config) else { return Ok(()) };
        // A read that awaits a write waits for no tier yet.
        let scenario = scenario.idealized(Idealization::NONE.with(Ideal::FreeWrites)).unwrap();
        let scenario = scenario.idealized([Ideal::NoLatencies, Ideal::NoLimits].into_iter().collect()).unwrap();
        let mut probe = (WaitRecorder::new(scenario.memory()), ByTier::default());
        let outcome = run(&scenario, &mut probe).unwrap();
        let (waits, twin) = probe;
        AddUp(waits.clone()).check();
        let mut by_tier = [0u64; 2];
        for (cause, time) in waits.total(waits.steps()) {
            by_tier[usize::from(cause.starts_with("external"))] += time.as_ps();
        }
        let mut expected = [0u64; 2];
        for (tier, time) in twin.waited.iter().enumerate() {
            expected[tier] = *time;
        }
        // A run that ends early has waited in a step that it did not end.
        if outcome.error.is_none() {
            prop_assert_eq!(by_tier, expected);
        }
    }

    /// The lane that holds a transfer up is a bottleneck as max-min fairness defines it: it is
    /// full, and nobody on it gets more for his weight (Bertsekas and Gallager, Data Networks,
    /// 6.5.2).
    #[test]
    fn a_lane_that_limits_is_full_and_gives_nobody_more(
        routes in prop::collection::vec((0usize..8, 1u64..1_000_000), TransferClass::COUNT),
        bandwidths in (100u64..2000, 50u64..1000, 20u64..600, 20u64..600),
        weights in prop::collection::vec(1u32..6, 5),
    ) {
        let (hbm, external, read, write) = bandwidths;
        let class_weights = ClassWeights {
            weight_read: weights[0], kv_read: weights[1], kv_write: weights[2], migrate_in: weights[3], migrate_out: weights[4],
        };
        let mut slow = tier("external", bandwidth(external));
        slow.link = Some(LinkConfig::new(bandwidth(read), bandwidth(write)).into());
        let config = memory_of(Arbitration::Fair, class_weights.clone(), vec![tier("hbm", bandwidth(hbm)), slow]);
        let system: MemorySystem = lay(&config);
        let mut fabric = Fabric::new(&system);
        let mut calendar = Calendar::with_capacity(16);
        let mut held = Vec::new();
        for (class, (route, bytes)) in TransferClass::ALL.into_iter().zip(&routes) {
            let route = system.routes().nth(*route).unwrap();
            // A move within a tier is none.
            if system.tier_ids().flat_map(|tier| system.ports(tier)).any(|port| system.move_route(port, port) == route) {
                continue;
            }
            fabric.issue(SimTime::ZERO, Request {
                class,
                path: tiersim::memory::Path::Route(route),
                bytes: Bytes::new(*bytes),
                granule: Bytes::new(*bytes),
                pattern: Pattern::Streams,
                urgency: Urgency::Due,
                reach: Reach::FULL,
                tag: route,
            });
            held.push((class, system.route(route)));
        }
        fabric.settle(&mut calendar);
        let mut rates = vec![PerClass::filled(0.0); system.lanes().len()];
        fabric.add_class_rates(SimTime::ZERO, &mut rates);
        prop_assert_eq!(fabric.in_progress().count(), held.len());
        for transfer in fabric.in_progress() {
            let Bottleneck::Lane(lane) = transfer.bottleneck else { return Err(TestCaseError::fail("no lane")) };
            let lanes = system.route(transfer.tag);
            prop_assert!(lanes.iter().any(|hold| hold.lane == lane));
            let all: f64 = rates[lane.index()].values().sum();
            let capacity = system.lanes()[lane.index()].whole.as_f64();
            prop_assert!(all >= capacity * (1.0 - 1e-9), "{all} of {capacity}");
            let level = |class: TransferClass| rates[lane.index()][class] / f64::from(class_weights.of(class));
            for class in TransferClass::ALL {
                prop_assert!(level(class) <= level(transfer.class) * (1.0 + 1e-9));
            }
        }
    }
}

#[test]
fn steps_of_an_interrupted_ladder_are_not_told() {
    let scenario = Scenario::new(by_hand()).unwrap();
    let interrupted = climb_on(&scenario, 2, true);
    assert!(interrupted.unwrap_err().to_string().contains("interrupted"));
}

/// A probe that is asked for nothing costs nothing and changes nothing.
#[test]
fn watching_changes_nothing() {
    struct Latencies(Vec<SimTime>);
    impl Probe for Latencies {
        fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
            self.0.push(step.latency);
            ControlFlow::Continue(())
        }
    }
    let mut config = ScenarioConfig::load("study").unwrap();
    config.decode_tokens = 50;
    config.trace = skipping(400, 30, 1);
    let scenario = Scenario::new(config).unwrap();
    let mut plain = Latencies(Vec::new());
    let outcome = run(&scenario, &mut plain).unwrap();
    let mut watched = (Latencies(Vec::new()), WaitRecorder::new(scenario.memory()));
    let same = run(&scenario, &mut watched).unwrap();
    assert_eq!(plain.0, watched.0.0);
    assert_eq!(outcome.events, same.events);
}

fn message(folder: &Path, args: &[&str], code: i32) -> String {
    let output = tiersim(folder, args).assert().code(code).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn explained(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("explain.json")).unwrap()).unwrap()
}

const SHORT: [&str; 4] = ["--decode", "40", "--skip", "40%"];

#[test]
fn a_runs_folder_is_explained_within_it() {
    let place = TempDir::new().unwrap();
    let folder = place.path().join("mine");
    tiersim(place.path(), &[&["run", "study", "--strategy", "best-ratio"], &SHORT[..], &["--out", "mine"]].concat())
        .assert()
        .success();
    // The run's page leads to no explanation that is not there; the explanation leads to the run's
    // page.
    assert!(!fs::read_to_string(folder.join("report.html")).unwrap().contains("href=\"explain.html\""));
    let output = tiersim(place.path(), &["explain", "mine"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    for part in ["| bound ", "| migration ", "| achieved ", "hbm.bus", "times the bound", "Of no effect here"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let explanation = explained(&folder);
    let summary: Value = serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    assert_eq!(explanation["scenario"], summary["scenario"]);
    let schema: Value = serde_json::from_str(include_str!("../../src/report/explain.schema.json")).unwrap();
    assert_eq!(violations(&schema, &explanation), [""; 0]);
    assert_eq!(explanation["achieved_ps"].as_f64().unwrap() / 1000.0, summary["simulated_ns"].as_f64().unwrap());
    // The costs add up in the file, too.
    let costs = explanation["costs"].as_array().unwrap();
    let sum: i64 = costs.iter().map(|cost| cost["loss_ps"].as_i64().unwrap()).sum();
    assert_eq!(sum, explanation["loss_ps"].as_i64().unwrap());
    let rows = fs::read_to_string(folder.join("explain.csv")).unwrap();
    assert!(rows.starts_with("step,latency_ns,bound_ns,"), "{rows}");
    assert_eq!(rows.lines().count(), 41);
    for picture in ["explain_ladder", "explain_waits"] {
        assert!(fs::read(folder.join(picture).with_extension("png")).unwrap().starts_with(b"\x89PNG"));
        assert!(fs::read_to_string(folder.join(picture).with_extension("svg")).unwrap().contains("<svg"));
    }
    let page = fs::read_to_string(folder.join("explain.html")).unwrap();
    assert!(page.contains("href=\"report.html\""));
    assert!(page.contains("times the bound") && page.contains("data:image/svg+xml;base64,"));
    // Each row of the ladder has its own line; the bound is a time with a unit, and no cost.
    let ladder = fs::read_to_string(folder.join("explain_ladder.svg")).unwrap();
    let bound = explanation["bound"]["time_ps"].as_i64().unwrap();
    let shown = SimTime::from_ps(bound as u64).rounded();
    assert!(ladder.contains(">bound</text>") && ladder.contains(&format!(">{shown}</text>")), "{shown}: {ladder}");
    assert!(!ladder.contains(&format!(">+{shown}")));
    // By its summary, it is the same; another run there takes the explanation away.
    let before = fs::read(folder.join("explain.json")).unwrap();
    fs::remove_file(folder.join("explain.json")).unwrap();
    tiersim(place.path(), &["explain", "mine/summary.json", "--jobs", "1"]).assert().success();
    assert_eq!(fs::read(folder.join("explain.json")).unwrap(), before);
    tiersim(place.path(), &[&["run", "study", "--strategy", "best-ratio"], &SHORT[..], &["--out", "mine"]].concat())
        .assert()
        .success();
    assert!(!folder.join("explain.json").exists() && !folder.join("explain_waits.png").exists());
    // Changed, it is another run, with another folder.
    tiersim(place.path(), &["explain", "mine", "--skip", "20%"]).assert().success();
    assert!(!folder.join("explain.json").exists());
    assert_eq!(explained(&place.path().join("out/explain/study,decode=40,skip=0.2/best-ratio"))["steps"], 40);
}

#[test]
fn several_strategies_are_explained_in_a_folder_each() {
    let place = TempDir::new().unwrap();
    let args = [
        &["explain", "study"],
        &SHORT[..],
        &["--strategy", "baseline", "--strategy", "best-ratio", "--json", "--out", "both"],
    ];
    let output = tiersim(place.path(), &args.concat()).assert().success().get_output().stdout.clone();
    let all: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(all[0], explained(&place.path().join("both/baseline")));
    assert_eq!(all[1]["strategy"], "best-ratio");
}

#[test]
fn a_run_out_of_memory_is_explained_up_to_there() {
    let place = TempDir::new().unwrap();
    let capacities = [
        "--set",
        "memory.hbm.capacity=1GiB",
        "--set",
        "memory.external.capacity=1040MiB",
        "--out",
        "out",
        "--strategy",
        "baseline",
    ];
    let text = message(place.path(), &[&["explain", "study", "--decode", "64"], &capacities[..]].concat(), 1);
    assert!(text.contains("incomplete: baseline, as it is: step 16"), "{text}");
    let explanation = explained(&place.path().join("out"));
    assert_eq!((explanation["complete"].as_bool(), explanation["steps"].as_u64()), (Some(false), Some(16)));
    let none = ["--set", "memory.hbm.capacity=1GiB", "--set", "memory.external.capacity=1048640KiB", "--out", "none"];
    let text = message(place.path(), &[&["explain", "study", "--decode", "64"], &none[..]].concat(), 1);
    assert!(text.contains("there is no step to explain") && text.contains("fits nowhere"), "{text}");
    assert!(!place.path().join("none/explain.json").exists());
}

#[test]
fn bad_input_is_refused() {
    let place = TempDir::new().unwrap();
    fs::create_dir(place.path().join("empty")).unwrap();
    for (args, part) in [
        (&["explain", "nosuch"][..], "nosuch"),
        (&["explain", "empty"], "is not the folder of a run: it has no summary.json"),
        (&["explain", "study", "--timeline", "3"], "--timeline is for `tiersim run`"),
        (&["explain", "study", "--strategy", "worst"], "worst"),
        (&["explain", "study", "--set", "memory.hbm.capacity=0B"], "memory.hbm.capacity"),
        (&["explain", "study", "--jobs", "0"], "--jobs"),
        (&["explain", "study", "--prefill", "9000000", "--decode", "1"], "prefill_tokens"),
        (&["schema", "nosuch"], "nosuch"),
    ] {
        let text = message(place.path(), args, 2);
        assert!(text.contains(part), "{args:?}: {text}");
    }
    assert!(!place.path().join("out").exists());
}

#[cfg(unix)]
#[test]
fn an_interruption_writes_nothing() {
    let place = TempDir::new().unwrap();
    let mut child = std::process::Command::new(binary())
        .current_dir(place.path())
        .args(["explain", "study", "--decode", "200000", "--out", "here"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !place.path().join("here").is_dir() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(place.path().join("here")).unwrap().count(), 0);
}
