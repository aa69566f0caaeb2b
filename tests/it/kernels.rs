//! Kernels that reach less than a tier's bandwidth, and run one after another.

use crate::common::properties::{CASES, cases};
use crate::common::random::{self, With};
use crate::common::*;
use proptest::prelude::*;
use tiersim::memory::{
    Arbitration, ClassWeights, Completed, Interleaving, LinkConfig, MemoryConfig, MemorySystem, Reach, TierConfig,
    TierId, Urgency,
};
use tiersim::units::SimTime;

const HBM: TierId = TierId::new(0);
const EXTERNAL: TierId = TierId::new(1);
const MEGA: u64 = 1_000_000;

fn reach(share: f64) -> Reach {
    Reach::new(share).expect("a share from 0.001 to 1")
}

/// A system of these tiers, both with kernels.
fn kernels(arbitration: Arbitration, tiers: [TierConfig; 2]) -> MemorySystem {
    lay(&config(arbitration, ClassWeights::default(), tiers.into())).with_kernels([HBM, EXTERNAL])
}

/// HBM of 100 GB/s, external memory of 50 GB/s behind a link of 40.
fn two_tiers(arbitration: Arbitration) -> MemorySystem {
    let external = TierConfig { link: Some(LinkConfig::new(giga(40), giga(40)).into()), ..tier("external", giga(50)) };
    kernels(arbitration, [tier("hbm", giga(100)), external])
}

fn reading(system: &MemorySystem, tier: TierId, bytes: u64, share: f64) -> Planned {
    Planned { reach: reach(share), ..read(system, tier, 0, bytes) }
}

#[test]
fn a_kernel_that_reaches_half_takes_twice_as_long() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        let system = two_tiers(arbitration);
        let plan = [reading(&system, HBM, MEGA, 0.5), reading(&system, EXTERNAL, MEGA, 0.5)];
        let done = Replay::new(&system, &plan).finish();
        // 1 MB at 50 GB/s, and at half of the link's 40 GB/s.
        assert_eq!(done[0].finished.as_ps(), 20 * MEGA, "{arbitration}");
        assert_eq!(done[1].finished.as_ps(), 50 * MEGA, "{arbitration}");
        for completed in done {
            assert_eq!(completed.unloaded, completed.finished, "{arbitration}");
        }
    }
}

#[test]
fn kernels_of_a_tier_run_one_after_another() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        let system = two_tiers(arbitration);
        // (1 MB / 0.8 + 2 MB / 0.5) / 100 GB/s = 52.5 us, however they share the tier meanwhile.
        let plan = [reading(&system, HBM, MEGA, 0.8), reading(&system, HBM, 2 * MEGA, 0.5)];
        let last = finishes(&system, &plan).into_iter().max();
        assert_eq!(last, Some(52_500_000), "{arbitration}");
    }
}

#[test]
fn migration_gets_what_a_kernel_leaves() {
    let system = two_tiers(Arbitration::Fair);
    // The read gets 50 GB/s. A move from HBM to external memory has the other 50 of the bus, of
    // which its link carries 40: 0.8 MB in 20 us.
    let plan = [reading(&system, HBM, MEGA, 0.5), moved(&system, HBM, EXTERNAL, 0, 800_000)];
    assert_eq!(finishes(&system, &plan), [20 * MEGA, 20 * MEGA]);
    // At full reach they share the bus: the move has its 40 GB/s, the read 60 until the move is
    // over at 20 us, and needs no more than that to read 1.2 MB.
    let plan = [reading(&system, HBM, 1_200_000, 1.0), moved(&system, HBM, EXTERNAL, 0, 800_000)];
    assert_eq!(finishes(&system, &plan), [20 * MEGA, 20 * MEGA]);
    // A write of the same class weight as the read gets the other half as well.
    let plan = [reading(&system, HBM, MEGA, 0.5), write(&system, HBM, 0, MEGA)];
    assert_eq!(finishes(&system, &plan), [20 * MEGA, 20 * MEGA]);
}

#[test]
fn an_early_read_waits_for_due_kernels() {
    let system = two_tiers(Arbitration::Fair);
    let early = Planned { urgency: Urgency::Early, ..reading(&system, HBM, MEGA, 0.5) };
    let plan = [reading(&system, HBM, MEGA, 0.5), early];
    assert_eq!(finishes(&system, &plan), [20 * MEGA, 40 * MEGA]);
}

#[test]
fn a_page_on_one_channel_is_not_read_faster_than_that_channel() {
    let hashed =
        TierConfig { channels: 4, interleaving: Interleaving::Hashed { page_tokens: 1 }, ..tier("hbm", giga(100)) };
    for arbitration in [Arbitration::Fair, Arbitration::Fifo] {
        let system = kernels(arbitration, [hashed.clone(), tier("external", giga(1))]);
        let routes = system.even_reads(HBM);
        let parts = |bytes: [u64; 2]| Way::Parts(routes.iter().copied().zip(bytes).collect());
        // 25 GB/s a channel: 1 MB takes 40 us on its channel; 1.6 MB at half of 100 GB/s take 32.
        let plan = [Planned { way: parts([MEGA, 600_000]), ..reading(&system, HBM, 1_600_000, 0.5) }];
        assert_eq!(finishes(&system, &plan), [40 * MEGA], "{arbitration}");
        // 1.8 MB at 0.4 of 100 GB/s take 45 us.
        let plan = [Planned { way: parts([900_000, 900_000]), ..reading(&system, HBM, 1_800_000, 0.4) }];
        let done = &Replay::new(&system, &plan).finish()[0];
        assert!(done.finished.as_ps().abs_diff(45 * MEGA) <= 1, "{arbitration}: {done:?}");
        assert!(done.unloaded.as_ps().abs_diff(45 * MEGA) <= 1, "{arbitration}: {done:?}");
    }
}

// ---- Random systems ----

fn shares() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![Just(1.0), Just(0.5), 0.01f64..1.0], 10)
}

/// The drafts on `system`, each at its reach; and the system with kernels on those of its tiers.
fn with_kernels(
    system: MemorySystem,
    drafts: &[random::Draft],
    shares: &[f64],
    first: usize,
) -> (MemorySystem, Vec<Planned>) {
    let mut plan = random::on(&system, drafts);
    plan.iter_mut().zip(shares.iter().cycle()).for_each(|(planned, share)| planned.reach = reach(*share));
    let tiers: Vec<TierId> = system.tier_ids().skip(first).collect();
    (system.with_kernels(tiers), plan)
}

fn report(done: &Completed<usize>) -> (usize, SimTime, SimTime, SimTime) {
    (done.tag, done.started, done.finished, done.unloaded)
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn kernels_are_those_of_the_twin(
        memory in random::memory(
            With { channels: true, hashed: true, caps: true, latencies: true, efficiency: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(10),
        shares in shares(),
        first in 0usize..2,
    ) {
        let (system, plan) = with_kernels(MemorySystem::new(&memory).unwrap(), &drafts, &shares, first);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane(
        memory in random::memory(With { channels: true, caps: true, ..With::default() }, random::any_arbitration()),
        drafts in random::plan(10),
        shares in shares(),
    ) {
        let of = |system: MemorySystem| {
            let (system, plan) = with_kernels(system, &drafts, &shares, 0);
            Replay::new(&system, &plan).finish().iter().map(report).collect::<Vec<_>>()
        };
        let (merged, one_by_one) =
            (of(MemorySystem::new(&memory).unwrap()), of(MemorySystem::channel_by_channel(&memory).unwrap()));
        for (merged, one_by_one) in merged.iter().zip(&one_by_one) {
            let close = |a: SimTime, b: SimTime| a.as_ps().abs_diff(b.as_ps()) <= 4 + a.as_ps() / 1_000_000_000;
            prop_assert!(close(merged.2, one_by_one.2) && close(merged.3, one_by_one.3), "{:?} {:?}", merged, one_by_one);
        }
    }

    #[test]
    fn no_transfer_is_faster_than_its_reach(
        memory in random::memory(With { channels: true, hashed: true, limits: true, ..With::default() }, random::any_arbitration()),
        drafts in random::plan(10),
        shares in shares(),
    ) {
        let (system, plan) = with_kernels(MemorySystem::new(&memory).unwrap(), &drafts, &shares, 0);
        let done: Vec<Completed<usize>> = Replay::new(&system, &plan).finish();
        prop_assert_eq!(done.len(), plan.len());
        for completed in done {
            let planned = &plan[completed.tag];
            let demand = planned.destination.is_none();
            let wire = system.tiers()[planned.source.or(planned.destination).unwrap().index()].wire_bandwidth.as_f64();
            let share = if demand { planned.reach.share() } else { 1.0 };
            let least = planned.bytes as f64 / (wire * share) * SimTime::PS_PER_SECOND as f64;
            if demand {
                prop_assert!(completed.unloaded.as_ps() as f64 >= least * (1.0 - 1e-9) - 4.0);
            }
            prop_assert!(completed.latency() >= completed.unloaded || completed.queueing() == SimTime::ZERO);
        }
    }
}

#[test]
fn a_system_has_kernels_where_they_are_asked_for() {
    let plain: MemoryConfig =
        config(Arbitration::Fair, ClassWeights::default(), vec![tier("hbm", giga(100)), tier("external", giga(50))]);
    let system = lay(&plain);
    let names =
        |system: &MemorySystem| -> Vec<String> { system.lanes().iter().map(|lane| lane.name.clone()).collect() };
    assert_eq!(names(&system), ["hbm.bus", "external.bus"]);
    assert_eq!(names(&system.with_kernels([EXTERNAL, EXTERNAL])), ["hbm.bus", "external.bus", "external.kernels"]);
}
