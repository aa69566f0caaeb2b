//! The planner: its plans are those of simulating every candidate, whatever the number of threads.

use crate::common::runs::{memory, skipping, small};
use proptest::prelude::*;
use tiersim::config::{Reference, parse};
use tiersim::memory::TierConfig;
use tiersim::planner::{Plan, PlanError, Plans, Question, candidates, plan};
use tiersim::runs::{Cancel, Resources, Silent};
use tiersim::simulation::{Fields, Scenario, ScenarioConfig, run};
use tiersim::units::{Bytes, SimTime};

fn question(scenario: ScenarioConfig, top: usize) -> Question {
    Question { scenario, strategies: Question::realizable(), ways: Vec::new(), top }
}

fn planned(question: &Question, threads: u16) -> Result<Plans, PlanError> {
    plan(question, Resources::new(Some(threads), None), &Cancel::new(false), &Silent)
}

/// The time of every candidate that fits, the fastest first; of equal ones in their order.
fn exhaustive(question: &Question) -> Vec<SimTime> {
    let base = Scenario::new(question.scenario.clone()).unwrap();
    let mut times: Vec<SimTime> = candidates(question, &base)
        .unwrap()
        .into_iter()
        .filter_map(|candidate| Scenario::new(candidate.config).ok())
        .filter_map(|scenario| run(&scenario, &mut ()).ok())
        .filter(|outcome| outcome.error.is_none())
        .map(|outcome| outcome.simulated)
        .collect();
    times.sort();
    times
}

fn totals(plans: &Plans) -> Vec<u64> {
    let total = |plan: &Plan| (plan.tpot_ns * plans.steps as f64 * 1000.0).round() as u64;
    plans.plans.iter().map(total).collect()
}

fn agree(question: &Question) -> Plans {
    let plans = planned(question, 1).unwrap();
    let times: Vec<u64> = exhaustive(question).iter().map(|time| time.as_ps()).collect();
    let top = question.top.min(times.len());
    assert_eq!(plans.plans.len(), top);
    for (planned, simulated) in totals(&plans).iter().zip(&times) {
        assert!(planned.abs_diff(*simulated) <= 1 + simulated / 1_000_000_000, "{planned} {simulated}");
    }
    assert_eq!(planned(question, 3).unwrap(), plans);
    plans
}

/// Experts and shared experts, larger than the first tier.
fn mixture(decode: u32) -> ScenarioConfig {
    let text = "(name: \"m\", architecture: (hidden: 64, vocabulary: 300, blocks: [\
        (count: 4, layers: [(attention: Full(heads: 4, kv_heads: 2, head_size: 16), \
         mlp: Experts(count: 8, active: 2, intermediate: 96, shared: 1))])]))";
    let mut config = small(2, (1, 1), 1, 700_000, 200, decode);
    config.model = Reference::Inline(parse(text, "model").unwrap());
    config.compute = None;
    config
}

#[test]
fn plans_are_those_of_all_candidates() {
    let plans = agree(&question(mixture(3), 5));
    let base = Scenario::new(mixture(3)).unwrap();
    let all = candidates(&question(mixture(3), 5), &base).unwrap().len();
    assert!(all >= 40 && plans.candidates <= all, "{all}");
    // The bound spares some of them.
    assert!(plans.simulated < plans.candidates, "{} of {}", plans.simulated, plans.candidates);
    assert!(plans.plans.iter().all(|plan| plan.tpot_ns >= plan.bound_ns && plan.knows == "realizable"));
}

#[test]
fn plans_of_sparse_attention_have_migrations_under_rules() {
    let mut config = mixture(3);
    config.trace = skipping(400, 100, 1);
    agree(&question(config, 200));
}

/// Attention, KV and mlp as in `pieces.ron`: the plans keep attention in the first tier.
#[test]
fn a_plan_says_what_to_type() {
    let mut fields = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    for (path, value) in [("model", "tests/data/pieces.ron"), ("memory", "tests/data/pieces-memory.ron")] {
        fields.set(path, value.into()).unwrap();
    }
    let mut config = ScenarioConfig { prefill_tokens: 100, decode_tokens: 2, ..fields.config().unwrap() };
    let mut asked = question(config.clone(), 50);
    asked.ways = vec!["direct".to_owned(), "computed".to_owned()];
    let plans = agree(&asked);
    let of = |rules: &str| {
        plans.plans.iter().find(|plan| plan.rules.as_ref().is_some_and(|of| of.to_string() == rules)).unwrap()
    };
    let by_hand = of("experts=5% gpu, experts=cpu, attention=gpu, *=cpu");
    let layout = "experts=5% gpu, experts=cpu, attention=gpu, *=cpu";
    let typed = ["--layout", layout, "--strategy", "baseline", "--set", "runtime.reads={\"cpu\":\"Direct\"}"];
    assert_eq!(by_hand.arguments, typed);
    // Attention takes 200 MB of 300 MB: 100 MB of 2 GB of experts fit beside it.
    assert_eq!(by_hand.used[0], Bytes::new(300_000_000));
    // As typed: the same time.
    config.layout = Some("experts=5% gpu, experts=cpu, attention=gpu, *=cpu".parse().unwrap());
    config.strategy = "baseline".parse().unwrap();
    let again = run(&Scenario::new(config.clone()).unwrap(), &mut ()).unwrap().simulated;
    let total = (by_hand.tpot_ns * 2000.0).round() as u64;
    assert_eq!(total, again.as_ps());
    // A layout that is given is kept.
    asked.scenario = config;
    let kept = planned(&asked, 1).unwrap();
    assert!(kept.plans.iter().all(|plan| plan.rules == asked.scenario.layout) && !kept.plans.is_empty());
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let refused = |question: &Question| planned(question, 1).unwrap_err().to_string();
    let mut asked = question(mixture(2), 3);
    asked.ways = vec!["stagged".to_owned()];
    assert!(refused(&asked).contains("Did you mean 'staged'?"), "{}", refused(&asked));
    let none = Question { top: 0, ..question(mixture(2), 3) };
    assert!(refused(&none).contains("at least 1"));
    let mut large = mixture(2);
    for tier in &mut memory(&mut large).tiers {
        tier.capacity = Bytes::new(100_000);
    }
    let message = refused(&question(large, 3));
    assert!(message.contains("more than the tiers hold"), "{message}");
}

proptest! {
    #![proptest_config(crate::common::properties::cases(24))]

    /// Three tiers or two, ample and tight, with prefetch and several sequences.
    #[test]
    fn pruning_never_changes_the_winner(
        hbm in 120_000u64..900_000,
        external in 2u64..900,
        batch in 1u32..3,
        prefetch in 0u32..2,
        skip in prop::sample::select(vec![0u32, 0, 400]),
        third: bool,
        top in 1usize..5,
    ) {
        let mut config = mixture(2);
        (config.batch, config.weight_prefetch) = (batch, prefetch);
        config.trace = skipping(skip, 100, 1);
        let memory = memory(&mut config);
        memory.tiers[0].capacity = Bytes::new(hbm);
        memory.tiers.truncate(1);
        let bandwidth = |gigabytes| crate::common::systems::giga(gigabytes);
        memory.tiers.push(TierConfig::new("ddr5", Bytes::new(1 << 30), bandwidth(external)));
        if third {
            memory.tiers.push(TierConfig::new("ssd", Bytes::new(1 << 30), bandwidth(1)));
        }
        agree(&question(config, top));
    }
}
