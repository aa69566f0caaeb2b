//! What attention keeps of a sequence besides the KV of all its tokens: that of the last tokens of
//! a window, a recurrent state, or nothing of its own, as it reads the KV of another layer.
//!
//! The hand-computed runs are on the small machine of [`small`](crate::common::runs::small): HBM at
//! 1000 GB/s, so a byte takes a picosecond there, and external memory behind a link of 250 GB/s.

use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::config::{self, Reference};
use tiersim::memory::{ResidencyKind, TierConfig, TransferClass};
use tiersim::metrics::{Recorder, SpanKind, Timeline};
use tiersim::simulation::{Scenario, ScenarioConfig, run};
use tiersim::strategy::{BoundKind, InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::Bytes;
use tiersim::workload::{LanguageModel, ModelConfig, StageLabel};

/// The scenario with a window of so many tokens in all layers.
fn with_window(mut config: ScenarioConfig, window: u32) -> ScenarioConfig {
    let Reference::Inline(model) = &mut config.model else { unreachable!("small scenarios are inline") };
    model.layers.iter_mut().for_each(|layers| layers.window = Some(window));
    config
}

/// A model by its attentions, each with a small feed-forward part.
pub fn model(attentions: &[String]) -> ModelConfig {
    let layer = |attention: &String| format!("(attention: {attention}, mlp: Dense(intermediate: 24))");
    let layers: Vec<String> = attentions.iter().map(layer).collect();
    let text = format!(
        "(name: \"tiny\", architecture: (hidden: 16, vocabulary: 40, tied: false, formats: (weights: \"bf16\", kv: \"bf16\"), \
         blocks: [(count: 1, layers: [{}])]))",
        layers.join(", ")
    );
    config::parse(&text, "model").unwrap()
}

/// K and V of a token in a layer of `HEADS`.
const TOKEN: u64 = 2 * 8 * 2;
const HEADS: &str = "heads: 2, kv_heads: 1, head_size: 8";

pub fn with_model(mut config: ScenarioConfig, model: ModelConfig) -> ScenarioConfig {
    config.model = Reference::Inline(model);
    config
}

#[test]
fn a_window_takes_the_same_time_and_room_from_the_first_step_on() {
    // 2 MB of weights and 500 tokens of 1 kB at 100 GB/s; a posted write of 1 kB.
    let mut config = small(1, (1_000_000, 1_000_000), 1000, 3_000_000, 10_000, 300);
    let Reference::Inline(memory) = &mut config.memory else { unreachable!() };
    memory.tiers.truncate(1);
    memory.tiers[0].bandwidth = bandwidth(100);
    let (outcome, keep) = simulate(&with_window(config, 500));
    assert!(outcome.error.is_none());
    for (step, kept) in keep.steps.iter().enumerate() {
        assert_eq!(kept.latency.as_ps(), 25_000_000 + 10_000, "step {step}");
        assert_eq!(kept.used, [2_500_000], "step {step}");
        assert_eq!((kept.read_tokens, kept.read_beyond), (500, 0));
    }
    assert_eq!(outcome.peak[0], Bytes::new(2_500_000), "a token is freed before the next one is written");
}

#[test]
fn what_leaves_a_window_makes_room_where_it_was() {
    // Tokens 2 to 4 of the prompt are kept: 2 and 3 on HBM, 4 has no room there.
    let config = with_window(small(1, (1000, 1000), 100, 2200, 5, 5), 3);
    let (outcome, keep) = simulate(&config);
    assert!(outcome.error.is_none());
    // HBM reads 1000 B of weights and two tokens, which takes longer than a token over the link.
    // Tokens 5, 6 and 8 take the places of 2, 3 and 5; 7 that of 4, on external memory, from where
    // its write delays no read of HBM.
    let latencies: Vec<u64> = keep.steps.iter().map(|kept| kept.latency.as_ps()).collect();
    assert_eq!(latencies, [1200 + 1100, 1200 + 1100, 1200 + 1000, 1200 + 1100, 1200 + 1100]);
    for kept in &keep.steps {
        assert_eq!(kept.attention_read, [1200, 100]);
        assert_eq!((&kept.used[..], kept.read_tokens), (&[2200, 100][..], 3));
        assert!(kept.bound <= kept.latency);
    }
    let written =
        |tier: usize| keep.carried.iter().filter(|it| it.0 == TransferClass::KvWrite && it.6.index() == tier).count();
    assert_eq!((written(0), written(1)), (4, 1));
}

#[test]
fn pages_that_a_window_overlaps_are_kept_and_read_whole() {
    let mut config = with_window(small(1, (1000, 1000), 100, 1 << 20, 5, 4), 3);
    config.page_tokens = 2;
    let (_, keep) = simulate(&config);
    // Tokens 2-4, 3-5, 4-6, 5-7 in pages 1-2, 1-2, 2-3, 2-3: two pages throughout. Every other step
    // reads a token that has left the window with its page.
    assert_eq!(keep.steps.iter().map(|kept| kept.used[0] - 2000).collect::<Vec<_>>(), [400; 4]);
    assert_eq!(keep.steps.iter().map(|kept| kept.read_tokens).collect::<Vec<_>>(), [3, 4, 3, 4]);
    assert_eq!(keep.steps.iter().map(|kept| kept.read_beyond).collect::<Vec<_>>(), [0, 100, 0, 100]);
}

#[test]
fn the_best_ratio_is_of_the_tokens_in_the_window() {
    // HBM has 4/5 of the bandwidth: of 50 live tokens it takes 40, whatever the prompt's length.
    for prefill in [50, 1000] {
        let mut config = with_window(small(2, (1000, 1000), 100, 1 << 20, prefill, 1), 50);
        config.strategy = Parts { migration: MigrationKind::None, ..BEST_RATIO };
        let (outcome, _) = simulate(&config);
        assert_eq!(outcome.at_start.kv, [Bytes::new(2 * 40 * 100), Bytes::new(2 * 10 * 100)], "{prefill}");
    }
}

#[test]
fn a_prompt_that_fits_through_its_window_is_no_shortage() {
    let mut config = small(1, (1000, 1000), 100, 2300, 1000, 2);
    let Reference::Inline(memory) = &mut config.memory else { unreachable!() };
    memory.tiers.truncate(1);
    assert!(Scenario::new(config.clone()).is_err());
    assert!(simulate(&with_window(config, 3)).0.error.is_none());
}

#[test]
fn state_is_read_and_written_in_every_step() {
    // With a state that is large against the rest its write goes on in the next step, whose read of
    // it waits; the bus is never idle either way.
    for state in [64, 100_000] {
        let tiny = model(&[format!("Recurrent(parameters: 500, state: \"{state} B\")")]);
        let weights: u64 = LanguageModel::new(&tiny).unwrap().weights().map(|weights| weights.read.get()).sum();
        let config = with_model(small(1, (0, 0), 0, 1 << 20, 100, 5), tiny);
        let (outcome, keep) = simulate(&config);
        assert!(outcome.error.is_none());
        assert_eq!((keep.bytes(TransferClass::KvRead), keep.bytes(TransferClass::KvWrite)), (5 * state, 5 * state));
        let total: u64 = keep.steps.iter().map(|kept| kept.latency.as_ps()).sum();
        let carried = |steps: u64| steps * (weights + 2 * state);
        // The last write may still be under way.
        assert!((carried(5) - state..=carried(5)).contains(&total), "{total} of {}", carried(5));
        assert_eq!(keep.steps[3].latency.as_ps(), weights + 2 * state);
        assert_eq!(keep.steps[0].used, keep.steps[4].used);
        assert_eq!(outcome.at_end.kv[0], Bytes::new(state), "state counts as KV");
        for (a, b) in keep
            .carried
            .iter()
            .filter(|it| it.0 == TransferClass::KvWrite)
            .zip(keep.carried.iter().filter(|it| it.0 == TransferClass::KvRead).skip(1))
        {
            assert!(b.4 >= a.4, "a state is read when it is written");
        }
    }
}

#[test]
fn state_lies_as_weights_do() {
    let tiny = model(&["Recurrent(parameters: 500, state: \"10 kB\")".to_owned()]);
    let mut config = with_model(small(1, (0, 0), 0, 1 << 20, 100, 3), tiny);
    config.strategy = BEST_RATIO;
    let (outcome, keep) = simulate(&config);
    assert_eq!(outcome.at_start.kv, [Bytes::new(8000), Bytes::new(2000)]);
    // Of each tier its part, read and written.
    let bytes = |class: TransferClass, tier: usize| -> u64 {
        keep.carried.iter().filter(|it| it.0 == class && it.6.index() == tier).map(|it| it.1.get()).sum()
    };
    for class in [TransferClass::KvRead, TransferClass::KvWrite] {
        assert_eq!((bytes(class, 0), bytes(class, 1)), (3 * 8000, 3 * 2000));
    }
    let Reference::Inline(memory) = &mut config.memory else { unreachable!() };
    memory.residency = ResidencyKind::Inclusive;
    let (_, keep) = simulate(&config);
    let written: Vec<u64> = (0..2)
        .map(|tier| {
            let writes = keep.carried.iter().filter(|it| it.0 == TransferClass::KvWrite && it.6.index() == tier);
            writes.map(|it| it.1.get()).sum()
        })
        .collect();
    assert_eq!(written, [3 * 8000, 3 * 10_000], "the last tier has a copy of all");
}

#[test]
fn layers_that_share_kv_read_one_region_and_write_it_once() {
    let (own, shared) = (format!("Full({HEADS})"), format!("Full({HEADS}, shares_kv: true)"));
    let tiny = model(&[own, shared.clone(), shared]);
    let stored: u64 = LanguageModel::new(&tiny).unwrap().stored_weights().get();
    let config = with_model(small(1, (0, 0), 0, 1 << 20, 10, 4), tiny);
    let (outcome, keep) = simulate(&config);
    assert!(outcome.error.is_none());
    for (step, kept) in keep.steps.iter().enumerate() {
        let context = 10 + step as u64;
        assert_eq!(kept.read_tokens, 3 * context);
        assert_eq!(kept.used[0], stored + TOKEN * (context + 1));
    }
    assert_eq!(keep.bytes(TransferClass::KvWrite), 4 * TOKEN);
    assert_eq!(keep.bytes(TransferClass::KvRead), 3 * TOKEN * (10 + 11 + 12 + 13));
}

#[test]
fn embedding_and_head_have_figures_of_their_own_and_are_no_layers() {
    let tiny = model(&[format!("Full({HEADS})"), "None".to_owned()]);
    let config = with_model(small(1, (0, 0), 0, 1 << 20, 10, 4), tiny);
    let scenario = Scenario::new(config).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    let report = recorder.finish(&scenario, &outcome);
    let alpha = &report.summary.alpha;
    assert_eq!((alpha.head.as_ref().unwrap().mean, alpha.embedding.as_ref().unwrap().mean), (Some(1.0), Some(1.0)));
    assert_eq!(report.histograms.layer_latency.count(), 2 * 4);
    // A timeline has a span for each.
    let mut timeline = Timeline::new(&scenario, 1..2);
    run(&scenario, &mut timeline).unwrap();
    let spans: Vec<SpanKind> = timeline.spans.iter().map(|span| span.what).collect();
    let outside = SpanKind::Outside;
    let layers = [SpanKind::Layer(0), SpanKind::Layer(1)];
    let step = [outside(StageLabel::Embedding), layers[0], layers[1], outside(StageLabel::Head), SpanKind::Step(1)];
    assert_eq!(spans, step);
    let labels: Vec<StageLabel> = scenario.model().stages().iter().map(|stage| stage.label).collect();
    assert_eq!((labels[0], labels[labels.len() - 1]), (StageLabel::Embedding, StageLabel::Head));
    // A model in bytes has neither, and its summary says nothing of them.
    let scenario = Scenario::new(small(1, (1000, 1000), 100, 1 << 20, 4, 2)).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    let text = serde_json::to_string(&recorder.finish(&scenario, &outcome).summary.alpha).unwrap();
    assert!(!text.contains("head") && !text.contains("embedding"), "{text}");
}

pub fn any_strategy() -> impl Strategy<Value = Parts> {
    (
        prop::sample::select(InitializationKind::ALL),
        prop::sample::select(PlacementKind::ALL),
        prop::sample::select(MigrationKind::ALL),
        prop::sample::select(vec![Late::Finish, Late::Drop]),
    )
        .prop_map(|(initialization, placement, migration, late)| Parts {
            initialization,
            placement,
            migration,
            late,
            ..Parts::REFERENCE
        })
}

/// A kind of attention, with its window in tokens where it has one.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Full,
    Sliding(u32),
    Recurrent,
    Nothing,
}

/// Layers of these kinds; `shares` those that read the KV of the nearest earlier layer of their
/// kind, where there is one.
pub fn attentions(layers: &[(Kind, bool)], window_of_full: Option<u32>) -> Vec<String> {
    let mut seen = [false; 2];
    let text = |(kind, shares): &(Kind, bool)| {
        let mut heads = |kind: usize| {
            let shares = *shares && seen[kind];
            seen[kind] = true;
            format!("{HEADS}, shares_kv: {shares}")
        };
        match (kind, window_of_full) {
            (Kind::Full, None) => format!("Full({})", heads(0)),
            (Kind::Full, Some(window)) => format!("Sliding(window: {window}, of: ({}))", heads(0)),
            (Kind::Sliding(window), _) => format!("Sliding(window: {window}, of: ({}))", heads(1)),
            (Kind::Recurrent, _) => "Recurrent(parameters: 300, state: \"700 B\")".to_owned(),
            (Kind::Nothing, _) => "None".to_owned(),
        }
    };
    layers.iter().map(text).collect()
}

pub fn any_layers(window: u32) -> impl Strategy<Value = Vec<(Kind, bool)>> {
    let kinds = vec![Kind::Full, Kind::Sliding(window), Kind::Sliding(window), Kind::Recurrent, Kind::Nothing];
    prop::collection::vec((prop::sample::select(kinds), any::<bool>()), 1..5)
}

proptest! {
    #![proptest_config(cases(128))]

    /// Whatever attention keeps, under any strategy: bytes are accounted for, no tier is over its
    /// capacity, each layer keeps its window, and no run beats its bounds.
    #[test]
    fn what_always_holds(
        strategy in any_strategy(), layers in (1u32..30).prop_flat_map(any_layers),
        prefill in 0u32..60, decode in 1u32..30, page_tokens in 1u32..5, fill in 5u64..120, (inclusive, third) in any::<(bool, bool)>(),
        (skip, churn, seed) in (0u32..=900, 0u32..=500, any::<u64>()), weight_prefetch in 0u32..3,
    ) {
        let tiny = model(&attentions(&layers, None));
        let checked = LanguageModel::new(&tiny).unwrap();
        let pages = |tokens: u32| tokens.div_ceil(page_tokens);
        // What a run holds after a step in which the context has grown to `tokens`.
        let held = |tokens: u32| -> u64 {
            checked.kv().entries().map(|(layer, kv)| {
                let gone = kv.window.map_or(0, |window| tokens.saturating_sub(window)) / page_tokens;
                let own = if kv.source == layer { kv.token_bytes.get() } else { 0 };
                u64::from((pages(tokens) - gone) * page_tokens) * own + kv.state.get()
            }).sum()
        };
        let most = checked.stored_weights().get() + held(prefill + decode);
        let mut config = with_model(small(1, (0, 0), 0, most * fill / 100, prefill, decode), tiny);
        let Reference::Inline(memory) = &mut config.memory else { unreachable!() };
        if third {
            let middle = TierConfig::new("middle", Bytes::new(most / 4), bandwidth(400));
            memory.tiers.insert(1, middle);
        }
        memory.residency = if inclusive { ResidencyKind::Inclusive } else { ResidencyKind::Exclusive };
        (config.page_tokens, config.strategy, config.weight_prefetch) = (page_tokens, strategy, weight_prefetch);
        config.trace = skipping(skip, churn, seed);
        if page_tokens == 1 && !inclusive && !third {
            config.bound = BoundKind::Charged;
        }
        let scenario = Scenario::new(config).unwrap();
        let (outcome, keep) = carry_out(&scenario);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        prop_assert_eq!(accounted(&outcome), outcome.issued);
        for (step, kept) in (1..).zip(&keep.steps) {
            prop_assert!(kept.used[0] <= most * fill / 100, "HBM is over its capacity");
            prop_assert!(kept.bound <= kept.latency, "{:?} beats {:?}", kept.latency, kept.bound);
            let least = checked.stored_weights().get() + held(prefill + step);
            // Moves under way hold room at both ends, and what left its window in flight stays
            // until it has arrived.
            let used = if inclusive { *kept.used.last().unwrap() } else { kept.used.iter().sum() };
            prop_assert!(used >= least, "{} held of {}", used, least);
            let moves = kept.migrated != (0, 0) || kept.late > 0 || strategy.migration != MigrationKind::None;
            prop_assert!(moves || used == least, "{} held of {}", used, least);
        }
        let stored: u64 = outcome.at_end.kv.iter().map(|bytes| bytes.get()).sum();
        prop_assert_eq!(stored, held(prefill + decode));
        if let Some(charged) = scenario.charged_bound().unwrap() {
            prop_assert!(charged <= outcome.simulated, "{:?} beats {:?}", outcome.simulated, charged);
        }
    }

    /// A window that the context never exceeds changes nothing.
    #[test]
    fn a_window_as_long_as_the_context_is_none(
        strategy in any_strategy(), layers in any_layers(1000), prefill in 0u32..60, decode in 1u32..20,
        page_tokens in 1u32..4, fill in 5u64..120, beyond in 0u32..3, (skip, churn, seed) in (0u32..=900, 0u32..=500, any::<u64>()),
    ) {
        let scenario = |window: Option<u32>| {
            let tiny = model(&attentions(&layers, window));
            let checked = LanguageModel::new(&tiny).unwrap();
            let most = checked.stored_weights().get() + checked.token_bytes().get() * u64::from(prefill + decode + 4);
            let mut config = with_model(small(1, (0, 0), 0, most * fill / 100, prefill, decode), tiny);
            (config.page_tokens, config.strategy) = (page_tokens, strategy);
            config.trace = skipping(skip, churn, seed);
            Scenario::new(config).unwrap()
        };
        let (without, keep) = carry_out(&scenario(None));
        let (with, kept) = carry_out(&scenario(Some(prefill + decode + beyond)));
        prop_assert_eq!(keep, kept);
        prop_assert_eq!((without.events, without.peak, without.at_start, without.at_end), (with.events, with.peak, with.at_start, with.at_end));
    }
}
