//! Prefetching within a step: by hand, by its stated accuracy, and what holds of every run.

use super::*;
use crate::common::runs::BASELINE;
use std::ops::ControlFlow;
use tiersim::memory::TransferClass;
use tiersim::simulation::{Hits, Outcome, Prefetched, Probe, StepRecord, run};
use tiersim::strategy::PrefetchKind;

/// Of each step, the pages of KV that were read from HBM and from elsewhere, what was prefetched,
/// its latency and its bound.
#[derive(Default)]
struct Watch(Vec<(Hits, Prefetched, u64, u64)>);

impl Probe for Watch {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.0.push((step.kv_hits, step.prefetched, step.latency.as_ps(), step.bound.as_ps()));
        ControlFlow::Continue(())
    }
}

fn watch(scenario: &Scenario) -> (Outcome, Watch) {
    let mut watch = Watch::default();
    let outcome = run(scenario, &mut watch).unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    (outcome, watch)
}

const LAYERS: usize = 3;

/// Each of the layers reads so many tokens that no step before has read, from a cache that keeps as
/// many.
fn fresh(tokens: usize, steps: usize, mlp: u64, prefetch: &str, late: Late) -> Scenario {
    let reads = in_all(LAYERS, (0..steps).map(|step| (tokens * step..tokens * (step + 1)).collect()));
    let (prefill, decode) = (tokens * steps, steps);
    let weights = LAYERS as u64 * (SLOW + mlp);
    let mut config =
        small(LAYERS as u32, (SLOW, mlp), KV, weights + 20 * tokens as u64 * KV, prefill as u32, decode as u32);
    memory(&mut config).residency = ResidencyKind::Inclusive;
    let migration = kind(&format!("Lru(budget: {}, writes: Allocate)", tokens + 1));
    let prefetch = Some(prefetch.parse().unwrap()).filter(|_| !prefetch.is_empty());
    config.strategy = Parts { migration, prefetch, late, ..BASELINE };
    let stored = StoredSkips::of(&mut Given(reads.iter()), LAYERS, prefill, decode).unwrap();
    Scenario::new(config).unwrap().with_stored_skips(Arc::new([Some(Arc::new(stored))].into_iter().collect()))
}

/// Pages of each step after the first five (the layout has the tokens of the first ones on HBM):
/// read from HBM, read from elsewhere, issued, useful, late, wrong.
fn pages(scenario: &Scenario) -> Vec<[u64; 6]> {
    let pages = |bytes: Bytes| {
        assert_eq!(bytes.get() % KV, 0);
        bytes.get() / KV
    };
    let of = |(hits, fetched, ..): &(Hits, Prefetched, u64, u64)| {
        assert_eq!([pages(hits.hit_bytes), pages(hits.missed_bytes)], [hits.hits, hits.misses]);
        let Prefetched { issued, useful, late, wrong } = *fetched;
        let fetched = [issued, useful, late, wrong].map(pages);
        [hits.hits, hits.misses, fetched[0], fetched[1], fetched[2], fetched[3]]
    };
    watch(scenario).1.0.iter().skip(5).map(of).collect()
}

/// Three layers read two tokens each, all of them misses. What is known of layers 1 and 2 comes in
/// time for them; of layer 0 nothing is.
#[test]
fn a_step_by_hand() {
    let each_step = |prefetch: &str, mlp: u64, late: Late| {
        let found = pages(&fresh(2, 12, mlp, prefetch, late));
        assert!(found.iter().all(|step| *step == found[0]), "{prefetch}: {found:?}");
        found[0]
    };
    let in_time = |prefetch: &str| each_step(prefetch, SLOW, Late::Finish);
    assert_eq!(in_time("Prefetch(hit_rate: 0)"), [0, 6, 0, 0, 0, 0]);
    assert_eq!(in_time("Prefetch(hit_rate: 100%)"), [4, 2, 4, 4, 0, 0]);
    assert_eq!(in_time("Prefetch(hit_rate: 100%, precision: 50%)"), [4, 2, 8, 4, 0, 4]);
    assert_eq!(in_time("Prefetch(hit_rate: 100%, ahead: 2)"), [2, 4, 2, 2, 0, 0]);
    assert_eq!(in_time("Prefetch(hit_rate: 100%, ahead: 3)"), [0, 6, 0, 0, 0, 0]);
    // When a layer ends, the next one reads its KV at once.
    assert_eq!(in_time("Prefetch(hit_rate: 100%, after: Layer)"), [0, 6, 0, 0, 0, 0]);
    assert_eq!(in_time("Prefetch(hit_rate: 100%, after: Layer, ahead: 2)"), [2, 4, 2, 2, 0, 0]);
    // An MLP of one byte leaves no time.
    for late in [Late::Finish, Late::Drop] {
        assert_eq!(each_step("Prefetch(hit_rate: 100%)", 1, late), [0, 6, 4, 0, 4, 0]);
    }
}

/// What is late is carried twice under `Finish`, and no more than once as a move under `Drop`.
#[test]
fn late_prefetches_are_finished_or_dropped() {
    let carried = |late: Late| {
        let (outcome, _) = watch(&fresh(40, 12, 1, "Prefetch(hit_rate: 100%)", late));
        assert_eq!(outcome.issued, runs::accounted(&outcome));
        (outcome.completed[TransferClass::MigrateIn], outcome.dropped[TransferClass::MigrateIn])
    };
    let (finished, none) = carried(Late::Finish);
    let (partly, dropped) = carried(Late::Drop);
    assert_eq!(none, Bytes::ZERO);
    assert!(dropped > Bytes::ZERO && partly < finished, "{partly:?} {dropped:?} {finished:?}");
}

/// Over many tokens the shares are those that were stated.
#[test]
fn a_predictor_is_as_accurate_as_stated() {
    for (stated, hit_rate, precision) in [
        ("hit_rate: 90%", 0.9, 0.9),
        ("hit_rate: 60%, precision: 75%", 0.6, 0.75),
        ("hit_rate: 30%, precision: 1", 0.3, 1.0),
    ] {
        let found = pages(&fresh(50, 45, SLOW, &format!("Prefetch({stated})"), Late::Finish));
        let sum = |column: usize| found.iter().map(|step| step[column]).sum::<u64>() as f64;
        let read = (found.len() * 50 * (LAYERS - 1)) as f64;
        assert!((sum(3) / read - hit_rate).abs() < 0.02, "{stated}: {} of {read}", sum(3));
        assert!((sum(3) / sum(2) - precision).abs() < 0.02, "{stated}: {} of {}", sum(3), sum(2));
    }
}

#[test]
fn a_prefetch_is_written_and_read() {
    let prefetch: PrefetchKind = "Prefetch(ahead: 2, hit_rate: 85%)".parse().unwrap();
    assert_eq!(prefetch.to_string(), "Prefetch(ahead: 2, hit_rate: 0.85)");
    let strategy = Parts { migration: kind("Lru(budget: 64)"), prefetch: Some(prefetch), ..BASELINE };
    assert_eq!(strategy.name(), "HbmFirst/PreferHbm/Lru(budget: 64)/Prefetch(ahead: 2, hit_rate: 0.85)");
    assert_eq!(strategy.knowledge().to_string(), "assumes a predictor of hit rate 85 %");
    let json = serde_json::to_string(&strategy).unwrap();
    assert_eq!(serde_json::from_str::<Parts>(&json).unwrap(), strategy);
    assert!(!serde_json::to_string(&BASELINE).unwrap().contains("prefetch"));
    // An oracle that prefetches is an oracle.
    let oracle = Parts { migration: kind("Belady(steps: 8, budget: 64)"), ..strategy };
    assert_eq!(oracle.knowledge().to_string(), "oracle: sees 8 steps");
    for (text, part) in [
        ("Prefetch(ahead: 0)", "expected a nonzero u32"),
        ("Prefetch(hit_rate: 101%)", "hit_rate"),
        ("Prefetch(after: Mlp)", "`Attention`"),
        ("Prefetch(rate: 1)", "unknown field `rate`"),
        ("Fetch", "there is no prefetch named 'Fetch'"),
    ] {
        let message = text.parse::<PrefetchKind>().unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
}

/// A predictor that is never right names nothing, or everything.
#[test]
fn a_precision_of_nothing_is_refused() {
    let mut config = small(2, (1000, 1000), KV, 10_000, 4, 4);
    let prefetch = Some("Prefetch(precision: 0)".parse().unwrap());
    config.strategy = Parts { migration: kind("Lru(budget: 2)"), prefetch, ..BASELINE };
    let message = Scenario::new(config).unwrap_err().to_string();
    assert!(message.starts_with("strategy.prefetch: precision: 0 of what is prefetched is read"), "{message}");
}

/// What leaves no room in HBM, or never gives any back, is refused.
#[test]
fn a_prefetch_needs_a_cache_with_a_budget() {
    for migration in ["None", "Balanced", "Lru", "Lru(room: Shared)"] {
        let mut config = small(2, (1000, 1000), KV, 10_000, 4, 4);
        let prefetch = Some("Prefetch".parse().unwrap());
        config.strategy = Parts { migration: kind(migration), prefetch, ..BASELINE };
        let message = Scenario::new(config).unwrap_err().to_string();
        let known = format!(
            "strategy.prefetch: Prefetch brings pages into HBM that is free, and a cache that leaves it free decides what stays; the migration {migration} has no budget"
        );
        assert!(message.contains(&known), "{message}");
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// What holds of every run that prefetches, in whatever room.
    #[test]
    fn prefetches_are_accounted_for(
        layers in 1u32..5, weights in (1u64..20_000, 1u64..20_000), prefill in 0u32..80, decode in 1u32..20,
        fill in 1u64..120, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64, budget in 1u32..60,
        cache in prop::sample::select(vec!["Lru", "Lfu", "Fifo", "Belady"]), shared: bool, exclusive: bool,
        late in prop::sample::select(vec![Late::Finish, Late::Drop]), page_tokens in 1u32..5,
        ahead in 1u32..4, after_layer: bool, accuracy in (0u32..=1000, 1u32..=1000),
        limit in prop::option::of(0u64..30_000),
    ) {
        let pages = |tokens: u32| u64::from(tokens.div_ceil(page_tokens) * page_tokens);
        let all = u64::from(layers) * (weights.0 + weights.1 + pages(prefill + decode) * KV);
        let mut config = small(layers, weights, KV, (all * fill / 100).max(1), prefill, decode);
        config.trace = skipping(skip, churn, seed);
        config.page_tokens = page_tokens;
        memory(&mut config).residency = residency(exclusive);
        memory(&mut config).tiers[1].capacity = Bytes::new(all);
        let room = if shared { "Shared" } else { "PerLayer" };
        let after = if after_layer { "Layer" } else { "Attention" };
        let (hit_rate, precision) = (f64::from(accuracy.0) / 1000.0, f64::from(accuracy.1) / 1000.0);
        let prefetch =
            format!("Prefetch(ahead: {ahead}, after: {after}, hit_rate: {hit_rate}, precision: {precision}, seed: 7)");
        config.strategy = Parts {
            migration: kind(&format!("{cache}(room: {room}, budget: {budget})")),
            prefetch: Some(prefetch.parse().unwrap()),
            budget: limit.map(|bytes| tiersim::strategy::Budget::Bytes(Bytes::new(bytes))),
            late,
            ..BASELINE
        };
        let scenario = Scenario::new(config).unwrap();
        let (outcome, steps) = watch(&scenario);
        prop_assert_eq!(outcome.issued, runs::accounted(&outcome));
        prop_assert!(outcome.peak[0] <= scenario.memory().tiers()[0].capacity);
        for (hits, fetched, latency, bound) in &steps.0 {
            prop_assert_eq!(fetched.issued, fetched.useful + fetched.late + fetched.wrong);
            prop_assert!(latency >= bound && hits.hit_bytes.get() <= hits.hits * u64::from(page_tokens) * KV);
            prop_assert!(accuracy.0 > 0 || fetched.issued == Bytes::ZERO);
            prop_assert!(accuracy.1 < 1000 || fetched.wrong == Bytes::ZERO);
            prop_assert!(limit.is_none_or(|limit| fetched.issued.get() <= limit));
        }
        let (_, again) = watch(&scenario);
        prop_assert!(again.0 == steps.0);
    }
}
