//! The decode loop against figures computed by hand, a slow model of its bytes, and what must always hold.

use crate::common::properties::cases;
use crate::common::runs::{BASELINE, BEST_RATIO, Steps, accounted, bandwidth, memory, simulate_steps, small};
use crate::common::study::STUDY;
use proptest::prelude::*;
use std::fs;
use tiersim::config::Reference;
use tiersim::memory::{Arbitration, Duplex, LinkConfig, PerClass, TierConfig, TransferClass};
use tiersim::simulation::{RunError, Scenario, ScenarioConfig, SkipThread, run, run_in_lockstep};
use tiersim::strategy::{InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{Bytes, Ratio, SimTime};
use tiersim::workload::{ComputeConfig, Generator, GeneratorConfig, ModelConfig, SkipSource, StepSkips, TraceConfig};

fn model(config: &ScenarioConfig) -> &ModelConfig {
    match &config.model {
        Reference::Inline(model) => model,
        Reference::Name(name) => panic!("'{name}' is not spelled out"),
    }
}

/// The baseline by hand: bytes of each sublayer on HBM and external, filled as section 4 of the model says, and the time
/// of a step as the sum over sublayers of the slower side. `hbm` and `external` in bytes a nanosecond.
struct ByHand {
    layers: usize,
    kv: u64,
    free: u64,
    /// For each sublayer (bytes on HBM, bytes external).
    weights: Vec<(u64, u64)>,
    /// For each layer (tokens on HBM, tokens external).
    tokens: Vec<(u64, u64)>,
    hbm: f64,
    external: f64,
}

impl ByHand {
    fn new(layers: usize, sublayers: &[u64], kv: u64, capacity: u64, prefill: u64, hbm: f64, external: f64) -> Self {
        let mut free = capacity;
        let weights = (0..2 * layers)
            .map(|index| {
                let stored = sublayers[index % 2];
                let on_hbm = stored.min(free);
                free -= on_hbm;
                (on_hbm, stored - on_hbm)
            })
            .collect();
        let mut by_hand = Self { layers, kv, free, weights, tokens: vec![(0, 0); layers], hbm, external };
        for _ in 0..prefill {
            by_hand.write_token();
        }
        by_hand
    }

    fn write_token(&mut self) {
        for tokens in &mut self.tokens {
            if self.free >= self.kv {
                self.free -= self.kv;
                tokens.0 += 1;
            } else {
                tokens.1 += 1;
            }
        }
    }

    fn step(&mut self) -> f64 {
        let mut nanoseconds = 0.0;
        for sublayer in 0..2 * self.layers {
            let (mut hbm, mut external) = self.weights[sublayer];
            if sublayer % 2 == 0 {
                hbm += self.tokens[sublayer / 2].0 * self.kv;
                external += self.tokens[sublayer / 2].1 * self.kv;
            }
            nanoseconds += (hbm as f64 / self.hbm).max(external as f64 / self.external);
        }
        self.write_token();
        nanoseconds
    }
}

#[test]
fn baseline_with_nothing_skipped_is_the_sum_of_the_slower_sides_in_the_study() {
    for context in ["1_1_1", "1_1_4", "1_1_8", "1_1_16"] {
        let steps = fs::read_to_string(STUDY.folder.join(context.to_owned() + "_baseline_skip0/steps.csv")).unwrap();
        let mut lines = steps.lines();
        let column = lines.next().unwrap().split(',').position(|name| name == "latency_ns").unwrap();
        let mut by_hand = ByHand::new(32, &[16 << 20, 16 << 20], 32 << 10, 4 << 30, 1024, 4915.0, 900.0);
        let mut compared = 0;
        for (step, line) in lines.enumerate() {
            let expected = by_hand.step();
            let latency: f64 = line.split(',').nth(column).unwrap().parse().unwrap();
            let off = latency / expected - 1.0;
            assert!((0.0..0.001).contains(&off), "{context}: step {step}: {latency} against {expected}");
            compared += 1;
        }
        assert_eq!(compared, 1024 * context[4..].parse::<usize>().unwrap());
    }
}

#[test]
fn best_ratio_by_hand_in_the_first_step_of_the_study() {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.decode_tokens = 1;
    let (outcome, keep) = simulate_steps(&config);
    // round(16 MiB * 4915/5815) of each sublayer, round(1024 * 4915/5815) = 866 tokens of each layer on HBM.
    let weights = ((16u64 << 20) * 4915 * 2 + 5815) / (5815 * 2);
    assert_eq!(weights, 14_180_570);
    let kept = &keep.steps[0];
    assert_eq!(kept.attention_read[0], 32 * (weights + 866 * (32 << 10)));
    assert_eq!(kept.mlp_read[0], 32 * weights);
    assert_eq!(kept.attention_read[1], 32 * ((16 << 20) - weights + 158 * (32 << 10)));
    // Each sublayer takes its slower side, rounded up; the write of a layer overlaps the mlp's reads on the bus of HBM, where
    // it takes 32 KiB at most, and nothing else contends.
    let up = |bytes: u64, rate: u64| (bytes * 1000).div_ceil(rate);
    let hbm = up(weights + 866 * (32 << 10), 4915);
    let external = up((16 << 20) - weights + 158 * (32 << 10), 900);
    let attention = hbm.max(external);
    let mlp = up(weights, 4915).max(up((16 << 20) - weights, 900));
    let least = 32 * (attention + mlp);
    let most = least + 32 * up(32 << 10, 900);
    assert!((least..=most).contains(&outcome.simulated.as_ps()), "{least} <= {} <= {most}", outcome.simulated.as_ps());
}

/// A layer whose posted write is still under way when its next read is issued.
#[test]
fn the_read_of_a_token_waits_for_its_write() {
    // One layer, HBM so small that all lies outside: 1000 B of weights each, KV of 1000 B.
    let mut config = small(1, (1000, 1000), 1000, 1, 1, 2);
    memory(&mut config).tiers[1].link = Some(LinkConfig::new(bandwidth(250), bandwidth(10)).into());
    let (_, keep) = simulate_steps(&config);
    // One byte of each step's first sublayer lies on HBM. Step 0: 999 B of weights and 1000 B of KV at 250 B/ns; then
    // the write of token 1 goes out at 10 B/ns for 100 ns, beside the mlp's 1000 B.
    let attention = 1999.0 / 250.0;
    assert!((keep.steps[0].latency.as_ns() - (attention + 4.0)).abs() < 0.01, "{:?}", keep.steps[0]);
    // Step 1: the KV read of tokens 0 and 1 is issued at once, but goes on the link only when token 1 is written: at
    // attention + 100 ns; then it takes 2000 B / 250 = 8 ns alone.
    let ended = attention + 100.0 + 8.0 + 4.0;
    let total = keep.steps[0].latency.as_ns() + keep.steps[1].latency.as_ns();
    assert!((total - ended).abs() < 0.01, "{total} against {ended}");
}

/// Found by a reviewer: reads of both tiers are issued while the HBM write of the token before is under way.
#[test]
fn a_read_that_waits_is_admitted_when_both_tiers_are_read() {
    let mut config = small(1, (1 << 20, 0), 1 << 20, 120 << 20, 100, 50);
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        memory(&mut config).arbitration = arbitration;
        for strategy in [BASELINE, BEST_RATIO] {
            config.strategy = strategy;
            let (outcome, keep) = simulate_steps(&config);
            assert!(outcome.error.is_none());
            assert_eq!(keep.steps.len(), 50);
        }
    }
}

#[test]
fn every_sublayer_waits_for_the_latency_of_its_slowest_tier() {
    let mut config = small(2, (1_000_000, 500_000), 1000, 1 << 30, 100, 3);
    memory(&mut config).tiers[0].latency = "1.5us".parse().unwrap();
    let (_, keep) = simulate_steps(&config);
    for (step, kept) in keep.steps.iter().enumerate() {
        // All on HBM at 1000 B/ns; the write of a token takes its nanosecond of the bus beside the mlp's reads.
        let bytes = 2 * (1_000_000 + 500_000 + (100 + step as u64) * 1000);
        let expected = bytes as f64 / 1000.0 + 4.0 * 1500.0;
        assert!((0.0..=2.0).contains(&(kept.latency.as_ns() - expected)), "{kept:?}: {expected}");
    }
}

#[test]
fn a_skipped_token_is_not_waited_for() {
    let mut config = small(1, (1000, 1000), 1000, 1, 1, 2);
    memory(&mut config).tiers[1].link = Some(LinkConfig::new(bandwidth(250), bandwidth(10)).into());
    config.trace = TraceConfig::Generated(GeneratorConfig { skip: "1".parse().unwrap(), ..GeneratorConfig::default() });
    let (_, keep) = simulate_steps(&config);
    let total = keep.steps[0].latency.as_ns() + keep.steps[1].latency.as_ns();
    assert!((total - 2.0 * (999.0 / 250.0 + 4.0)).abs() < 0.01, "{total}");
}

#[test]
fn compute_and_reads_overlap() {
    let mut config = small(3, (2_000_000, 1_000_000), 1000, 1 << 30, 100, 3);
    config.compute =
        Some(ComputeConfig { rate: "1 TFLOP/s".parse().unwrap(), flop_per_weight_byte: 1.5, flop_per_kv_byte: 0.0 });
    let (_, keep) = simulate_steps(&config);
    // 1.5 FLOP a byte at 1000 FLOP/ns takes longer than a byte at 1000 B/ns; writes are hidden behind compute.
    for kept in &keep.steps {
        assert_eq!(kept.latency.as_ns(), 3.0 * (3_000.0 + 1_500.0));
        assert_eq!(kept.latency, kept.bound);
    }
}

#[test]
fn weights_read_early_hide_behind_compute() {
    let mut config = small(2, (2_000_000, 2_000_000), 1, 1 << 30, 1, 2);
    // Compute as long as the reads, on KV so small that it does not count.
    config.compute =
        Some(ComputeConfig { rate: "1 TFLOP/s".parse().unwrap(), flop_per_weight_byte: 1.0, flop_per_kv_byte: 0.0 });
    let (_, plain) = simulate_steps(&config);
    assert!((plain.steps[0].latency.as_ns() - 8_000.0).abs() < 1.0);
    // A prefetched sublayer has nothing to gain where the lanes are busy all the time: reads are as long as compute.
    config.weight_prefetch = 1;
    let (_, early) = simulate_steps(&config);
    assert!((early.steps[0].latency.as_ns() - 8_000.0).abs() < 1.0, "{:?}", early.steps[0]);
    // With compute twice as long, all reads but the first hide either way: compute alone counts, from the start on.
    config.compute.as_mut().unwrap().flop_per_weight_byte = 2.0;
    let (_, hidden) = simulate_steps(&config);
    assert_eq!(hidden.steps[0].latency.as_ns(), 16_000.0);
    // With unequal sublayers it pays: attention reads 1 MB and computes 8 us, mlp reads 4 MB and computes nothing more.
    let mut uneven = small(1, (1_000_000, 4_000_000), 1, 1 << 30, 1, 1);
    uneven.compute = Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: 0.0,
        flop_per_kv_byte: 8_000_000.0,
    });
    assert!((simulate_steps(&uneven).1.steps[0].latency.as_ns() - 12_000.0).abs() < 1.0);
    uneven.weight_prefetch = 1;
    assert!((simulate_steps(&uneven).1.steps[0].latency.as_ns() - 8_000.0).abs() < 1.0);
}

#[test]
fn moves_that_are_not_complete_are_late_and_read_at_their_source() {
    // A link so slow that moves of a step cannot complete in it.
    let mut config = small(2, (100_000, 100_000), 10_000, 1 << 30, 64, 30);
    memory(&mut config).tiers[1].link = Some(LinkConfig::new(bandwidth(100), bandwidth(1)).into());
    config.strategy = BEST_RATIO;
    config.trace = TraceConfig::Generated(GeneratorConfig {
        skip: "0.4".parse().unwrap(),
        churn: "0.5".parse().unwrap(),
        seed: 3,
        ..GeneratorConfig::default()
    });
    let (outcome, keep) = simulate_steps(&config);
    assert!(keep.steps.iter().map(|kept| kept.late).sum::<u64>() > 0);
    for (step, kept) in keep.steps.iter().enumerate() {
        let context = 64 + step as u64;
        let active = 2 * (context - context * 4 / 10);
        assert_eq!(kept.read_tokens, active);
        assert_eq!(kept.attention_read.iter().sum::<u64>(), 2 * 100_000 + active * 10_000);
    }
    assert_eq!(outcome.issued, outcome.completed);
}

#[test]
fn what_fits_nowhere_ends_the_run_and_keeps_what_was_simulated() {
    let mut config = small(2, (1000, 1000), 100, 5_000, 4, 100);
    memory(&mut config).tiers[1].capacity = Bytes::new(1_000);
    let (outcome, keep) = simulate_steps(&config);
    // 6000 B in all, 4000 of weights, 800 of prefill: 1200 left for 6 tokens of 2 x 100 B.
    assert_eq!(keep.steps.len(), 6);
    assert_eq!(outcome.steps, 6);
    let error = outcome.error.expect("incomplete");
    assert!(
        matches!(error, RunError::OutOfMemory { step, layer, .. } if (step.index(), layer.index()) == (6, 0)),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("step 6, layer 0") && text.contains("100 B"), "{text}");
    for class in TransferClass::ALL {
        let accounted = outcome.completed[class] + outcome.in_flight[class];
        assert_eq!(outcome.issued[class], accounted);
    }
}

#[test]
fn a_layout_that_does_not_fit_is_refused() {
    let mut config = small(2, (1000, 1000), 100, 2_000, 4, 1);
    memory(&mut config).tiers[1].capacity = Bytes::new(2_000);
    let error = Scenario::new(config).unwrap_err().to_string();
    assert!(error.contains("prefill_tokens") && error.contains("800 B"), "{error}");
}

/// The bytes of a run by the letter of section 4, with tokens as plain lists and every move complete at once.
struct SlowBytes {
    kv: u64,
    context: usize,
    on_hbm: Vec<Vec<bool>>,
    weights: u64,
    weights_on_hbm: u64,
    best: (u64, u64),
    migrated: (u64, u64),
}

fn round_half_up(numerator: i128, denominator: i128) -> i128 {
    (2 * numerator + denominator).div_euclid(2 * denominator)
}

impl SlowBytes {
    fn new(layers: usize, weights: u64, kv: u64, prefill: usize, hbm: u64, external: u64) -> Self {
        let best = (hbm, hbm + external);
        let n = round_half_up(i128::from(hbm) * prefill as i128, i128::from(best.1)) as usize;
        let on_hbm = (0..prefill).map(|j| (j + 1) * n / prefill > j * n / prefill).collect();
        Self {
            kv,
            context: prefill,
            on_hbm: vec![on_hbm; layers],
            weights,
            weights_on_hbm: round_half_up(i128::from(hbm) * i128::from(weights), i128::from(best.1)) as u64,
            best,
            migrated: (0, 0),
        }
    }

    fn read(&self, skips: &StepSkips) -> u64 {
        let mut on_hbm = 0;
        for (layer, tokens) in self.on_hbm.iter().enumerate() {
            on_hbm += self.weights_on_hbm;
            for (token, here) in tokens.iter().enumerate() {
                if *here && !skips.sets[layer].contains(token) {
                    on_hbm += self.kv;
                }
            }
        }
        on_hbm
    }

    fn write(&mut self) {
        for tokens in &mut self.on_hbm {
            let share = tokens.iter().filter(|here| **here).count() as u64;
            tokens.push(share * self.best.1 <= self.best.0 * tokens.len() as u64);
        }
        self.context += 1;
    }

    fn migrate(&mut self, next: &StepSkips) {
        self.migrated = (0, 0);
        for (layer, tokens) in self.on_hbm.iter_mut().enumerate() {
            let skipped = |token: usize| next.sets[layer].contains(token);
            for (token, here) in tokens.iter_mut().enumerate() {
                if *here && skipped(token) {
                    *here = false;
                    self.migrated.1 += self.kv;
                }
            }
            let active = (0..tokens.len()).filter(|token| !skipped(*token)).count() as i128;
            let (hbm, all, kv) = (i128::from(self.best.0), i128::from(self.best.1), i128::from(self.kv));
            let wanted = hbm * (i128::from(self.weights) + active * kv) - all * i128::from(self.weights_on_hbm);
            let target = round_half_up(wanted, all * kv).clamp(0, active);
            let mut on_hbm = tokens.iter().filter(|here| **here).count() as i128;
            for token in (0..tokens.len()).rev() {
                if on_hbm < target && !tokens[token] && !skipped(token) {
                    tokens[token] = true;
                    on_hbm += 1;
                    self.migrated.0 += self.kv;
                }
            }
            for here in tokens.iter_mut() {
                if on_hbm > target && *here {
                    *here = false;
                    on_hbm -= 1;
                    self.migrated.1 += self.kv;
                }
            }
        }
    }
}

/// Where HBM is short, the tier after it serves its share of what HBM leaves, and not of the whole.
#[test]
fn a_middle_tier_takes_its_share_of_what_a_full_one_leaves() {
    let mut config = small(8, (1 << 20, 1 << 20), 1 << 12, 20 << 20, 1000, 300);
    let between = TierConfig::new("between", Bytes::new(1 << 40), bandwidth(400));
    memory(&mut config).tiers.insert(1, between);
    config.strategy = BEST_RATIO;
    config.trace = TraceConfig::Generated(GeneratorConfig {
        skip: "0.4".parse().unwrap(),
        churn: "0.03".parse().unwrap(),
        seed: 5,
        ..GeneratorConfig::default()
    });
    let (_, keep) = simulate_steps(&config);
    let last = keep.steps.last().unwrap();
    let read: Vec<u64> = (0..3).map(|tier| last.attention_read[tier] + last.mlp_read[tier]).collect();
    let share = read[1] as f64 / (read[1] + read[2]) as f64;
    assert!((share - 400.0 / 650.0).abs() < 0.01, "{share}: {last:?}");
}

/// 1000 : 400 : 250 GB/s. With nothing skipped and room everywhere, look-ahead has nothing to do but to round.
#[test]
fn three_tiers_share_every_read_in_proportion_to_their_bandwidths() {
    let mut config = small(8, (1 << 20, 1 << 20), 1 << 12, 1 << 40, 1000, 100);
    let tier = |name: &str, rate: u64| TierConfig::new(name, Bytes::new(1 << 40), bandwidth(rate));
    memory(&mut config).tiers = vec![tier("hbm", 1000), tier("dram", 400), tier("cxl", 250)];
    config.strategy = BEST_RATIO;
    for skip in ["0", "0.4"] {
        config.trace = TraceConfig::Generated(GeneratorConfig {
            skip: skip.parse().unwrap(),
            churn: "0.03".parse().unwrap(),
            seed: 5,
            ..GeneratorConfig::default()
        });
        let (outcome, keep) = simulate_steps(&config);
        for kept in keep.steps.iter().skip(1) {
            for (tier, share) in [1000.0, 400.0, 250.0].map(|rate: f64| rate / 1650.0).into_iter().enumerate() {
                let read = kept.attention_read[tier] + kept.mlp_read[tier];
                let all: u64 = kept.attention_read.iter().chain(&kept.mlp_read).sum();
                assert!((read as f64 / all as f64 - share).abs() < 0.001, "{skip}: tier {tier}: {kept:?}");
            }
        }
        let bound: SimTime = keep.steps.iter().map(|kept| kept.bound).sum();
        assert!(outcome.simulated >= bound);
        if skip == "0" {
            assert!(outcome.simulated.as_ns() < 1.01 * bound.as_ns());
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn baseline_by_hand_in_random_small_scenarios(
        layers in 1usize..5, attention in 1u64..40, mlp in 1u64..40, kv in 1u64..40, prefill in 0u32..60, decode in 1u32..40,
        fill in 0u64..120,
    ) {
        // Weights in MB and KV in hundreds of bytes: posted writes are small against a sublayer.
        let (attention, mlp, kv) = (attention * 1_000_000, mlp * 1_000_000, kv * 100);
        let all = layers as u64 * (attention + mlp + u64::from(prefill + decode) * kv);
        let hbm = 1 + all * fill / 100;
        let (_, keep) = simulate_steps(&small(layers as u32, (attention, mlp), kv, hbm, prefill, decode));
        let mut by_hand = ByHand::new(layers, &[attention, mlp], kv, hbm, u64::from(prefill), 1000.0, 250.0);
        for kept in &keep.steps {
            let expected = by_hand.step();
            let off = kept.latency.as_ns() / expected - 1.0;
            // A write takes at most 16 ns on the slowest lane.
            prop_assert!(off > -1e-9 && off < 0.001 + 16.0 * layers as f64 / expected, "{kept:?}: {expected}");
        }
    }

    #[test]
    fn best_ratio_moves_what_the_letter_of_the_model_says(
        layers in 2usize..5, kv in 1u64..2000, prefill in 1usize..80, decode in 2usize..25, skip in 0u32..=1000,
        churn in 0u32..=1000, seed: u64,
    ) {
        // Weights of 200 MB a sublayer: every write and move of a layer is over before its next step, as there are other
        // layers in between.
        let weights = 200_000_000;
        let mut config = small(layers as u32, (weights, weights), kv, 1 << 40, prefill as u32, decode as u32);
        let generator = GeneratorConfig {
            skip: Ratio::from_permille(skip).unwrap(),
            churn: Ratio::from_permille(churn).unwrap(),
            seed,
            ..GeneratorConfig::default()
        };
        config.trace = TraceConfig::Generated(generator.clone());
        config.strategy = BEST_RATIO;
        let (_, keep) = simulate_steps(&config);

        let mut source = Generator::new(generator, layers, prefill + decode);
        let mut skips = |step: usize| {
            let mut skips = StepSkips::none(layers, prefill + decode);
            source.next_step(prefill + step, &mut skips).unwrap();
            skips
        };
        let mut slow = SlowBytes::new(layers, weights, kv, prefill, 1000, 250);
        let mut now = skips(0);
        for (step, kept) in keep.steps.iter().enumerate() {
            prop_assert_eq!(kept.late, 0);
            prop_assert_eq!(kept.attention_read[0], slow.read(&now), "step {}", step);
            slow.write();
            slow.migrated = (0, 0);
            if step + 1 < decode {
                now = skips(step + 1);
                slow.migrate(&now);
            }
            prop_assert_eq!(kept.migrated, slow.migrated, "step {}", step);
        }
    }

    #[test]
    fn what_always_holds(
        layers in 1u32..4, attention in 0u64..20_000, mlp in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..70,
        decode in 1u32..25, fill in 1u64..130, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64,
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
        weight_prefetch in 0u32..4, flop in prop::option::of(0u32..4), reads in 1u64..4, combined in prop::bool::ANY,
        third in prop::option::of(0u64..100), latency in prop::sample::select(vec![0u64, 0, 1, 70_000, 2_000_000]),
    ) {
        let all = u64::from(layers) * (attention + mlp + u64::from(prefill + decode) * kv);
        let mut config = small(layers, (attention, mlp), kv, (all * fill / 100).max(1), prefill, decode);
        config.strategy = Parts { initialization, placement, migration, budget: None, late };
        config.trace = TraceConfig::Generated(GeneratorConfig {
            skip: Ratio::from_permille(skip).unwrap(),
            churn: Ratio::from_permille(churn).unwrap(),
            seed,
            ..GeneratorConfig::default()
        });
        config.weight_prefetch = weight_prefetch;
        config.compute = flop.map(|flop| ComputeConfig {
            rate: "1 TFLOP/s".parse().unwrap(),
            flop_per_weight_byte: f64::from(flop),
            flop_per_kv_byte: f64::from(flop) / 2.0,
        });
        memory(&mut config).arbitration = arbitration;
        if combined {
            memory(&mut config).tiers[1].link_mut().unwrap().combined = Some(bandwidth(300));
        }
        memory(&mut config).tiers[1].latency = SimTime::from_ps(latency);
        if let Some(fill) = third {
            // A tier in between, which may be full as well.
            let capacity = Bytes::new((all * fill / 100).max(1));
            let between = TierConfig { duplex: Duplex::Full, ..TierConfig::new("between", capacity, bandwidth(400)) };
            memory(&mut config).tiers.insert(1, between);
        }
        if let Reference::Inline(model) = &mut config.model {
            model.layers[0].mlp.read = Some(Bytes::new(mlp * reads));
        }

        let (outcome, keep) = simulate_steps(&config);
        prop_assert!(outcome.error.is_none());
        // Capacity, at every moment.
        let memory = memory(&mut config).clone();
        for (tier, peak) in memory.tiers.iter().zip(&outcome.peak) {
            prop_assert!(*peak <= tier.capacity);
        }
        // Exclusive residency: nothing is lost, and what is in use twice is on its way.
        let stored = u64::from(layers) * (attention + mlp);
        for (step, kept) in keep.steps.iter().enumerate() {
            let used: u64 = kept.used.iter().sum();
            prop_assert!(used >= stored + u64::from(layers) * (u64::from(prefill) + step as u64 + 1) * kv);
        }
        // Bytes, exactly.
        prop_assert_eq!(outcome.issued, accounted(&outcome));
        prop_assert_eq!(outcome.in_flight, PerClass::filled(Bytes::ZERO));
        let steps = u64::from(decode);
        let layer = &model(&config).layers[0];
        let weights = layer.attention.stored.get() + layer.mlp.read.unwrap().get();
        let read_tokens: u64 = (0..steps)
            .map(|step| {
                let context = u64::from(prefill) + step;
                context - Ratio::from_permille(skip).unwrap().floor_of(context)
            })
            .sum();
        let migrated = keep.steps.iter().fold((0, 0), |sum, kept| (sum.0 + kept.migrated.0, sum.1 + kept.migrated.1));
        let expected = vec![
            steps * u64::from(layers) * weights,
            u64::from(layers) * read_tokens * kv,
            steps * u64::from(layers) * kv,
            migrated.0 - outcome.dropped[TransferClass::MigrateIn].get(),
            migrated.1 - outcome.dropped[TransferClass::MigrateOut].get(),
        ];
        prop_assert_eq!(keep.bytes.values().copied().collect::<Vec<_>>(), expected);
        // No step beats its bound; steps follow one another at once.
        for kept in &keep.steps {
            prop_assert!(kept.latency >= kept.bound, "{:?}", kept);
        }
        prop_assert_eq!(keep.steps.iter().map(|kept| kept.latency).sum::<SimTime>(), outcome.simulated);
        // No lane carries more than it can.
        let scenario = Scenario::new(config.clone()).unwrap();
        for (lane, load) in scenario.memory().lanes().iter().zip(&outcome.lanes) {
            let bytes: Bytes = load.bytes.values().copied().sum();
            prop_assert!(lane.whole.time_for(bytes) <= outcome.drained + SimTime::from_ps(1));
            prop_assert!(load.busy <= outcome.drained);
        }
        // The same again is the same.
        let (again, kept_again) = simulate_steps(&config);
        prop_assert_eq!((again.events, again.drained), (outcome.events, outcome.drained));
        prop_assert_eq!(kept_again.steps, keep.steps);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whatever a strategy knows and moves, it pays for it; and the bound that says so is no lower than the one that does not.
    #[test]
    fn no_run_beats_the_bound_that_pays_for_moves(
        layers in 1u32..4, attention in 0u64..20_000, mlp in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..40,
        decode in 1u32..14, fill in 1u64..110, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64,
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        weight_prefetch in 0u32..3, third in prop::option::of(0u64..100),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
    ) {
        let all = u64::from(layers) * (attention + mlp + u64::from(prefill + decode) * kv);
        let mut config = small(layers, (attention, mlp), kv, (all * fill / 100).max(1), prefill, decode);
        config.strategy = Parts { initialization, placement, migration, budget: None, late };
        config.trace = TraceConfig::Generated(GeneratorConfig {
            skip: Ratio::from_permille(skip).unwrap(),
            churn: Ratio::from_permille(churn).unwrap(),
            seed,
            ..GeneratorConfig::default()
        });
        config.weight_prefetch = weight_prefetch;
        config.bound = tiersim::strategy::BoundKind::Charged;
        if let Some(fill) = third {
            let capacity = Bytes::new((all * fill / 100).max(1));
            memory(&mut config).tiers.insert(1, TierConfig::new("between", capacity, bandwidth(400)));
        }
        let (outcome, keep) = simulate_steps(&config);
        let charged = Scenario::new(config).unwrap().charged_bound().unwrap().unwrap();
        let free: SimTime = keep.steps.iter().map(|kept| kept.bound).sum();
        prop_assert!(outcome.simulated >= charged, "{:?} beats {:?}", outcome.simulated, charged);
        prop_assert!(charged >= free);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Steps of several runs in turn, with skip sets made once for all and perhaps on another thread, change nothing, even where
    /// some end early.
    #[test]
    fn runs_abreast_are_as_runs_alone(
        layers in 1u32..4, kv in 1u64..3_000, prefill in 0u32..70, decode in 1u32..40, skip in 0u32..=1000, churn in 0u32..=500,
        seed: u64, page_tokens in 1u32..6, ahead: bool,
        runs in prop::collection::vec((
            prop::sample::select(InitializationKind::ALL), prop::sample::select(PlacementKind::ALL),
            prop::sample::select(MigrationKind::ALL),
            prop::sample::select(vec![Late::Finish, Late::Drop]), 1u64..130, 50u64..130), 1..5),
    ) {
        let all = u64::from(layers) * (40_000 + u64::from(prefill + decode) * kv);
        let scenarios: Vec<Scenario> = runs
            .into_iter()
            .filter_map(|(initialization, placement, migration, late, hbm, external)| {
                let hbm = (all * hbm / 100).max(1);
                let mut config = small(layers, (20_000, 20_000), kv, hbm, prefill, decode);
                config.page_tokens = page_tokens;
                config.strategy = Parts { initialization, placement, migration, budget: None, late };
                config.trace = TraceConfig::Generated(GeneratorConfig {
                    skip: Ratio::from_permille(skip).unwrap(),
                    churn: Ratio::from_permille(churn).unwrap(),
                    seed,
                    ..GeneratorConfig::default()
                });
                // Some have no room for all, or not even for what there is to begin with.
                memory(&mut config).tiers[1].capacity = Bytes::new((all * external / 100).saturating_sub(hbm).max(1));
                Scenario::new(config).ok()
            })
            .filter(|scenario| run(scenario, &mut ()).is_ok())
            .collect();
        let abreast: Vec<&Scenario> = scenarios.iter().collect();
        let mut kept: Vec<Steps> = scenarios.iter().map(|_| Steps::default()).collect();
        let made = if ahead { SkipThread::Background } else { SkipThread::Inline };
        let outcomes = run_in_lockstep(&abreast, made, &mut kept).unwrap();
        prop_assert_eq!(outcomes.len(), scenarios.len());
        for ((scenario, outcome), kept) in scenarios.iter().zip(outcomes).zip(kept) {
            let mut alone = Steps::default();
            let expected = run(scenario, &mut alone).unwrap();
            prop_assert_eq!(format!("{outcome:?}"), format!("{expected:?}"));
            prop_assert_eq!((kept.steps, kept.bytes), (alone.steps, alone.bytes));
        }
    }
}
