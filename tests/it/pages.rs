//! KV in pages of several tokens: a page is placed, moved and read as a whole.
//!
//! A run with pages of one token is a run without pages; with larger pages, a page is read where
//! any of its tokens is read.

use crate::common::properties::{CASES, cases};
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::memory::{Interleaving, ResidencyKind, TierConfig, TransferClass};
use tiersim::simulation::{RunError, Scenario};
use tiersim::strategy::{InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::Bytes;
use tiersim::workload::{StepSkips, TokenSet};

/// The skip sets of every step, from the scenario's own source.
fn skips(scenario: &Scenario) -> Vec<Vec<TokenSet>> {
    let layers = scenario.model().layers();
    let mut source = scenario.skips().unwrap();
    let mut step = StepSkips::none(layers, scenario.prefill() + scenario.decode());
    (0..scenario.decode())
        .map(|k| {
            source.next_step(scenario.prefill() + k, &mut step).unwrap();
            step.sets.clone()
        })
        .collect()
}

/// A page of 4: half of it is there before step 0, and it is read as far as it is written.
#[test]
fn a_run_by_hand_takes_room_for_whole_pages_and_reads_what_is_written() {
    let mut config = small(1, (1000, 1000), 100, 1 << 20, 6, 4);
    config.page_tokens = 4;
    let (outcome, keep) = simulate(&config);
    for (step, kept) in keep.steps.iter().enumerate() {
        let context = 6 + step as u64;
        assert_eq!(kept.attention_read, [1000 + 100 * context, 0], "step {step}");
        assert_eq!((kept.read_tokens, kept.read_beyond), (context, 0));
        // The token written in this step is in a page of its own from token 8 on.
        assert_eq!(kept.used, [2000 + 400 * (context + 1).div_ceil(4), 0], "step {step}");
        // A write of one token, and not of a page, shares the mlp's bus.
        assert_eq!(kept.latency.as_ps(), 1000 + 100 * context + 1100, "step {step}");
    }
    assert_eq!(keep.bytes(TransferClass::KvWrite), 4 * 100);
    assert_eq!(outcome.peak[0], Bytes::new(2000 + 1200));
}

/// HBM has room for one page of two tokens beside the weights: the page that is open there is
/// filled there, and the next one goes outside.
#[test]
fn a_page_stays_together() {
    let mut config = small(1, (1000, 1000), 100, 2200, 0, 4);
    config.page_tokens = 2;
    let (outcome, keep) = simulate(&config);
    assert!(outcome.error.is_none());
    let used: Vec<_> = keep.steps.iter().map(|kept| kept.used.clone()).collect();
    assert_eq!(used, [[2200, 0], [2200, 0], [2200, 200], [2200, 200]]);
    let writes = |tier: usize| {
        keep.carried
            .iter()
            .filter(|it| it.0 == TransferClass::KvWrite && it.6.index() == tier)
            .map(|it| it.1.get())
            .sum::<u64>()
    };
    assert_eq!((writes(0), writes(1)), (200, 200));
}

/// Where it does not fit, the shortage is of a whole page.
#[test]
fn a_page_that_does_not_fit_ends_the_run() {
    let mut config = small(1, (1000, 1000), 100, 2200, 0, 9);
    config.page_tokens = 4;
    memory(&mut config).tiers[1].capacity = Bytes::new(500);
    let (outcome, keep) = simulate(&config);
    assert_eq!(keep.steps.len(), 4, "one page outside holds four tokens");
    match outcome.error {
        Some(RunError::OutOfMemory { step, layer, shortage }) => {
            assert_eq!((step.index(), layer.index(), shortage.needed), (4, 0, Bytes::new(400)));
        }
        other => panic!("{other:?}"),
    }
}

fn strategies() -> impl Strategy<Value = Parts> {
    (
        prop::sample::select(InitializationKind::ALL.to_vec()),
        prop::sample::select(PlacementKind::ALL.to_vec()),
        prop::sample::select(MigrationKind::ALL.to_vec()),
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

proptest! {
    #![proptest_config(cases(CASES))]

    /// Against the sets themselves: what is read, and what of it was not needed; capacities, the
    /// bound, and the same again.
    #[test]
    fn pages_are_read_whole_and_nothing_else_changes(
        layers in 1u32..4, weights in 1u64..5000, kv in 1u64..200, prefill in 0u32..60, decode in 1u32..30,
        page_tokens in 1u32..20, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64, room in 0u64..150,
        strategy in strategies(), hashed in prop::option::of((1u32..6, 1u32..20)), inclusive: bool, third: bool,
    ) {
        let hbm = (2 * u64::from(layers) * weights * room / 100).max(1);
        let mut config = small(layers, (weights, weights), kv, hbm, prefill, decode);
        config.page_tokens = page_tokens;
        config.trace = skipping(skip, churn, seed);
        config.strategy = strategy;
        if let Some((channels, page_tokens)) = hashed {
            for tier in &mut memory(&mut config).tiers {
                tier.channels = channels;
                tier.interleaving = Interleaving::Hashed { page_tokens };
            }
        }
        if inclusive {
            memory(&mut config).residency = ResidencyKind::Inclusive;
        }
        if third {
            memory(&mut config).tiers.insert(1, TierConfig::new("between", Bytes::new(hbm), bandwidth(400)));
        }
        let scenario = Scenario::new(config.clone()).unwrap();
        let (outcome, keep) = carry_out(&scenario);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let page = page_tokens as usize;
        for (step, (kept, skipped)) in keep.steps.iter().zip(skips(&scenario)).enumerate() {
            let context = prefill as usize + step;
            let (mut read, mut needed) = (0, 0);
            for layer in &skipped {
                for token in 0..context {
                    let of_page = (token / page * page..(token / page + 1) * page).take_while(|other| *other < context);
                    read += u64::from(!of_page.into_iter().all(|other| layer.contains(other)));
                    needed += u64::from(!layer.contains(token));
                }
            }
            prop_assert_eq!(kept.read_tokens, read, "step {}", step);
            prop_assert_eq!(kept.read_beyond, (read - needed) * kv, "step {}", step);
            let all_read: u64 = kept.attention_read.iter().chain(&kept.mlp_read).sum();
            prop_assert_eq!(all_read, 2 * u64::from(layers) * weights + read * kv);
            prop_assert!(kept.latency >= kept.bound, "step {}: {} < {}", step, kept.latency, kept.bound);
            let capacity = |tier: usize| scenario.memory().tiers()[tier].capacity.get();
            for (tier, used) in kept.used.iter().enumerate() {
                prop_assert!(*used <= capacity(tier));
            }
            let pages = (context + 1).div_ceil(page) as u64 * page as u64;
            let stored = 2 * u64::from(layers) * weights + u64::from(layers) * pages * kv;
            let last = kept.used[kept.used.len() - 1];
            if inclusive {
                prop_assert_eq!(last, stored);
            } else {
                // A moving page has room at both ends.
                prop_assert!(kept.used.iter().sum::<u64>() >= stored);
            }
        }
        prop_assert_eq!(outcome.issued, accounted(&outcome));
        // Each token is written once; under inclusive residency, once on the last tier.
        let last = scenario.memory().last_tier();
        let counts = |tier| tier == last || !inclusive;
        let writes = keep.carried.iter().filter(|it| it.0 == TransferClass::KvWrite && counts(it.6));
        let written: u64 = writes.map(|it| it.1.get()).sum();
        prop_assert_eq!(written, u64::from(decode) * u64::from(layers) * kv);
        let (_, again) = carry_out(&scenario);
        prop_assert!(keep == again);
    }
}
