//! The decode loop against figures computed by hand; in `properties`, random runs against a slow
//! model of their bytes, and what must always hold.

mod properties;

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

/// The baseline by hand: bytes of each stage on HBM and external, HBM filled with weights in the
/// order of the stages, then with KV token by token, and the time of a step as the sum over stages
/// of the slower side. `hbm` and `external` in bytes a nanosecond.
struct ByHand {
    layers: usize,
    kv: u64,
    free: u64,
    /// For each stage (bytes on HBM, bytes external).
    weights: Vec<(u64, u64)>,
    /// For each layer (tokens on HBM, tokens external).
    tokens: Vec<(u64, u64)>,
    hbm: f64,
    external: f64,
}

impl ByHand {
    fn new(layers: usize, stages: &[u64], kv: u64, capacity: u64, prefill: u64, hbm: f64, external: f64) -> Self {
        let mut free = capacity;
        let weights = (0..2 * layers)
            .map(|index| {
                let stored = stages[index % 2];
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
        for stage in 0..2 * self.layers {
            let (mut hbm, mut external) = self.weights[stage];
            if stage % 2 == 0 {
                hbm += self.tokens[stage / 2].0 * self.kv;
                external += self.tokens[stage / 2].1 * self.kv;
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
    // round(16 MiB * 4915/5815) of each stage, round(1024 * 4915/5815) = 866 tokens of each layer
    // on HBM.
    let weights = ((16u64 << 20) * 4915 * 2 + 5815) / (5815 * 2);
    assert_eq!(weights, 14_180_570);
    let kept = &keep.steps[0];
    assert_eq!(kept.attention_read[0], 32 * (weights + 866 * (32 << 10)));
    assert_eq!(kept.mlp_read[0], 32 * weights);
    assert_eq!(kept.attention_read[1], 32 * ((16 << 20) - weights + 158 * (32 << 10)));
    // Each stage takes its slower side, rounded up; the write of a layer overlaps the mlp's reads
    // on the bus of HBM, where it takes 32 KiB at most, and nothing else contends.
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
    // One byte of each step's first stage lies on HBM. Step 0: 999 B of weights and 1000 B of KV at
    // 250 B/ns; then the write of token 1 goes out at 10 B/ns for 100 ns, beside the mlp's 1000 B.
    let attention = 1999.0 / 250.0;
    assert!((keep.steps[0].latency.as_ns() - (attention + 4.0)).abs() < 0.01, "{:?}", keep.steps[0]);
    // Step 1: the KV read of tokens 0 and 1 is issued at once, but goes on the link only when token
    // 1 is written: at attention + 100 ns; then it takes 2000 B / 250 = 8 ns unshared.
    let ended = attention + 100.0 + 8.0 + 4.0;
    let total = keep.steps[0].latency.as_ns() + keep.steps[1].latency.as_ns();
    assert!((total - ended).abs() < 0.01, "{total} against {ended}");
}

/// Reads of both tiers are issued while the HBM write of the token before is
/// under way.
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
fn every_stage_waits_for_the_latency_of_its_slowest_tier() {
    let mut config = small(2, (1_000_000, 500_000), 1000, 1 << 30, 100, 3);
    memory(&mut config).tiers[0].latency = "1.5us".parse().unwrap();
    let (_, keep) = simulate_steps(&config);
    for (step, kept) in keep.steps.iter().enumerate() {
        // All on HBM at 1000 B/ns; the write of a token takes its nanosecond of the bus beside the
        // mlp's reads.
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
    config.compute = Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: Some(1.5),
        flop_per_kv_byte: Some(0.0),
    });
    let (_, keep) = simulate_steps(&config);
    // 1.5 FLOP a byte at 1000 FLOP/ns takes longer than a byte at 1000 B/ns; writes are hidden
    // behind compute.
    for kept in &keep.steps {
        assert_eq!(kept.latency.as_ns(), 3.0 * (3_000.0 + 1_500.0));
        assert_eq!(kept.latency, kept.bound);
    }
}

#[test]
fn weights_read_early_hide_behind_compute() {
    let mut config = small(2, (2_000_000, 2_000_000), 1, 1 << 30, 1, 2);
    // Compute as long as the reads, on KV so small that it does not count.
    config.compute = Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: Some(1.0),
        flop_per_kv_byte: Some(0.0),
    });
    let (_, plain) = simulate_steps(&config);
    assert!((plain.steps[0].latency.as_ns() - 8_000.0).abs() < 1.0);
    // A prefetched stage has nothing to gain where the lanes are busy all the time: reads are as
    // long as compute.
    config.weight_prefetch = 1;
    let (_, early) = simulate_steps(&config);
    assert!((early.steps[0].latency.as_ns() - 8_000.0).abs() < 1.0, "{:?}", early.steps[0]);
    // With compute twice as long, all reads but the first hide either way: only compute counts,
    // from the start on.
    config.compute.as_mut().unwrap().flop_per_weight_byte = Some(2.0);
    let (_, hidden) = simulate_steps(&config);
    assert_eq!(hidden.steps[0].latency.as_ns(), 16_000.0);
    // With unequal stages it pays: attention reads 1 MB and computes 8 us, mlp reads 4 MB and
    // computes nothing more.
    let mut uneven = small(1, (1_000_000, 4_000_000), 1, 1 << 30, 1, 1);
    uneven.compute = Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: Some(0.0),
        flop_per_kv_byte: Some(8_000_000.0),
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

/// 1000 : 400 : 250 GB/s. With nothing skipped and room everywhere, look-ahead has nothing to do
/// but to round.
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
