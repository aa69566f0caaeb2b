//! Layouts by piece: by hand, against a twin that lays out byte by byte and page by page, and as
//! parts of a run.

use crate::common::properties::{CASES, cases};
use crate::common::runs::{simulate_steps, small};
use crate::common::systems::{config, giga, tier};
use proptest::prelude::*;
use tiersim::config::parse;
use tiersim::memory::{Arbitration, ClassWeights, Ledger, MemorySystem, PerTier, TierId};
use tiersim::metrics::Recorder;
use tiersim::simulation::{Assignment, Fields, Scenario, ScenarioConfig, ScenarioError, run};
use tiersim::strategy::{Initialization, LaidOut, Layout, LayoutError, LayoutRules, Rules};
use tiersim::units::{Bytes, LayerId, PageSize, Ratio, RegionId, SequenceId};
use tiersim::workload::{Contents, Growth, LanguageModel, Lengths, Regions, StageLabel, stages};

/// Attention and mlp in bytes; the tests' copies of the inputs of a bug report.
fn pieces(layout: &str) -> ScenarioConfig {
    let mut fields = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    for (path, value) in [
        ("model", "tests/data/pieces.ron"),
        ("memory", "tests/data/pieces-memory.ron"),
        ("strategy", "baseline"),
        ("layout", layout),
    ] {
        fields.set(path, value.into()).unwrap();
    }
    ScenarioConfig { prefill_tokens: 100, decode_tokens: 10, ..fields.config().unwrap() }
}

/// Two layers: attention reads 100 MB of weights and 1 kB of KV a token, mlp 100 MB of 1 GB.
#[test]
fn attention_on_the_gpu_and_mlp_on_the_cpu() {
    let scenario = Scenario::new(pieces("mlp=cpu, *=gpu")).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    let report = recorder.finish(&scenario, &outcome);
    let summary = &report.summary;
    assert_eq!(summary.strategy, "Rules(mlp=cpu, *=gpu)/None");
    // 2 (100 MB + 100 kB) at 1000 GB/s and 2 * 100 MB at 100 GB/s in the first step.
    assert_eq!(summary.token_latency_ns.unwrap().min, 2_200_200.0);
    assert_eq!((summary.alpha.attention.mean, summary.alpha.mlp.mean), (Some(1.0), Some(0.0)));
}

#[test]
fn layers_and_shares_by_hand() {
    let read = |layout: &str| simulate_steps(&pieces(layout)).1.steps[0].clone();
    let of_layer = read("mlp layers 1..=cpu, mlp=10% gpu, attention=gpu, *=cpu");
    // Of the first layer's mlp a tenth is on the GPU, and a tenth of 100 MB is read there.
    assert_eq!(of_layer.mlp_read, [10_000_000, 190_000_000]);
    // 100 tokens of 1 kB in two layers on the CPU.
    assert_eq!(of_layer.attention_read, [200_000_000, 200_000]);
    let shares = read("kv=60% gpu, mlp=4% gpu, attention=gpu, *=cpu");
    assert_eq!(shares.attention_read, [200_120_000, 80_000]);
    assert_eq!(shares.mlp_read, [8_000_000, 192_000_000]);
}

/// New KV keeps the shares, whatever the page size; and after migration has moved some, new pages
/// make up for it.
#[test]
fn new_kv_keeps_the_shares() {
    for page_tokens in [1, 4] {
        let mut config = pieces("kv=60% gpu, attention=gpu, *=cpu");
        (config.decode_tokens, config.page_tokens) = (100, page_tokens);
        let (_, steps) = simulate_steps(&config);
        let used = |step: usize| &steps.steps[step].used;
        // 200 tokens at the end, in two layers, of which the last is not yet used by a step.
        let kv = used(99)[0] - 200_000_000;
        let page = u64::from(page_tokens) * 1000;
        assert!(kv.abs_diff(2 * 120_000) <= 2 * page, "{kv}");
    }
}

#[test]
fn migration_goes_on_under_a_layout() {
    let mut config = small(2, (1_000_000, 1_000_000), 20_000, 1 << 30, 1000, 64);
    config.layout = Some("kv=external, *=hbm".parse().unwrap());
    config.strategy = "balanced-online".parse().unwrap();
    let (_, steps) = simulate_steps(&config);
    assert!(steps.steps.iter().any(|step| step.migrated.0 > 0));
    config.strategy = "baseline".parse().unwrap();
    let (_, steps) = simulate_steps(&config);
    assert!(steps.steps.iter().all(|step| step.migrated == (0, 0)));
}

fn refused(layout: &str) -> String {
    match Scenario::new(pieces(layout)) {
        Err(error @ ScenarioError::Layout(_)) => error.to_string(),
        other => panic!("{layout}: {:?}", other.map(|_| ())),
    }
}

#[test]
fn layouts_that_cannot_be_are_refused() {
    for (layout, parts) in [
        ("mlp=gpu, *=gpu", &["'mlp=gpu'", "2 GB", "300 MB", "1.7 GB are missing", "'mlp=15% gpu'"][..]),
        // Attention takes 200 MB, so that a share of 5 % is the most that fits beside it.
        ("attention=gpu, mlp=20% gpu, *=cpu", &["'mlp=20% gpu'", "100 MB of its 300 MB left", "'mlp=5% gpu'"]),
        ("attention=gpu, weights=gpu, *=cpu", &["'weights=5% gpu'"]),
        ("mlp=cpu", &["no rule says where attention lies", "'*=cpu'"]),
        ("attention layers ..1=gpu, mlp=cpu, kv=cpu", &["attention of layers 1..2"]),
        ("kv=60% gpu, weights=cpu", &["the other 40 % of kv"]),
        ("mlp=cp, *=gpu", &["no tier named 'cp'", "gpu, cpu", "Did you mean 'cpu'?"]),
        ("mlp layers 1..3=cpu, *=gpu", &["2 layers, the last is layer 1"]),
        ("mlp layers 2..=cpu, *=gpu", &["2 layers, the last is layer 1"]),
        ("*=cpu, mlp=gpu", &["'mlp=gpu' is never reached"]),
        ("*=cpu, *=gpu", &["'*=gpu' is never reached"]),
        ("mlp=50% cpu, mlp=50% gpu, mlp=cpu, *=cpu", &["'mlp=cpu' is never reached"]),
    ] {
        let message = refused(layout);
        parts.iter().for_each(|part| assert!(message.contains(part), "{layout}: {message}"));
    }
    // A full tier is reported before the run, new KV included.
    let mut config = pieces("attention=gpu, kv=gpu, *=cpu");
    config.decode_tokens = 49_900;
    assert!(Scenario::new(config.clone()).is_ok());
    config.decode_tokens = 49_901;
    let error = Scenario::new(config).unwrap_err();
    assert!(error.is_of_room() && error.to_string().contains("2 kB are missing"), "{error}");
}

/// A dense model has no experts: a rule for them is no error, so that one layout goes with all
/// models.
#[test]
fn tiers_have_names_of_their_place_and_pieces_may_be_absent() {
    let read = |layout: &str| simulate_steps(&pieces(layout)).1.steps[0].clone();
    assert_eq!(read("shared=hbm, mlp=external, *=hbm"), read("mlp=cpu, *=gpu"));
    // Feed-forward weights that are read in part are experts.
    assert_eq!(read("experts=external, mlp=hbm, *=hbm"), read("mlp=cpu, *=gpu"));
    // An end for what other models have.
    assert_eq!(read("mlp=external, attention=hbm, kv=hbm, *=hbm"), read("mlp=cpu, *=gpu"));
    let third = tiersim::memory::TierConfig::new("ssd", Bytes::new(1 << 40), giga(1));
    let mut config = pieces("mlp=external, *=hbm");
    let tiersim::config::Reference::Inline(memory) = &mut config.memory else { panic!("it is inline") };
    memory.tiers.push(third);
    let error = Scenario::new(config).unwrap_err().to_string();
    assert!(error.contains("has 3 tiers") && error.contains("gpu, cpu, ssd"), "{error}");
}

#[test]
fn a_layout_is_a_field_of_a_scenario() {
    let fields = Fields::new(&pieces("*=cpu")).unwrap();
    let set = |value: serde_json::Value| {
        fields.apply(&[Assignment { path: "layout".to_owned(), value, asked: "--set layout=...".to_owned() }])
    };
    let rules = || Some("mlp=cpu, *=gpu".parse::<LayoutRules>().unwrap());
    assert_eq!(set("mlp=cpu; *=gpu".into()).unwrap().layout, rules());
    assert_eq!(set(serde_json::json!(["mlp=cpu", "*=gpu"])).unwrap().layout, rules());
    assert_eq!(set(serde_json::Value::Null).unwrap().layout, None);
    let error = set("mpl=cpu".into()).unwrap_err().to_string();
    assert!(error.contains("--set layout") && error.contains("Did you mean 'mlp'?"), "{error}");
    // What a run keeps is read back.
    let kept = Scenario::new(pieces("mlp=cpu, *=gpu")).unwrap().resolved().clone();
    let back: ScenarioConfig = serde_json::from_value(serde_json::to_value(&kept).unwrap()).unwrap();
    assert_eq!(back.layout, rules());
    let without = ScenarioConfig { layout: None, ..kept };
    assert!(serde_json::to_value(&without).unwrap().get("layout").is_none());
}

/// An embedding, a dense layer, two layers of experts with shared ones, one of which has a
/// recurrent state in the place of KV, and a head.
fn mixture() -> LanguageModel {
    let text = "(name: \"m\", architecture: (hidden: 8, vocabulary: 11, blocks: [\
        (count: 1, layers: [(attention: Full(heads: 2, kv_heads: 1, head_size: 4), mlp: Dense(intermediate: 7))]), \
        (count: 1, layers: [\
         (attention: Full(heads: 2, kv_heads: 1, head_size: 4), \
          mlp: Experts(count: 5, active: 2, intermediate: 3, shared: 1)), \
         (attention: Recurrent(parameters: 20, state: \"37 B\"), \
          mlp: Experts(count: 5, active: 2, intermediate: 3, shared: 1))])]))";
    LanguageModel::new(&parse(text, "model").unwrap()).unwrap()
}

/// Shared experts are a part of their own without changing what a stage reads.
#[test]
fn shared_experts_are_a_part_of_a_piece() {
    let model = mixture();
    let stages = model.stages();
    let mlp = stages.iter().find(|stage| stage.label == StageLabel::Mlp && stage.weights.len() == 2).unwrap();
    let fixed = mlp.weights.iter().find(|weights| weights.growth == Growth::Fixed).unwrap();
    // Gate, up and down of 8 x 3, in 2 bytes each.
    assert_eq!(fixed.shared, Bytes::new(3 * 8 * 3 * 2));
    assert!(fixed.stored > fixed.shared);
    let others = stages.iter().flat_map(|stage| &stage.weights).filter(|weights| weights.shared > Bytes::ZERO);
    assert_eq!(others.count(), 2);
}

/// A rule as the test has it: piece, layers, permille, tier.
type Drawn = (usize, Option<(usize, usize)>, Option<u32>, usize);

const PIECES: [&str; 9] = ["attention", "mlp", "experts", "shared", "embedding", "head", "weights", "kv", "*"];
const TIERS: [&str; 3] = ["hbm", "second", "third"];

fn written(rules: &[Drawn]) -> String {
    let rule = |(piece, layers, permille, tier): &Drawn| {
        let layers = layers.map_or(String::new(), |(start, end)| format!(" layers {start}..{end}"));
        let share = permille.map_or(String::new(), |permille| format!("{}% ", f64::from(permille) / 10.0));
        format!("{}{layers}={share}{}", PIECES[*piece], TIERS[*tier])
    };
    rules.iter().map(rule).collect::<Vec<_>>().join(", ")
}

/// Whether a rule selects a byte of that kind (a name of `PIECES`) in a layer.
fn selects((piece, layers, _, _): &Drawn, kind: &str, layer: Option<usize>) -> bool {
    let in_layers = layers.is_none_or(|(start, end)| layer.is_some_and(|layer| (start..end).contains(&layer)));
    in_layers
        && match PIECES[*piece] {
            "*" => true,
            "weights" => kind != "kv",
            "mlp" => ["mlp", "experts", "shared"].contains(&kind),
            piece => piece == kind,
        }
}

/// The tier of unit `index` of `count`: the first rule up to which, rounded, there are more.
fn tier_of(rules: &[Drawn], kind: &str, layer: Option<usize>, index: u64, count: u64) -> usize {
    let mut permille = 0;
    for rule in rules.iter().filter(|rule| selects(rule, kind, layer)) {
        permille = (permille + u64::from(rule.2.unwrap_or(1000))).min(1000);
        if 2 * permille * count >= 1000 * (2 * index + 1) {
            return rule.3;
        }
    }
    panic!("the last rule takes all");
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let layers = prop::option::of((0usize..3, 1usize..4).prop_map(|(a, b)| (a.min(b - 1), b)));
    let rule = (0usize..9, layers, prop::option::of(1u32..1000), 0usize..3).prop_map(|(piece, layers, share, tier)| {
        // The embedding and the head belong to no layer.
        (piece, layers.filter(|_| !["embedding", "head"].contains(&PIECES[piece])), share, tier)
    });
    (prop::collection::vec(rule, 0..6), 0usize..3).prop_map(|(mut rules, tier)| {
        rules.push((8, None, None, tier));
        rules
    })
}

fn lay_out(rules: &Rules, regions: &Regions, model: &LanguageModel, system: &MemorySystem, size: PageSize) -> LaidOut {
    let mut ledger = Ledger::new(system);
    let sequences: Vec<SequenceId> = SequenceId::all(regions.sequences()).collect();
    let stages = stages(model, regions, &sequences);
    let mut layout = Layout::new(regions, &stages, system, &mut ledger, size);
    rules.lay_out(&mut layout).unwrap();
    let laid_out = layout.finish().unwrap();
    for tier in system.tier_ids() {
        assert!(ledger.used(tier) <= system.tiers()[tier.index()].capacity);
    }
    laid_out
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn layouts_are_as_byte_by_byte(
        rules in drawn(),
        tokens in prop::collection::vec(0usize..60, 1..4),
        page in prop::sample::select(vec![1u32, 3, 16]),
        room in prop::collection::vec(60u64..2000, 3),
    ) {
        let model = mixture();
        let lengths = tokens.iter().map(|tokens| Lengths {
            at_start: *tokens, prompt: *tokens, expected: *tokens, most: tokens + 1,
        });
        let regions = Regions::new(&model, &lengths.collect::<Vec<_>>());
        let of = |name: &str, gigabytes: u64, bytes: u64| {
            tiersim::memory::TierConfig { capacity: Bytes::new(bytes), ..tier(name, giga(gigabytes)) }
        };
        let tiers = (0..3).map(|at| of(TIERS[at], 1000 - 300 * at as u64, 10 * room[at]));
        let system = config(Arbitration::default(), ClassWeights::default(), tiers.collect());
        let system = MemorySystem::new(&system).unwrap();
        let size = PageSize::new(page).unwrap();
        let parsed: LayoutRules = written(&rules).parse().unwrap();
        let checked = match Rules::new(&parsed, &regions, &system) {
            Ok(rules) => rules,
            // The rules before it take all parts that it selects, in all layers.
            Err(LayoutError::NeverReached { rule }) => {
                let kinds = [("attention", true), ("mlp", true), ("experts", true), ("shared", true), ("kv", true),
                    ("embedding", false), ("head", false)];
                let at = parsed.to_string().split(", ").collect::<Vec<_>>().iter().rposition(|one| *one == rule).unwrap();
                for (kind, of_layer) in kinds {
                    for layer in if of_layer { vec![Some(0), Some(1), Some(2)] } else { vec![None] } {
                        let before = rules[..at].iter().filter(|rule| selects(rule, kind, layer));
                        let taken: u32 = before.map(|rule| rule.2.unwrap_or(1000)).sum();
                        prop_assert!(taken >= 1000 || !selects(&rules[at], kind, layer));
                    }
                }
                return Ok(());
            }
            Err(error) => panic!("{error}"),
        };
        let mut all: PerTier<u64> = PerTier::filled(3, 0);
        let mut divided = Vec::new();
        let mut pages: Vec<PerTier<u64>> = Vec::new();
        for region in RegionId::all(regions.len()) {
            let layer = regions.layer_of(region).map(LayerId::index);
            let mut on: PerTier<u64> = PerTier::filled(3, 0);
            let put = |kind: &str, units: u64, unit: u64, on: &mut PerTier<u64>| {
                for index in 0..units {
                    on[TierId::new(tier_of(&rules, kind, layer, index, units))] += unit;
                }
            };
            match regions.region(region).contents.clone() {
                Contents::Kv { sequence, token_bytes, .. } => {
                    let count = size.pages(tokens[sequence.index()]) as u64;
                    put("kv", count, 1, &mut on);
                    for (tier, count) in on.iter() {
                        all[tier] += count * token_bytes.get() * u64::from(page);
                    }
                    pages.push(on);
                    continue;
                }
                Contents::Experts(_) => unreachable!("no routing is given"),
                Contents::State { bytes, .. } => put("kv", bytes.get(), 1, &mut on),
                Contents::Weights { stage, weights } => {
                    let (stored, shared) = (weights.stored.get(), weights.shared.get());
                    match (stage, weights.growth) {
                        (_, Growth::Experts(_)) => put("experts", 5, stored / 5, &mut on),
                        (StageLabel::Embedding, _) => put("embedding", stored, 1, &mut on),
                        (StageLabel::Attention, _) => put("attention", stored, 1, &mut on),
                        (StageLabel::Head, _) => put("head", stored, 1, &mut on),
                        (StageLabel::Mlp, _) => {
                            put("mlp", stored - shared, 1, &mut on);
                            put("shared", shared, 1, &mut on);
                        }
                    }
                }
            }
            for (tier, bytes) in on.iter() {
                all[tier] += bytes;
            }
            divided.push(on.map(|bytes| Bytes::new(*bytes)));
        }
        let fits = system.tier_ids().all(|tier| all[tier] <= system.tiers()[tier.index()].capacity.get());
        let room = checked.check_room(&regions, &system, size, false);
        prop_assert_eq!(room.is_ok(), fits, "{:?}", room);
        if !fits {
            return Ok(());
        }
        let laid = lay_out(&checked, &regions, &model, &system, size);
        prop_assert_eq!(laid.divided, divided);
        for (region, count) in pages.iter().enumerate() {
            let laid = &laid.pages[region];
            for (tier, count) in count.iter() {
                prop_assert_eq!(laid[tier].count() as u64, *count);
            }
            // Each page lies on one tier.
            let total: u64 = count.values().sum();
            for page in 0..total as usize {
                prop_assert_eq!(laid.values().filter(|pages| pages.contains(page)).count(), 1);
            }
        }
    }

    /// The placement of new pages keeps each tier within a page of its share of two tiers, and
    /// within two of three.
    #[test]
    fn new_pages_keep_the_shares(first in 1u32..1000, second in 1u32..1000, start in 0u32..50) {
        let mut config = pieces(&format!("kv={}% gpu, kv={}% cpu, attention=gpu, *=cpu",
            f64::from(first) / 10.0, f64::from(second) / 10.0));
        // All that is left of it goes to the CPU.
        (config.prefill_tokens, config.decode_tokens) = (start, 40);
        match Scenario::new(config.clone()) {
            Err(ScenarioError::Layout(error)) if matches!(*error, LayoutError::NeverReached { .. }) => return Ok(()),
            other => drop(other.unwrap()),
        }
        let (_, steps) = simulate_steps(&config);
        for (step, kept) in steps.steps.iter().enumerate() {
            let tokens = u64::from(start) + step as u64 + 1;
            let share = Ratio::from_permille(first).unwrap().as_f64() * tokens as f64;
            let kv = (kept.used[0] - 200_000_000) as f64 / 2000.0;
            prop_assert!((kv - share).abs() <= 1.0, "{kv} of {tokens}: {share}");
        }
    }
}
