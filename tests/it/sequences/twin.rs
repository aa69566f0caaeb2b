//! Whole runs of several sequences against a slow twin, step by step and to the picosecond.
//!
//! The twin is written from the documents alone: pages are plain lists, transfers are fluids whose
//! rates are found anew at every event by max-min fairness, and each sequence has its state. Its
//! tiers have the lanes of [`small`]: a bus, and external memory a link with a lane each way.

mod fluid;
mod places;
mod steps;

use super::properties::{any_groups, any_prefill};
use super::*;
use crate::common::properties::cases;
use crate::common::runs::{bandwidth, memory, simulate_steps, skipping};
use proptest::prelude::*;
use steps::Twin;
use tiersim::memory::TierConfig;
use tiersim::strategy::{InitializationKind, MigrationKind, PlacementKind};
use tiersim::units::Bytes;
use tiersim::workload::ComputeConfig;

/// FLOP, and so picoseconds, for each byte of weights and of KV.
const COMPUTE: [f64; 2] = [0.7, 1.3];

prop_compose! {
    fn any_run()(
        layers in 1u32..4, (attention, mlp, kv) in (0u64..3000, 0u64..3000, prop_oneof![1u64..60, 1u64..1000]), groups in any_groups(), prefill in any_prefill(),
        page_tokens in 1u32..6, fill in 3u64..110, third in prop::bool::weighted(0.3), (skip, churn, seed) in (0u32..=900, 0u32..=500, any::<u64>()),
        initialization in prop::sample::select(vec![InitializationKind::HbmFirst, InitializationKind::BestRatio]),
        placement in prop::sample::select(vec![PlacementKind::PreferHbm, PlacementKind::BestRatio, PlacementKind::Balance]),
        migrates in prop::bool::weighted(0.8), computes: bool,
    ) -> ScenarioConfig {
        let mut config = small(layers, (attention, mlp), kv, 1, 1, 1);
        let tokens = |of: &SequencesConfig| (of.prefill_tokens.unwrap() + of.decode_tokens.unwrap()).next_multiple_of(page_tokens);
        let all: u64 = groups.iter().map(|of| u64::from(of.count * tokens(of))).sum();
        let most = u64::from(layers) * (attention + mlp + all * kv);
        let tiers = &mut memory(&mut config).tiers;
        tiers[0].capacity = Bytes::new((most * fill / 100).max(1));
        if third {
            tiers.insert(1, TierConfig::new("between", Bytes::new((most / 5).max(1)), bandwidth(400)));
        }
        (config.sequences, config.prefill, config.page_tokens) = (groups, prefill, page_tokens);
        config.trace = skipping(skip, churn, seed);
        config.strategy.initialization = initialization;
        config.strategy.placement = placement;
        if migrates && !third {
            config.strategy.migration = MigrationKind::LookAhead;
        }
        config.compute = computes.then(|| ComputeConfig {
            rate: "1 TFLOP/s".parse().unwrap(),
            flop_per_weight_byte: Some(COMPUTE[0]),
            flop_per_kv_byte: Some(COMPUTE[1]),
        });
        config
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_run_is_that_of_its_twin(config in any_run()) {
        if Scenario::new(config.clone()).is_err() {
            return Ok(());
        }
        let (outcome, steps) = simulate_steps(&config);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let mut twin = Twin::new(&config);
        for (index, kept) in steps.steps.iter().enumerate() {
            let expected = twin.step();
            prop_assert!(expected.is_some(), "the twin ends before step {}", index);
            let seen = steps::Figures {
                latency: kept.latency.as_ps(),
                attention_read: kept.attention_read.clone(),
                mlp_read: kept.mlp_read.clone(),
                used: kept.used.clone(),
                migrated: kept.migrated,
                late: kept.late,
                read_tokens: kept.read_tokens,
            };
            prop_assert_eq!(expected.unwrap(), seen, "step {}", index);
        }
        prop_assert!(twin.step().is_none(), "the twin goes on");
    }
}
