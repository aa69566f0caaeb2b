//! What every strategy keeps to, and how a strategy outside the crate is written.
//!
//! Capacity, conservation and the bound are tested for every part in `decode::properties`. Here are
//! the budget of moves, what a part sees of the skip sets, and single strategies on cases with
//! known figures.

use crate::common::properties::{CASES, cases};
use crate::common::runs::{self, Keep, carry_out, small};
use proptest::prelude::*;
use std::sync::Arc;
use tiersim::config::Reference;
use tiersim::memory::TierId;
use tiersim::simulation::{Scenario, ScenarioConfig, run_with};
use tiersim::strategy::{
    Future, InitializationKind, Late, Migration, MigrationKind, MigrationView, MovePlan, Parts, Past, Placement,
    PlacementKind, PlacementView, Strategy as Named,
};
use tiersim::units::{Page, Ratio};
use tiersim::workload::{Generator, GeneratorConfig, SkipSource, StepSkips, StoredSkips, TraceConfig, TraceError};

/// The skip sets of one generator up to a step, of another one from there on.
struct Turns {
    first: Generator,
    then: Generator,
    at: usize,
    step: usize,
}

impl SkipSource for Turns {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let mut other = skips.clone();
        self.first.next_step(context, skips)?;
        self.then.next_step(context, &mut other)?;
        if self.step >= self.at {
            skips.clone_from(&other);
        }
        self.step += 1;
        Ok(())
    }
}

fn any_strategy() -> impl Strategy<Value = Named> {
    (
        prop::sample::select(InitializationKind::ALL),
        prop::sample::select(PlacementKind::ALL),
        prop::sample::select(MigrationKind::ALL),
        prop::sample::select(vec![None, Some("0B"), Some("700B"), Some("20kB"), Some("30%")]),
        prop::sample::select(vec![Late::Finish, Late::Drop]),
    )
        .prop_map(|(initialization, placement, migration, budget, late)| Named {
            initialization,
            placement,
            migration,
            budget: budget.map(|budget| budget.parse().unwrap()),
            prefetch: None,
            late,
            ..Named::REFERENCE
        })
}

fn with_skips(scenario: &Scenario, source: &mut dyn SkipSource, layers: usize) -> Keep {
    let (prefill, decode) = (scenario.prefill(), scenario.decode());
    let stored = StoredSkips::of(source, layers, prefill, decode).unwrap();
    carry_out(&scenario.clone().with_stored_skips(Arc::new([Some(Arc::new(stored))].into_iter().collect()))).1
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// A trace that differs only beyond what a strategy sees changes nothing before: it knows no
    /// more than it declares.
    #[test]
    fn nobody_knows_more_than_they_declare(
        strategy in any_strategy(), layers in 1usize..4, prefill in 1usize..80, decode in 2usize..40, fill in 20u64..130,
        skip in 0u32..=900, churn in 0u32..=500, seeds: (u64, u64), turn in 0usize..40,
    ) {
        let all = layers as u64 * (8_000 + (prefill + decode) as u64 * 500);
        let mut config = small(layers as u32, (4_000, 4_000), 500, all * fill / 100, prefill as u32, decode as u32);
        config.strategy = strategy;
        let scenario = Scenario::new(config).unwrap();
        let generator = |seed: u64| {
            let (skip, churn) = (Ratio::from_permille(skip).unwrap(), Ratio::from_permille(churn).unwrap());
            Generator::new(GeneratorConfig { skip, churn, seed, ..GeneratorConfig::default() }, layers, prefill + decode)
        };
        let at = turn.min(decode);
        let turns = |then: u64| Turns { first: generator(seeds.0), then: generator(then), at, step: 0 };
        let one = with_skips(&scenario, &mut turns(seeds.0), layers);
        let other = with_skips(&scenario, &mut turns(seeds.1), layers);
        // What is decided in step k is decided from the skip sets of the steps up to k + d, so the
        // steps before `at - d` are the same.
        let same = at.saturating_sub(strategy.look_ahead());
        for step in 0..same.min(decode) {
            prop_assert_eq!(&one.steps[step], &other.steps[step], "step {} of {}, {}", step, decode, strategy);
        }
    }

    /// Twice the same run, whatever ran before.
    #[test]
    fn the_same_twice(strategy in any_strategy(), skip in 0u32..=900, fill in 20u64..130, seed: u64) {
        let mut config = small(2, (4_000, 4_000), 500, (16_000 + 2 * 60 * 500) * fill / 100, 40, 20);
        config.strategy = strategy;
        config.trace = TraceConfig::Generated(GeneratorConfig {
            skip: Ratio::from_permille(skip).unwrap(),
            churn: "0.1".parse().unwrap(),
            seed,
            ..GeneratorConfig::default()
        });
        let scenario = Scenario::new(config).unwrap();
        prop_assert_eq!(carry_out(&scenario).1, carry_out(&scenario).1);
    }

    /// What a budget allows in a step is not exceeded.
    #[test]
    fn budgets_are_kept(strategy in any_strategy(), bytes in 0u64..30_000, fill in 20u64..130, seed: u64) {
        let mut config = small(3, (4_000, 4_000), 500, (24_000 + 3 * 70 * 500) * fill / 100, 40, 30);
        let budget = tiersim::strategy::Budget::Bytes(tiersim::units::Bytes::new(bytes));
        config.strategy = Named { budget: Some(budget), ..strategy };
        config.trace = TraceConfig::Generated(GeneratorConfig {
            skip: "0.4".parse().unwrap(),
            churn: "0.2".parse().unwrap(),
            seed,
            ..GeneratorConfig::default()
        });
        let (_, keep) = carry_out(&Scenario::new(config).unwrap());
        for step in &keep.steps {
            prop_assert!(step.migrated.0 + step.migrated.1 <= bytes);
        }
    }

    /// A strategy is read back as it was written: in JSON, and its parts as text.
    #[test]
    fn written_and_read(strategy in any_strategy()) {
        let json = serde_json::to_string(&strategy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Named>(&json).unwrap(), strategy);
        prop_assert_eq!(strategy.migration.to_string().parse::<MigrationKind>().unwrap(), strategy.migration);
        let ron: Named = ron::from_str(&ron::to_string(&strategy).unwrap()).unwrap();
        prop_assert_eq!(ron, strategy);
    }
}

#[test]
fn parameters() {
    let read = |text: &str| text.parse::<MigrationKind>();
    let prior = |permille: u32, tokens: u32| MigrationKind::Prior {
        threshold: Ratio::from_permille(permille).unwrap(),
        tokens,
    };
    assert_eq!(read("Prior"), Ok(prior(900, 64)));
    assert_eq!(read("Prior()"), Ok(prior(900, 64)));
    assert_eq!(read("Prior(threshold: 80%)"), Ok(prior(800, 64)));
    assert_eq!(read(" Prior ( tokens: 7, threshold: 0.8 ) "), Ok(prior(800, 7)));
    assert_eq!(prior(800, 64).to_string(), "Prior(threshold: 0.8)");
    assert_eq!(prior(900, 64).to_string(), "Prior");
    let json = |text: &str| serde_json::from_str::<MigrationKind>(text).map_err(|error| error.to_string());
    assert_eq!(json("\"Prior\""), Ok(prior(900, 64)));
    assert_eq!(json("\"Prior(tokens: 3)\""), Ok(prior(900, 3)));
    assert_eq!(json("{\"Prior\": {\"tokens\": 3}}"), Ok(prior(900, 3)));
    let from_ron = |text: &str| ron::from_str::<MigrationKind>(text).map_err(|error| error.to_string());
    assert_eq!(from_ron("LookAhead"), Ok(MigrationKind::LookAhead));
    assert_eq!(from_ron("Prior"), Ok(prior(900, 64)));
    assert_eq!(from_ron("Prior(threshold: 0.8)"), Ok(prior(800, 64)));
    assert_eq!(from_ron("Prior(threshold: \"80%\", tokens: 3)"), Ok(prior(800, 3)));

    for (text, part) in [
        ("Prior(treshold: 0.8)", "unknown field `treshold`"),
        ("Prior(threshold: 1.8)", "threshold: "),
        ("Prior(tokens: x)", "tokens: "),
        ("PastWindow(window: 0)", "window: "),
        ("LookAhead(steps: 2)", "unknown field `steps`"),
        ("Piror", "there is no migration named 'Piror'"),
        ("Prior(tokens)", "write NAME or NAME(parameter: value, ...)"),
        ("Prior(tokens: 3", "write NAME or NAME(parameter: value, ...)"),
    ] {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
        let message = json(&serde_json::to_string(text).unwrap()).unwrap_err();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn what_is_known_is_declared() {
    let ahead = |name: &str| name.parse::<Named>().unwrap().look_ahead();
    assert_eq!([ahead("baseline"), ahead("best-ratio"), ahead("balanced"), ahead("balanced-online")], [0, 1, 8, 0]);
    let kind = |text: &str| text.parse::<MigrationKind>().unwrap().build().look_ahead();
    assert_eq!(
        [kind("LookAheadBatch(steps: 5)"), kind("Lru"), kind("Predictive"), kind("Balanced(steps: 3)")],
        [5, 0, 0, 3]
    );
}

/// The worked example of a strategy of one's own: in `src/strategy/mod.rs` it would be a file and a
/// line.
///
/// Every other token goes to HBM; of what a step has read from elsewhere, one token a layer stays
/// there.
struct EveryOther;

impl Placement for EveryOther {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        view.hbm_if(view.page.index().is_multiple_of(2))
    }
}

struct OneALayer;

impl Migration for OneALayer {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        let skipped = view.skipped().pages;
        let external = view.system.last_tier();
        let read = view.at[external].iter().find(|page| !skipped.contains(*page) && !view.in_flight.contains(*page));
        if let Some(page) = read {
            plan.retain(Page::new(page), external, TierId::HBM);
        }
    }
}

/// It declares that it sees two steps, and tries to see a third.
struct Curious;

impl Migration for Curious {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        2
    }

    fn decide(&mut self, view: &MigrationView<'_, Future>, _plan: &mut MovePlan) {
        assert!(view.skips.ahead(3, view.region).is_none());
    }
}

#[test]
fn a_strategy_from_outside() {
    let config = ScenarioConfig { decode_tokens: 20, ..ScenarioConfig::load("study").unwrap() };
    let parts = |migration: Box<dyn tiersim::strategy::AnyMigration>| Parts {
        initialization: InitializationKind::BestRatio.build(),
        placement: Box::new(EveryOther),
        migration,
        budget: None,
        prefetch: None,
        late: Late::Finish,
    };
    let scenario = Scenario::new(config).unwrap();
    let mut keep = Keep::default();
    run_with(&scenario, parts(Box::new(OneALayer)), &mut keep).unwrap();
    let layers = scenario.model().layers() as u64;
    let token = 32 << 10;
    assert!(keep.steps[..19].iter().all(|step| step.migrated == (layers * token, 0)));

    // A placement that sees further does not show a migration more than that has declared.
    let mut parts = parts(Box::new(Curious));
    parts.placement = PlacementKind::LookAheadBatch { steps: 6.try_into().unwrap() }.build();
    assert_eq!(parts.look_ahead(), 6);
    run_with(&scenario, parts, &mut ()).unwrap();
}

/// Where HBM has room for everything, tokens retained as they are read are not read a second time:
/// the link carries demand only.
#[test]
fn retained_tokens_are_not_read_again() {
    let mut config = ScenarioConfig { decode_tokens: 50, ..ScenarioConfig::load("study").unwrap() };
    config.strategy = Named {
        initialization: InitializationKind::BestRatio,
        placement: PlacementKind::BestRatio,
        migration: MigrationKind::PromoteOnRead,
        ..Named::REFERENCE
    };
    let scenario = Scenario::new(config).unwrap();
    let (outcome, keep) = carry_out(&scenario);
    let read: u64 = keep.steps.iter().map(|step| step.attention_read[1] + step.mlp_read[1]).sum();
    let lane = scenario.memory().lanes().iter().position(|lane| lane.name == "external.link.read").unwrap();
    assert!(keep.steps[0].migrated.0 > 0);
    assert_eq!(outcome.lanes[lane].bytes.values().map(|bytes| bytes.get()).sum::<u64>(), read);
}

/// Moves the first eight tokens of layer 0 to HBM after the first step, and nothing else.
struct Once;

impl Migration for Once {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        if view.region.index() == 0 && view.pages == 9 {
            Page::all(8).for_each(|page| assert!(plan.add(page, TierId::new(1), TierId::HBM)));
        }
    }
}

/// Two layers, weights on HBM at 1 B/ps, KV of 1000 B a token behind a link of 0.25 B/ps, of which
/// reads get four times what a move does.
///
/// Step 0: layer 0 reads 8 tokens in 32 ns, its mlp 3600 B in 3.6. Layer 1's read then has 0.2 B/ps
/// of the link and the move 0.05: 40 ns; its mlp has 0.75 B/ps of HBM beside the move's 0.25: 4.8
/// ns. So when step 1 reads layer 0, at 80.4 ns, 2000 + 1200 B of the move have arrived: three
/// tokens, and a fifth of another.
#[test]
fn what_is_late_finishes_or_is_dropped() {
    use tiersim::metrics::Recorder;

    let mut config = small(2, (1000, 3600), 1000, 1 << 20, 8, 2);
    runs::memory(&mut config).class_weights.kv_read = 4;
    let mut found = Vec::new();
    for late in [Late::Finish, Late::Drop] {
        let scenario = Scenario::new(config.clone()).unwrap();
        let parts = Parts {
            initialization: "Static(weights: 100%, kv: 0%)".parse::<InitializationKind>().unwrap().build(),
            placement: "SplitLayers(on_hbm: 0%)".parse::<PlacementKind>().unwrap().build(),
            migration: Box::new(Once),
            budget: None,
            prefetch: None,
            late,
        };
        let mut probes = (Keep::default(), Recorder::new(&scenario));
        let outcome = run_with(&scenario, parts, &mut probes).unwrap();
        let (keep, recorder) = probes;
        assert_eq!(outcome.issued, runs::accounted(&outcome));
        let latencies: Vec<u64> = keep.steps.iter().map(|step| step.latency.as_ps()).collect();
        assert_eq!(
            (keep.steps[1].late, keep.steps[1].used[0]),
            (5, 9_200 + if late == Late::Drop { 3_000 } else { 8_000 })
        );
        found.push((latencies, keep.steps[1].attention_read.clone(), recorder.finish(&scenario, &outcome).summary));
    }
    let near = |times: &[u64], expected: [u64; 2]| {
        assert!(
            times.iter().zip(expected).all(|(time, expected)| time.abs_diff(expected) <= 4),
            "{times:?}: {expected:?}"
        );
    };
    // Three of nine tokens are read from HBM either way, and the six others at their source.
    for (_, read, _) in &found {
        assert_eq!(read, &[2 * 1000 + 3000, 6000 + 9000]);
    }
    let [(finish, _, finished), (dropped, _, summary)] = &found[..] else { panic!("two runs") };
    // Beside the move: 6000 B at 0.2, mlp in 4.8 ns; then layer 1's 9000 B at 0.2 for 42 ns,
    // unshared for 2.4, and its mlp.
    near(finish, [80_400, 30_000 + 4_800 + 44_400 + 3_600]);
    // Without it: 6000 B at 0.25, 3.6 ns; 9000 B, 3.6 ns.
    near(dropped, [80_400, 24_000 + 3_600 + 36_000 + 3_600]);

    assert_eq!((finished.migration.in_bytes, finished.migration.dropped_bytes), (8_000, 0));
    assert_eq!(
        (summary.migration.in_bytes, summary.migration.dropped_bytes, summary.migration.bytes()),
        (8_000, 4_800, 3_200)
    );
    let moves = summary.transfers.get("MigrateIn").unwrap();
    assert_eq!((moves.count, moves.bytes.get("hbm")), (0, Some(&3_200)));
    let lane = summary.lanes.get("external.link.read").unwrap();
    assert_eq!(lane.bytes_by_class.get("MigrateIn"), Some(&3_200));
    // What is not so stays as it was.
    let text = serde_json::to_string(&finished).unwrap();
    assert!(!text.contains("dropped") && !text.contains("\"late\":"), "{text}");
}

#[test]
fn the_rule_for_what_is_late_is_read_and_shown() {
    let strategy = |text: &str| serde_json::from_str::<Named>(text).map_err(|error| error.to_string());
    let inline = |rest: &str| {
        format!(
            "{{\"initialization\": \"BestRatio\", \"placement\": \"BestRatio\", \"migration\": \"LookAhead\"{rest}}}"
        )
    };
    assert_eq!(strategy(&inline("")).unwrap().name(), "best-ratio");
    assert_eq!(strategy(&inline(", \"late\": \"Finish\"")).unwrap().name(), "best-ratio");
    let dropping = strategy(&inline(", \"late\": \"drop\"")).unwrap();
    assert_eq!(dropping.name(), "best-ratio-drop");
    assert_eq!("best-ratio-drop".parse::<Named>().unwrap(), dropping);
    let limited = strategy(&inline(", \"late\": \"Drop\", \"budget\": \"64MiB\"")).unwrap();
    assert_eq!(limited.name(), "BestRatio/BestRatio/LookAhead/64 MiB/Drop");
    assert!(strategy(&inline(", \"late\": \"Keep\"")).unwrap_err().contains("Keep"));
    assert!(strategy(&inline(", \"latest\": \"Drop\"")).unwrap_err().contains("latest"));
    assert!(Named::everything().contains(&dropping));
}

fn named(initialization: &str, placement: &str, migration: &str) -> Named {
    Named {
        initialization: initialization.parse().unwrap(),
        placement: placement.parse().unwrap(),
        migration: migration.parse().unwrap(),
        ..Named::REFERENCE
    }
}

fn simulated(strategy: Named, set: impl Fn(&mut ScenarioConfig)) -> u64 {
    let mut config = ScenarioConfig { strategy, ..ScenarioConfig::load("study").unwrap() };
    config.memory = Reference::Inline(tiersim::catalog::memory("study").unwrap());
    set(&mut config);
    carry_out(&Scenario::new(config).unwrap()).0.simulated.as_ps()
}

#[test]
fn by_room_is_one_of_two_layouts() {
    let time = |initialization: &str, capacity: &str| {
        simulated(named(initialization, "PreferHbm", "None"), |config| {
            config.decode_tokens = 3;
            runs::memory(config).tiers[0].capacity = capacity.parse().unwrap();
        })
    };
    // 1 GiB of weights, and twice 1 GiB of prefill.
    for (capacity, layout, other) in [("3GiB", "BestRatio", "DensityFirst"), ("2.99GiB", "DensityFirst", "BestRatio")] {
        assert_eq!(time("ByRoom", capacity), time(layout, capacity));
        assert_ne!(time("ByRoom", capacity), time(other, capacity));
    }
    assert_eq!(time("ByRoom(growth: 1)", "2.99GiB"), time("BestRatio", "2.99GiB"));
}

/// External memory that a latency, or pages on channels, make slower than its bandwidth:
/// measurements show it.
#[test]
fn balanced_goes_by_what_it_waited_for() {
    type Set = fn(&mut ScenarioConfig);
    let slower: [Set; 2] = [
        |config| runs::memory(config).tiers[1].latency = "2 us".parse().unwrap(),
        |config| {
            let tier = &mut runs::memory(config).tiers[1];
            (tier.channels, tier.interleaving) = (16, tiersim::memory::Interleaving::Hashed { page_tokens: 1 });
        },
    ];
    for set in slower {
        let time = |migration: &str| {
            simulated(named("BestRatio", "Balance", migration), |config| {
                (config.decode_tokens, config.prefill_tokens) = (96, 512);
                set(config);
            })
        };
        let still = time("None");
        for migration in ["Balanced", "BalancedOnline"] {
            assert!(100 * time(migration) < 97 * still, "{migration}: {} against {still}", time(migration));
        }
    }
}
