//! Limits on what is in flight, `max_transfers` and `outstanding`, span the latency (Little's law):
//! against the slow twin, figures by hand, and what must hold whatever the figures are.

use crate::common::properties::{CASES, cases};
use crate::common::random::{self, With};
use crate::common::runs;
use crate::common::*;
use proptest::prelude::*;
use tiersim::memory::{
    Arbitration, ClassWeights, Interleaving, LinkConfig, MemoryConfig, MemorySystem, TierConfig, TierId, TransferClass,
};
use tiersim::replay::{Traffic, replay};
use tiersim::simulation::Ideal;
use tiersim::units::{Bytes, SimTime};

const HBM: TierId = TierId::new(0);
const EXTERNAL: TierId = TierId::new(1);
const MICROSECOND: u64 = 1_000_000;

fn sharing() -> [Arbitration; 2] {
    [Arbitration::Fair, Arbitration::Priority]
}

fn every_arbitration() -> [Arbitration; 3] {
    [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]
}

/// HBM, and external memory of 1000 GB/s that answers after a microsecond.
fn system(arbitration: Arbitration, external: TierConfig) -> MemorySystem {
    let external = TierConfig { latency: SimTime::from_ps(MICROSECOND), ..external };
    let tiers = vec![tier("hbm", giga(1000)), external];
    MemorySystem::new(&config(arbitration, ClassWeights::default(), tiers)).unwrap()
}

fn external() -> TierConfig {
    tier("external", giga(1000))
}

/// 100 kB in flight at 1 us: 100 GB/s, a byte in 10 ps.
fn windowed() -> TierConfig {
    TierConfig { outstanding: Some(Bytes::new(100_000)), ..external() }
}

// ---- The twin ----

const ALL: With =
    With { efficiency: false, caps: true, limits: true, channels: true, hashed: true, latencies: true, windows: true };

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn limits_on_what_is_in_flight_are_those_of_the_twin(
        memory in random::memory(ALL, random::sharing()),
        drafts in random::plan(14),
        issued in prop::collection::vec(0u64..20_000_000, 14),
    ) {
        let system = lay(&memory);
        let mut plan = random::on(&system, &drafts);
        // Not at round instants, at which others complete: which comes first may depend on a
        // rounding.
        plan.iter_mut().zip(issued).for_each(|(planned, issued)| planned.issued = issued);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    /// Little's law: from an idle start, no more than `time * outstanding / latency` bytes have
    /// arrived after any time.
    #[test]
    fn no_more_arrives_than_may_be_in_flight(
        memory in random::memory(ALL, random::any_arbitration()),
        drafts in random::plan(30),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        let mut done = Replay::new(&system, &plan).finish();
        done.sort_by_key(|done| done.finished);
        for (index, lane) in system.lanes().iter().enumerate().filter(|(_, lane)| lane.window.is_some()) {
            let crosses = |planned: &Planned| lanes_with(&system, planned, |_| true).contains(&index);
            let first = plan.iter().filter(|planned| crosses(planned)).map(|planned| planned.issued).min();
            let mut arrived = 0.0;
            for done in done.iter().filter(|done| crosses(&plan[done.tag])) {
                arrived += done.bytes.as_f64();
                // A few picoseconds of roundings.
                let time = (done.finished.as_ps() - first.unwrap_or(0) + 8) as f64 / 1e12;
                let most = time * lane.whole.as_f64() + 1.0;
                prop_assert!(arrived <= most, "{}: {arrived} B by {}, at most {most}", lane.name, done.finished);
            }
        }
    }

    /// What is not limited goes as if there were no limits; a limit never makes a transfer alone
    /// faster.
    #[test]
    fn a_window_that_all_fit_into_changes_nothing(
        memory in random::memory(With { windows: false, ..ALL }, random::any_arbitration()),
        drafts in random::plan(14),
    ) {
        let ample = Some(Bytes::new(1 << 40));
        let mut with_windows = memory.clone();
        for tier in &mut with_windows.tiers {
            tier.outstanding = ample;
            tier.link_mut().into_iter().for_each(|link| link.outstanding = ample);
        }
        let (without, with) = (MemorySystem::new(&memory).unwrap(), MemorySystem::new(&with_windows).unwrap());
        let plans = [&without, &with].map(|system| random::on(system, &drafts));
        prop_assert_eq!(finishes(&without, &plans[0]), finishes(&with, &plans[1]));
    }
}

// ---- max_transfers ----

fn one_at_a_time() -> MemoryConfig {
    tiersim::config::parse(
        "MemorySystem(name: \"qd1\", tiers: [(name: \"hbm\", capacity: \"1 GB\", bandwidth: \"100 GB/s\"), \
         (name: \"dev\", capacity: \"10 GB\", bandwidth: \"1 GB/s\", latency: \"100 us\", max_transfers: 1)])",
        "one-at-a-time.ron",
    )
    .unwrap()
}

/// The microseconds at which reads of 1000 B from that tier, all issued at once, end.
fn ends(memory: &MemoryConfig, reads: usize) -> Vec<f64> {
    let system = MemorySystem::new(memory).unwrap();
    let rows = "0,KvRead,dev,chip,1000\n".repeat(reads);
    let text = format!("issue_ns,class,source,destination,bytes\n{rows}");
    let traffic = Traffic::read(text.into_bytes(), "reads.csv", &system).unwrap();
    replay(&system, &traffic).unwrap().times.iter().map(|times| times.finish.as_ns() / 1e3).collect()
}

#[test]
fn the_next_of_those_that_go_one_at_a_time_is_requested_when_the_last_byte_is_there() {
    for arbitration in every_arbitration() {
        let memory = MemoryConfig { arbitration, ..one_at_a_time() };
        assert_eq!(ends(&memory, 3), [101.0, 202.0, 303.0], "{arbitration}");
    }
}

#[test]
fn two_thousand_reads_at_queue_depth_one_take_two_thousand_latencies_and_transfers() {
    for arbitration in every_arbitration() {
        let memory = MemoryConfig { arbitration, ..one_at_a_time() };
        assert_eq!(ends(&memory, 2000).last(), Some(&(2000.0 * 101.0)), "{arbitration}");
    }
}

#[test]
fn at_queue_depth_ten_ten_latencies_overlap() {
    let mut memory = one_at_a_time();
    memory.tiers[1].max_transfers = Some(10);
    // Ten at a time: after 100 us they share the bus for 10 us.
    assert_eq!(ends(&memory, 2000).last(), Some(&(200.0 * 110.0)));
}

#[test]
fn a_links_limit_counts_the_latency_of_tier_and_link() {
    let link = LinkConfig {
        max_transfers: Some(1),
        latency: SimTime::from_ps(MICROSECOND),
        ..LinkConfig::new(giga(1000), giga(1000))
    };
    let system = system(Arbitration::Fair, TierConfig { link: Some(link.into()), ..external() });
    let plan = [0, 0].map(|issued| read(&system, EXTERNAL, issued, 100_000));
    assert_eq!(finishes(&system, &plan), [2_100_000, 4_200_000]);
    // The other direction has a limit of its own.
    let plan = [read(&system, EXTERNAL, 0, 100_000), write(&system, EXTERNAL, 0, 100_000)];
    assert_eq!(finishes(&system, &plan), [2_200_000, 2_200_000]);
}

#[test]
fn a_transfer_that_waits_for_its_turn_is_in_no_other_line() {
    // Under fifo, a move that the external tier does not take yet does not hold up reads of HBM.
    let external = TierConfig { max_transfers: Some(1), ..external() };
    let system = system(Arbitration::Fifo, external);
    let plan = [
        read(&system, EXTERNAL, 0, 500_000),
        moved(&system, EXTERNAL, HBM, 0, 100_000),
        read(&system, HBM, 0, 100_000),
    ];
    assert_eq!(finishes(&system, &plan), [1_500_000, 2_600_000, 100_000]);
}

// ---- outstanding ----

#[test]
fn a_transfer_that_fits_is_requested_in_whole() {
    for arbitration in every_arbitration() {
        let system = system(arbitration, windowed());
        let plan = [read(&system, EXTERNAL, 0, 100_000)];
        assert_eq!(finishes(&system, &plan), [1_100_000], "{arbitration}");
    }
}

#[test]
fn one_larger_than_the_window_gets_outstanding_over_latency() {
    for arbitration in every_arbitration() {
        let system = system(arbitration, windowed());
        let plan = [read(&system, EXTERNAL, 0, 1_000_000)];
        let done = Replay::new(&system, &plan).finish();
        assert_eq!(done[0].finished.as_ps(), 11_000_000, "{arbitration}");
        assert_eq!(done[0].queueing(), SimTime::ZERO, "{arbitration}: unloaded, it takes as long");
    }
}

#[test]
fn those_that_do_not_fit_share_the_rate() {
    let read_twice = |arbitration| {
        let system = system(arbitration, windowed());
        let plan = [0, 0].map(|issued| read(&system, EXTERNAL, issued, 1_000_000));
        finishes(&system, &plan)
    };
    assert_eq!(read_twice(Arbitration::Fair), [21_000_000, 21_000_000]);
    assert_eq!(read_twice(Arbitration::Fifo), [11_000_000, 21_000_000]);
    // A demand read before a move.
    let system = system(Arbitration::Priority, windowed());
    let plan = [moved(&system, EXTERNAL, HBM, 0, 1_000_000), read(&system, EXTERNAL, 0, 1_000_000)];
    assert_eq!(finishes(&system, &plan), [21_000_000, 11_000_000]);
}

#[test]
fn one_that_would_fit_alone_shares_while_others_are_in_flight() {
    let system = system(Arbitration::Fair, windowed());
    let plan = [
        read(&system, EXTERNAL, 0, 1_000_000),
        read(&system, EXTERNAL, 0, 50_000),
        read(&system, EXTERNAL, 20_000_000, 60_000),
        read(&system, EXTERNAL, 20_000_000, 40_000),
        read(&system, EXTERNAL, 20_000_000, 10_000),
    ];
    let done = Replay::new(&system, &plan).finish();
    let times: Vec<u64> = done.iter().map(|done| done.finished.as_ps()).collect();
    // The second shares the 100 GB/s until it has its 50 kB. Of the last three two fit, and the
    // third has what the window gives, 100 of the bus's 1000 GB/s. The smaller has its 40 kB at 450
    // after 88.9 ns; the larger goes on at 900 until the third is complete at 100 ns, and has its
    // last 10 kB at 1000.
    assert_eq!(times, [11_500_000, 2_000_000, 21_110_001, 21_088_889, 21_100_000]);
    // Its unloaded service time is its latency and 50 ns.
    assert_eq!(done[1].unloaded.as_ps(), 1_050_000);
    assert_eq!(done[1].queueing().as_ps(), 950_000);
}

#[test]
fn beside_a_cap_the_smaller_one_counts() {
    let cap = |cap: u64| TierConfig { transfer_cap: Some(giga(cap)), ..windowed() };
    let end = |cap_of: u64, reads: usize| {
        let system = system(Arbitration::Fair, cap(cap_of));
        let plan: Vec<Planned> = (0..reads).map(|_| read(&system, EXTERNAL, 0, 1_000_000)).collect();
        finishes(&system, &plan).into_iter().max().unwrap()
    };
    // A cap of 50 GB/s: one has that, two have the window's 100 together, four a quarter of it
    // each.
    assert_eq!([end(50, 1), end(50, 2), end(50, 4)], [21_000_000, 21_000_000, 41_000_000]);
    // A cap above the window's rate makes no difference.
    assert_eq!(end(500, 1), 11_000_000);
}

#[test]
fn what_a_window_keeps_one_from_using_is_left_to_others() {
    let link = LinkConfig::new(giga(400), giga(400));
    let system = system(Arbitration::Fair, TierConfig { link: Some(link.into()), ..windowed() });
    // The move takes 100 GB/s of HBM's 1000: the read has the other 900.
    let plan = [moved(&system, EXTERNAL, HBM, 0, 1_000_000), read(&system, HBM, MICROSECOND, 900_000)];
    assert_eq!(finishes(&system, &plan), [11_000_000, 2_000_000]);
}

#[test]
fn a_tiers_window_is_for_both_directions_and_a_links_for_each() {
    let both = |tier: TierConfig| {
        let system = system(Arbitration::Fair, tier);
        let plan = [read(&system, EXTERNAL, 0, 1_000_000), write(&system, EXTERNAL, 0, 1_000_000)];
        finishes(&system, &plan)
    };
    assert_eq!(both(windowed()), [21_000_000; 2]);
    let link = LinkConfig { outstanding: Some(Bytes::new(100_000)), ..LinkConfig::new(giga(1000), giga(1000)) };
    assert_eq!(both(TierConfig { link: Some(link.into()), ..external() }), [11_000_000; 2]);
}

#[test]
fn a_transfer_over_hashed_channels_counts_once() {
    let hashed = TierConfig { channels: 4, interleaving: Interleaving::Hashed { page_tokens: 1 }, ..windowed() };
    for arbitration in every_arbitration() {
        let system = system(arbitration, hashed.clone());
        let parts = |bytes: [u64; 4]| {
            let parts = system.even_reads(EXTERNAL).iter().copied().zip(bytes).collect();
            Planned { way: Way::Parts(parts), ..read(&system, EXTERNAL, 0, bytes.iter().sum()) }
        };
        // 250 GB/s a channel: it fits, and waits for its fullest channel.
        assert_eq!(finishes(&system, &[parts([10_000, 20_000, 30_000, 40_000])]), [1_160_000], "{arbitration}");
        // Ten times as much at 100 GB/s.
        let large = parts([100_000, 200_000, 300_000, 400_000]);
        assert_eq!(finishes(&system, &[large]), [11_000_000], "{arbitration}");
    }
}

#[test]
fn without_a_latency_nothing_is_in_flight() {
    let tiers = vec![tier("hbm", giga(1000)), windowed()];
    let system = MemorySystem::new(&config(Arbitration::Fair, ClassWeights::default(), tiers)).unwrap();
    assert!(system.lanes().iter().all(|lane| lane.window.is_none()));
    assert_eq!(finishes(&system, &[read(&system, EXTERNAL, 0, 1_000_000)]), [1_000_000]);
}

#[test]
fn what_is_cancelled_is_in_flight_no_more() {
    for arbitration in sharing() {
        let system = system(arbitration, windowed());
        let large = read(&system, EXTERNAL, 0, 1_000_000);
        let plan = [
            Planned { cancelled: Some(2_000_000), ..large.clone() },
            Planned { cancelled: Some(500_000), ..large },
            read(&system, EXTERNAL, 2_000_001, 100_000),
        ];
        let mut replay = Replay::new(&system, &plan);
        replay.run();
        let carried: Vec<(usize, u64)> = replay.cancelled.iter().map(|it| (it.tag, it.carried.get())).collect();
        assert_eq!(carried, [(1, 0), (0, 100_000)], "{arbitration}");
        assert_eq!(replay.completed[0].finished.as_ps(), 3_100_001, "{arbitration}");
    }
}

#[test]
fn the_best_ratio_goes_by_what_may_be_in_flight_and_the_bound_by_the_wires() {
    let system = system(Arbitration::Fair, windowed());
    assert_eq!(system.tiers()[1].read_bandwidth, giga(100));
    assert_eq!(system.tiers()[1].wire_bandwidth, giga(1000));
    assert!((system.best_ratio() - 1000.0 / 1100.0).abs() < 1e-12);
    let lane = system.lanes().iter().find(|lane| lane.window.is_some()).unwrap();
    assert_eq!((lane.name.as_str(), lane.whole), ("external.outstanding", giga(100)));
}

// ---- Runs ----

fn limited_run(outstanding: u64, of_link: u64, limit: Option<u32>, arbitration: Arbitration) -> runs::Keep {
    let mut config = runs::small(2, (40_000, 80_000), 1000, 200_000, 60, 12);
    config.strategy = runs::BEST_RATIO;
    config.trace = runs::skipping(400, 300, 1);
    let memory = runs::memory(&mut config);
    memory.arbitration = arbitration;
    memory.tiers[1].latency = SimTime::from_ps(50_000);
    memory.tiers[1].outstanding = Some(Bytes::new(outstanding));
    memory.tiers[1].max_transfers = limit;
    memory.tiers[1].link_mut().unwrap().outstanding = Some(Bytes::new(of_link));
    let (outcome, keep) = runs::simulate(&config);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.issued, runs::accounted(&outcome));
    assert!(keep.steps.iter().all(|step| step.latency >= step.bound));
    keep
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn runs_with_limits_complete_and_do_not_beat_their_bounds(
        outstanding in 500u64..100_000,
        of_link in 500u64..100_000,
        limit in prop::option::of(1u32..4),
        arbitration in random::any_arbitration(),
    ) {
        let keep = limited_run(outstanding, of_link, limit, arbitration);
        let external = keep.carried.iter().filter(|it| it.6 == EXTERNAL && it.0 == TransferClass::KvRead);
        prop_assert!(external.count() > 0, "there is something to see");
        prop_assert_eq!(&keep, &limited_run(outstanding, of_link, limit, arbitration));
    }
}

#[test]
fn an_idealized_run_has_no_limits() {
    let mut config = runs::small(1, (0, 1000), 1000, 1000, 100, 2);
    let memory = runs::memory(&mut config);
    memory.tiers[1].latency = SimTime::from_ps(MICROSECOND);
    memory.tiers[1].outstanding = Some(Bytes::new(10_000));
    let scenario = tiersim::simulation::Scenario::new(config).unwrap();
    assert!(scenario.is_affected_by(Ideal::NoLimits));
    let unlimited = scenario.idealized([Ideal::NoLimits].into_iter().collect()).unwrap();
    assert!(!unlimited.is_affected_by(Ideal::NoLimits));
    let (limited, ideal) = (runs::carry_out(&scenario).0.simulated, runs::carry_out(&unlimited).0.simulated);
    // 100 kB at 10 GB/s a step, or at the link's 250.
    assert!(limited > ideal + SimTime::from_ps(2 * 9 * MICROSECOND), "{limited}, {ideal}");
}
