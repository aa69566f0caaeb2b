//! Whole decode runs over tiers of several channels.
//!
//! A striped tier gives the same results as one lane of the same total bandwidth. A hashed tier, in
//! which each page of KV lies in one channel, is never faster than that, as a stage waits for its
//! most loaded channel.

use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::memory::{Arbitration, Interleaving, LinkConfig, MemorySystem, ResidencyKind, TierId, TransferClass};
use tiersim::simulation::{Scenario, ScenarioConfig};
use tiersim::strategy::{InitializationKind, Late, MigrationKind, PlacementKind, Strategy as Parts};
use tiersim::units::{RegionId, SimTime};

const HASHED: Interleaving = Interleaving::Hashed { page_tokens: 1 };

/// One layer of which only the KV is on hashed HBM: it waits for the channel that has the most of
/// its pages.
#[test]
fn a_layers_read_takes_what_its_fullest_channel_takes() {
    let (tokens, channels) = (100, 4);
    let mut config = small(1, (0, 1000), 1000, 1 << 20, tokens, 1);
    memory(&mut config).tiers[0].channels = channels;
    memory(&mut config).tiers[0].interleaving = HASHED;
    let system = MemorySystem::new(memory(&mut config)).unwrap();
    let mut pages = vec![0u64; channels as usize];
    for token in 0..u64::from(tokens) {
        pages[system.port_of_page(TierId::HBM, RegionId::default(), token).index()] += 1;
    }
    let fullest = *pages.iter().max().unwrap();
    assert!(fullest > u64::from(tokens / channels), "{pages:?}: this case is to be uneven");
    let (_, keep) = simulate(&config);
    // 0.25 B/ps a channel. The mlp's 1000 B then have each channel beside 1000 B that are written
    // to one of them.
    let read = keep.carried.iter().find(|it| it.0 == TransferClass::KvRead).unwrap();
    assert_eq!((read.4 - read.2).as_ps(), fullest * 4000);
}

fn random_run(
    (layers, attention, mlp, kv): (u32, u64, u64, u64),
    (prefill, decode, fill): (u32, u32, u64),
    (skip, seed): (u32, u64),
    (arbitration, residency): (Arbitration, ResidencyKind),
    strategy: Parts,
    weight_prefetch: u32,
) -> ScenarioConfig {
    let all = u64::from(layers) * (attention + mlp + u64::from(prefill + decode) * kv);
    let mut config = small(layers, (attention, mlp), kv, (all * fill / 100).max(1), prefill, decode);
    config.strategy = strategy;
    config.trace = skipping(skip, 300, seed);
    config.weight_prefetch = weight_prefetch;
    memory(&mut config).arbitration = arbitration;
    memory(&mut config).residency = residency;
    config
}

prop_compose! {
    fn any_run()(
        sizes in (1u32..4, 0u64..200_000, 1u64..200_000, 1u64..3_000),
        tokens in (0u32..70, 1u32..20, 1u64..130),
        trace in (0u32..=1000, any::<u64>()),
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        residency in prop::sample::select(vec![ResidencyKind::Exclusive, ResidencyKind::Inclusive]),
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
        weight_prefetch in 0u32..3,
    ) -> ScenarioConfig {
        let strategy = Parts { initialization, placement, migration, late, ..Parts::REFERENCE };
        random_run(sizes, tokens, trace, (arbitration, residency), strategy, weight_prefetch)
    }
}

fn with_channels(mut config: ScenarioConfig, channels: [u32; 2], losses: bool, link: u32) -> ScenarioConfig {
    let memory = memory(&mut config);
    for (tier, channels) in memory.tiers.iter_mut().zip(channels) {
        tier.channels = channels;
        if losses {
            tier.efficiency = Some(tiersim::catalog::efficiency("hbm3-6400").unwrap().into());
        }
    }
    memory.tiers[1].link = match link {
        0 => None,
        1 => Some(LinkConfig::new(bandwidth(250), bandwidth(200)).into()),
        _ => Some(
            LinkConfig { combined: Some(bandwidth(300)), ..LinkConfig::new(bandwidth(250), bandwidth(200)) }.into(),
        ),
    };
    config
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn a_run_over_channels_that_carry_the_same_is_the_run_over_one_lane(
        config in any_run(), channels in prop::array::uniform2(1u32..6), losses: bool, link in 0u32..3,
    ) {
        let config = with_channels(config, channels, losses, link);
        let (merged, kept) = carry_out(&Scenario::new(config.clone()).unwrap());
        let (one_by_one, kept_one_by_one) = carry_out(&Scenario::channel_by_channel(config).unwrap());
        prop_assert_eq!(kept.steps, kept_one_by_one.steps);
        prop_assert_eq!(kept.carried, kept_one_by_one.carried);
        prop_assert_eq!((merged.simulated, merged.drained, merged.peak), (one_by_one.simulated, one_by_one.drained, one_by_one.peak));
    }

    #[test]
    fn runs_over_hashed_channels_complete_within_capacity_and_bound(
        config in any_run(), channels in prop::array::uniform2(1u32..9), losses: bool, link in 0u32..3,
        page_tokens in 1u32..9, both: bool, limit in prop::option::of(1u32..4),
    ) {
        let mut config = with_channels(config, channels, losses, link);
        let tiers = &mut memory(&mut config).tiers;
        tiers[0].interleaving = Interleaving::Hashed { page_tokens };
        tiers[0].max_transfers = limit;
        if both {
            tiers[1].interleaving = Interleaving::Hashed { page_tokens: 3 };
        }
        let capacities: Vec<_> = tiers.iter().map(|tier| tier.capacity).collect();
        let (outcome, keep) = simulate(&config);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        for (capacity, peak) in capacities.iter().zip(&outcome.peak) {
            prop_assert!(peak <= capacity);
        }
        prop_assert_eq!(outcome.issued, accounted(&outcome));
        for kept in &keep.steps {
            prop_assert!(kept.latency >= kept.bound, "{:?}", kept);
        }
        prop_assert_eq!(keep.steps.iter().map(|kept| kept.latency).sum::<SimTime>(), outcome.simulated);
        // What is on the lanes is what was carried, to the byte.
        let on_ports: u64 = outcome.lanes.iter().flat_map(|lane| lane.bytes.values()).map(|bytes| bytes.get()).sum();
        prop_assert!(on_ports >= outcome.completed.values().map(|bytes| bytes.get()).sum());
        let (again, kept_again) = simulate(&config);
        prop_assert_eq!((again.events, again.drained), (outcome.events, outcome.drained));
        prop_assert_eq!(kept_again, keep);
    }
}
