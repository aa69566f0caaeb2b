//! Inclusive residency: the last tier holds a copy of all KV, and the faster tiers are caches of
//! it.
//!
//! A token leaves a cache without a move, as its copy remains; a move into a cache adds a copy.
//! Capacity, bytes and reads are checked on random runs.

use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::memory::{Arbitration, LinkConfig, PerClass, ResidencyKind, TierConfig, TransferClass};
use tiersim::simulation::{RunError, Scenario};
use tiersim::strategy::{InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{Bytes, SimTime};

#[test]
fn a_run_by_hand_writes_every_token_twice_and_reads_it_once() {
    let mut config = small(1, (1000, 1000), 100, 1 << 20, 2, 3);
    memory(&mut config).residency = ResidencyKind::Inclusive;
    let (outcome, keep) = simulate(&config);
    for (step, kept) in keep.steps.iter().enumerate() {
        let context = 2 + step as u64;
        // Attention reads 1000 B and the context at 1 B/ps; the mlp's 1000 B share the bus with 100
        // B that are written. The copy takes the link, where nothing else is.
        assert_eq!(kept.latency.as_ps(), 1000 + 100 * context + 1100, "step {step}");
        assert_eq!(kept.attention_read, [1000 + 100 * context, 0]);
        assert_eq!(kept.used, [2000 + 100 * (context + 1); 2], "on HBM, and all of it again outside");
    }
    assert_eq!(keep.bytes(TransferClass::KvWrite), 3 * 2 * 100);
    assert_eq!(outcome.peak, [Bytes::new(2500); 2]);
}

/// Skipped tokens leave HBM at once, without a transfer; one whose copy is being written stays.
#[test]
fn moving_out_is_forgetting_once_the_copy_is_written() {
    for (link, forgotten) in [(250, true), (1, false)] {
        let mut config = small(1, (1000, 1000), 100, 1 << 20, 2, 3);
        memory(&mut config).residency = ResidencyKind::Inclusive;
        memory(&mut config).tiers[1].link = Some(LinkConfig::new(bandwidth(250), bandwidth(link)).into());
        config.strategy = Parts { migration: MigrationKind::LookAhead, ..BASELINE };
        config.trace = skipping(1000, 0, 1);
        let (_, keep) = simulate(&config);
        for step in 0..3u64 {
            let kept = &keep.steps[step as usize];
            // Nothing is decided after the last step. At 250 GB/s a copy takes 400 ps, at 1 GB/s
            // 100 ns: longer than the run.
            let last = u64::from(step == 2);
            let on_hbm = if forgotten { last } else { step + 1 };
            assert_eq!(kept.used, [2000 + 100 * on_hbm, 2000 + 100 * (3 + step)], "step {step}, link of {link}");
            assert_eq!(kept.migrated, (0, 0));
        }
        assert_eq!(keep.bytes(TransferClass::MigrateOut), 0);
    }
}

#[test]
fn the_last_tier_must_hold_a_copy_of_all() {
    let mut config = small(1, (1000, 1000), 100, 1 << 20, 2, 9);
    memory(&mut config).residency = ResidencyKind::Inclusive;
    memory(&mut config).tiers[1].capacity = Bytes::new(2500);
    let (outcome, keep) = simulate(&config);
    // Room for the copies of 5 tokens, 2 of which are there.
    assert_eq!(keep.steps.len(), 3);
    let error = outcome.error.expect("no room for the sixth");
    assert!(
        matches!(error, RunError::OutOfMemory { step, layer, .. } if (step.index(), layer.index()) == (3, 0)),
        "{error}"
    );
    assert!(error.to_string().contains("'external'"), "{error}");
    // Not even the prefill: refused without a panic, whether before the run or at its start.
    memory(&mut config).tiers[1].capacity = Bytes::new(2100);
    let message = match Scenario::new(config) {
        Err(error) => error.to_string(),
        Ok(scenario) => tiersim::simulation::run(&scenario, &mut ()).unwrap_err().to_string(),
    };
    assert!(message.contains("prefill"), "{message}");
}

proptest! {
    #![proptest_config(cases(150))]

    /// With time for every move, what is read where does not depend on copies: moving out only
    /// costs nothing.
    #[test]
    fn the_same_is_read_from_each_tier_as_under_exclusive_residency(
        layers in 2u32..5, kv in 1u64..2000, prefill in 1u32..80, decode in 2u32..20, skip in 0u32..=1000,
        churn in 0u32..=1000, seed: u64,
    ) {
        let mut config = small(layers, (200_000_000, 200_000_000), kv, 1 << 40, prefill, decode);
        config.trace = skipping(skip, churn, seed);
        config.strategy = BEST_RATIO;
        let (_, exclusive) = simulate(&config);
        memory(&mut config).residency = ResidencyKind::Inclusive;
        let (_, inclusive) = simulate(&config);
        for (a, b) in exclusive.steps.iter().zip(&inclusive.steps) {
            prop_assert_eq!((&a.attention_read, &a.mlp_read, a.migrated.0), (&b.attention_read, &b.mlp_read, b.migrated.0));
            prop_assert_eq!(b.migrated.1, 0);
            // A token that leaves holds its room until it has arrived; one that is forgotten does
            // not.
            prop_assert!(b.used[0] <= a.used[0]);
        }
    }

    #[test]
    fn what_always_holds_of_copies(
        layers in 1u32..4, attention in 0u64..20_000, mlp in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..70,
        decode in 1u32..25, fill in 1u64..130, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64,
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
        weight_prefetch in 0u32..3,
        third in prop::option::of(1u64..100), latency in prop::sample::select(vec![0u64, 0, 1, 70_000, 2_000_000]),
        limit in prop::option::of(1u32..3),
    ) {
        let all = u64::from(layers) * (attention + mlp + u64::from(prefill + decode) * kv);
        let capacity = (all * fill / 100).max(1);
        let mut config = small(layers, (attention, mlp), kv, capacity, prefill, decode);
        config.strategy = Parts { initialization, placement, migration, late, ..Parts::REFERENCE };
        config.trace = skipping(skip, churn, seed);
        config.weight_prefetch = weight_prefetch;
        let memory = memory(&mut config);
        memory.residency = ResidencyKind::Inclusive;
        memory.arbitration = arbitration;
        memory.tiers[1].latency = SimTime::from_ps(latency);
        memory.tiers[1].max_transfers = limit;
        // Exactly what is needed.
        memory.tiers[1].capacity = Bytes::new(all);
        if let Some(fill) = third {
            let capacity = Bytes::new((all * fill / 100).max(1));
            memory.tiers.insert(1, TierConfig::new("between", capacity, bandwidth(400)));
        }
        let capacities: Vec<Bytes> = memory.tiers.iter().map(|tier| tier.capacity).collect();
        let (outcome, keep) = simulate(&config);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        for (capacity, peak) in capacities.iter().zip(&outcome.peak) {
            prop_assert!(peak <= capacity);
        }
        let last = capacities.len() - 1;
        for (step, kept) in keep.steps.iter().enumerate() {
            let tokens = u64::from(prefill) + step as u64 + 1;
            prop_assert_eq!(kept.used[last], u64::from(layers) * (attention + mlp + tokens * kv));
            prop_assert!(kept.latency >= kept.bound, "{:?}", kept);
        }
        // Out to the last tier nothing is carried.
        if last == 1 {
            prop_assert_eq!(keep.bytes(TransferClass::MigrateOut), 0);
            prop_assert!(keep.steps.iter().all(|kept| kept.migrated.1 == 0));
        }
        prop_assert!(keep.carried.iter().all(|it| it.0 != TransferClass::MigrateOut || it.6.index() != last));
        prop_assert_eq!(outcome.in_flight, PerClass::filled(Bytes::ZERO));
        // Every token is written to the last tier, and once more if it goes elsewhere.
        let writes = keep.carried.iter().filter(|it| it.0 == TransferClass::KvWrite && it.6.index() == last).count();
        prop_assert_eq!(writes, (layers * decode) as usize);
        let (again, kept_again) = simulate(&config);
        prop_assert_eq!((again.events, again.drained), (outcome.events, outcome.drained));
        prop_assert_eq!(kept_again, keep);
    }
}
