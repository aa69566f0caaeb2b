//! Transfers that are cancelled before they complete.
//!
//! Bytes that have arrived stay carried, the rest is dropped, and the other transfers go on as if
//! the cancelled one had not been there any more. The fabric is compared with the float twin of
//! sharing, with a simple line for `fifo`, with single channels, and with figures computed by hand.

use crate::common::properties::{CASES, cases};
use crate::common::random::{self, With};
use crate::common::*;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tiersim::memory::{
    Arbitration, Cancelled, ClassWeights, Interleaving, LinkConfig, MemoryConfig, MemorySystem, PerClass, TierConfig,
    TierId, TransferClass,
};
use tiersim::units::{Bytes, SimTime};

const HBM: TierId = TierId::new(0);
const EXTERNAL: TierId = TierId::new(1);

/// When each transfer ended, and what each that was cancelled had carried.
#[derive(Debug, PartialEq)]
struct Found {
    finishes: Vec<u64>,
    carried: Vec<Option<u64>>,
    started: Vec<u64>,
}

/// Runs `plan`, and looks at every instant: issued bytes are completed, dropped or in flight.
fn found(system: &MemorySystem, plan: &[Planned]) -> Result<Found, TestCaseError> {
    let mut replay = Replay::new(system, plan);
    while let Some(at) = replay.next_instant() {
        replay.handle(at);
        conserved(&replay, plan, at)?;
    }
    prop_assert!(replay.in_flight.is_empty(), "never completed: {:?}", replay.in_flight);
    let mut found =
        Found { finishes: vec![0; plan.len()], carried: vec![None; plan.len()], started: vec![0; plan.len()] };
    for done in &replay.completed {
        found.finishes[done.tag] = done.finished.as_ps();
        found.started[done.tag] = done.started.as_ps();
    }
    for Cancelled { tag, carried, dropped, issued, started, at, .. } in &replay.cancelled {
        prop_assert_eq!(carried.get() + dropped.get(), plan[*tag].bytes);
        prop_assert_eq!(at.as_ps(), plan[*tag].issued + plan[*tag].cancelled.unwrap());
        prop_assert!(issued <= started && started <= at);
        (found.finishes[*tag], found.carried[*tag], found.started[*tag]) =
            (at.as_ps(), Some(carried.get()), started.as_ps());
    }
    on_lanes(system, &replay, plan, &found)?;
    Ok(found)
}

fn conserved(replay: &Replay, plan: &[Planned], now: SimTime) -> Result<(), TestCaseError> {
    for class in TransferClass::ALL {
        let sum = |bytes: PerClass<Bytes>| bytes[class].get();
        let fabric = replay.machine.fabric();
        let in_flight: u64 =
            replay.in_flight.keys().filter(|tag| plan[**tag].class == class).map(|tag| plan[*tag].bytes).sum();
        prop_assert_eq!(sum(fabric.in_flight()), in_flight);
        let cancelled = || replay.cancelled.iter().filter(|it| it.class == class);
        prop_assert_eq!(sum(fabric.dropped()), cancelled().map(|it| it.dropped.get()).sum::<u64>());
        let completed = replay.completed.iter().filter(|it| it.class == class).map(|it| it.bytes.get()).sum::<u64>();
        prop_assert_eq!(sum(fabric.completed()), completed + cancelled().map(|it| it.carried.get()).sum::<u64>());
        let issued = sum(fabric.completed()) + sum(fabric.dropped()) + in_flight;
        prop_assert_eq!(sum(fabric.issued()), issued, "{} at {}", class, now);
    }
    Ok(())
}

/// Each lane has carried what was routed over it and arrived, and no more than its time allows.
fn on_lanes(system: &MemorySystem, replay: &Replay, plan: &[Planned], found: &Found) -> Result<(), TestCaseError> {
    let loads = replay.machine.fabric().loads(replay.machine.now());
    for (index, (lane, load)) in system.lanes().iter().zip(&loads).enumerate() {
        let over = |planned: &Planned| {
            let holds = |route| system.route(route).iter().any(|hold| hold.lane.index() == index);
            planned.parts().iter().filter(|(route, _)| holds(*route)).map(|(_, bytes)| *bytes).sum::<f64>()
        };
        // Of one in parts, the bytes of each part are not reported: at most all bytes of the part
        // on this lane.
        let (mut least, mut most) = (0.0, 0.0);
        for (planned, carried) in plan.iter().zip(&found.carried) {
            let all = over(planned);
            let arrived = carried.map_or(all, |carried| carried as f64);
            most += arrived.min(all);
            least += (all - (planned.bytes as f64 - arrived)).max(0.0);
        }
        let carried: u64 = load.bytes.values().map(|bytes| bytes.get()).sum();
        // Of what is spread evenly, the first lanes have the bytes that are left over.
        let tolerance = plan.iter().map(|planned| planned.parts().len()).sum::<usize>() as f64;
        prop_assert!(
            carried as f64 >= least - tolerance && carried as f64 <= most + tolerance,
            "{}: {carried} B, {least} to {most}",
            lane.name
        );
        let seconds = load.busy.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
        let could = lane.peak.as_f64() / f64::from(lane.shared_by) * seconds;
        prop_assert!(
            carried as f64 <= could * (1.0 + 1e-9) + 1.0 + tolerance,
            "{} carried {carried} B in {}",
            lane.name,
            load.busy
        );
    }
    Ok(())
}

/// Half of the transfers are cancelled, some of them too late.
fn plan(most: usize) -> impl Strategy<Value = (Vec<random::Draft>, Vec<Option<u64>>)> {
    (random::plan(most), prop::collection::vec(prop::option::of(random::delay()), most))
}

fn on(system: &MemorySystem, (drafts, delays): &(Vec<random::Draft>, Vec<Option<u64>>)) -> Vec<Planned> {
    let planned = random::on(system, drafts).into_iter().zip(delays);
    planned.map(|(planned, delay)| Planned { cancelled: *delay, ..planned }).collect()
}

/// The fabric against the twin, which cancels only transfers that the fabric had not completed by
/// then.
fn as_the_twin_says(system: &MemorySystem, mut plan: Vec<Planned>) -> Result<(), TestCaseError> {
    let found = found(system, &plan)?;
    for (planned, carried) in plan.iter_mut().zip(&found.carried) {
        planned.cancelled = planned.cancelled.filter(|_| carried.is_some());
    }
    let twin = twin(system, &plan);
    let finished = |times: &[u64]| -> Vec<u64> {
        times.iter().zip(&found.carried).map(|(at, carried)| if carried.is_some() { 0 } else { *at }).collect()
    };
    agree(&finished(&found.finishes), &finished(&twin.finishes))?;
    for (index, carried) in found.carried.iter().enumerate() {
        if let Some(carried) = carried {
            // A byte for rounding down, and what a few picoseconds carry.
            let parts = plan[index].parts().len() as f64;
            let off = twin.carried[index] - *carried as f64;
            prop_assert!(
                (-50.0..51.0 + parts).contains(&off),
                "transfer {index} carried {carried} B, the twin {}",
                twin.carried[index]
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn sharing_goes_on_as_the_twin_says(
        memory in random::memory(With { channels: true, hashed: true, latencies: true, caps: true, ..With::default() }, random::sharing()),
        drafts in plan(12),
    ) {
        let system = lay(&memory);
        as_the_twin_says(&system, on(&system, &drafts))?;
    }

    #[test]
    fn whoever_is_in_line_takes_the_place_of_the_cancelled(
        memory in random::memory(With { limits: true, channels: true, hashed: true, latencies: true, ..With::default() }, random::sharing()),
        drafts in plan(14),
    ) {
        let system = lay(&memory);
        as_the_twin_says(&system, on(&system, &drafts))?;
    }

    #[test]
    fn with_losses_too(
        memory in random::memory(With { efficiency: true, channels: true, ..With::default() }, random::sharing()),
        drafts in plan(10),
    ) {
        let system = lay(&memory);
        as_the_twin_says(&system, on(&system, &drafts))?;
    }

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane(
        memory in random::memory(
            With { channels: true, caps: true, limits: true, latencies: true, efficiency: true, ..With::default() },
            random::any_arbitration(),
        ),
        drafts in plan(10),
    ) {
        let merged = MemorySystem::new(&memory).unwrap();
        let one_by_one = MemorySystem::channel_by_channel(&memory).unwrap();
        prop_assert_eq!(found(&merged, &on(&merged, &drafts))?, found(&one_by_one, &on(&one_by_one, &drafts))?);
    }

    /// Also in parts over links: what completes or is cancelled is all that was issued, and nothing
    /// stalls.
    #[test]
    fn fifo_conserves(
        memory in random::memory(With { channels: true, hashed: true, latencies: true, efficiency: true, ..With::default() }, Just(Arbitration::Fifo)),
        drafts in plan(14),
    ) {
        let system = lay(&memory);
        found(&system, &on(&system, &drafts))?;
    }

    #[test]
    fn fifo_is_a_line_from_which_some_go(
        memory in random::memory(With { caps: true, latencies: true, ..With::default() }, Just(Arbitration::Fifo)),
        drafts in plan(14),
    ) {
        let system = lay(&memory);
        let plan = on(&system, &drafts);
        prop_assert_eq!(found(&system, &plan)?, in_the_open(&system, &plan));
    }
}

/// `fifo` over single routes: who is first on all its lanes runs. All of the line is looked at, at
/// every instant.
fn in_the_open(system: &MemorySystem, plan: &[Planned]) -> Found {
    let lanes = |index: usize| -> Vec<usize> {
        let parts = plan[index].parts();
        system.route(parts[0].0).iter().map(|hold| hold.lane.index()).collect()
    };
    let slowest = |index: usize| {
        let lanes = lanes(index);
        let of = lanes.iter().map(|lane| &system.lanes()[*lane]);
        of.flat_map(|lane| [Some(lane.whole), lane.transfer_cap]).flatten().min().unwrap()
    };
    // When each arrives at its lanes, and which of those that do so at one instant is first.
    let arrives = |index: usize| {
        let requested = plan[index].issued + plan[index].held.unwrap_or(0);
        (requested + plan[index].latency(system), requested, plan[index].held.is_some(), index)
    };
    let ends = |index: usize| plan[index].cancelled.map_or(u64::MAX, |delay| plan[index].issued + delay);
    let mut order: Vec<usize> = (0..plan.len()).collect();
    // What is under way arrives before what is issued at that instant without a latency.
    order.sort_by_key(|&index| {
        let (at, requested, held, index) = arrives(index);
        (at, requested == at, requested, held, index)
    });
    let mut found =
        Found { finishes: vec![0; plan.len()], carried: vec![None; plan.len()], started: vec![0; plan.len()] };
    let mut running: Vec<Option<u64>> = vec![None; plan.len()];
    let mut left = order;
    let mut now = 0;
    while !left.is_empty() {
        left.retain(|&index| {
            let complete = running[index]
                .is_some_and(|since| since + slowest(index).time_for(Bytes::new(plan[index].bytes)).as_ps() <= now);
            if complete {
                found.finishes[index] = now;
                found.started[index] = running[index].unwrap();
            } else if ends(index) <= now {
                found.finishes[index] = now;
                found.started[index] = running[index].unwrap_or(now);
                let carried = running[index].map_or(0, |since| {
                    u128::from(slowest(index).get()) * u128::from(now - since) / u128::from(SimTime::PS_PER_SECOND)
                });
                found.carried[index] = Some(carried as u64);
            }
            !complete && ends(index) > now
        });
        for at in 0..left.len() {
            let index = left[at];
            let first = left[..at].iter().all(|&before| {
                arrives(before).0 > now || lanes(before).iter().all(|lane| !lanes(index).contains(lane))
            });
            if first && running[index].is_none() && arrives(index).0 <= now {
                running[index] = Some(now);
            }
        }
        let completions = left.iter().filter_map(|&index| {
            running[index].map(|since| since + slowest(index).time_for(Bytes::new(plan[index].bytes)).as_ps())
        });
        let outside = left.iter().flat_map(|&index| [arrives(index).0, ends(index)]).filter(|at| *at > now);
        now = completions.chain(outside).min().unwrap_or(now);
    }
    found
}

// ---- Figures that a person can check ----

fn plain(arbitration: Arbitration, tiers: Vec<TierConfig>) -> MemoryConfig {
    config(arbitration, ClassWeights::default(), tiers)
}

/// HBM of a byte a picosecond; external memory of 0.7 behind a link of 0.4 either way.
fn two_tiers(arbitration: Arbitration) -> MemorySystem {
    let link = LinkConfig::new(giga(400), giga(400));
    let external = TierConfig { link: Some(link.into()), ..tier("external", giga(700)) };
    lay(&plain(arbitration, vec![tier("hbm", giga(1000)), external]))
}

fn cancelled(planned: Planned, after: u64) -> Planned {
    Planned { cancelled: Some(after), ..planned }
}

#[test]
fn what_is_left_of_a_lane_is_the_others_at_once() {
    let system = two_tiers(Arbitration::Fair);
    // Both have 0.5 B/ps of HBM's bus. At 200 ns the second has 100 kB and goes; the first lacks
    // 300 kB at 1 B/ps.
    let plan = [read(&system, HBM, 0, 400_000), cancelled(read(&system, HBM, 0, 400_000), 200_000)];
    let found = found(&system, &plan).unwrap();
    assert_eq!((found.finishes, found.carried), (vec![500_000, 200_000], vec![None, Some(100_000)]));
}

#[test]
fn a_cancelled_move_frees_all_its_lanes() {
    let system = two_tiers(Arbitration::Fair);
    // The move and the external read have 0.2 B/ps each, for the link; the HBM read 0.8. At 500 ns
    // the move has 100 kB; then HBM gives its read, which lacks 800 kB, 1 B/ps, and the link the
    // other, which lacks 200 kB, 0.4.
    let plan = [
        read(&system, HBM, 0, 1_200_000),
        cancelled(moved(&system, EXTERNAL, HBM, 0, 200_000), 500_000),
        read(&system, EXTERNAL, 0, 300_000),
    ];
    let found = found(&system, &plan).unwrap();
    assert_eq!(found.finishes, [1_300_000, 500_000, 1_000_000]);
    assert_eq!(found.carried, [None, Some(100_000), None]);
}

#[test]
fn under_priority_a_move_that_never_had_anything_has_carried_nothing() {
    let system = two_tiers(Arbitration::Priority);
    let plan = [read(&system, HBM, 0, 300_000), cancelled(moved(&system, HBM, EXTERNAL, 0, 100_000), 200_000)];
    let found = found(&system, &plan).unwrap();
    assert_eq!((found.finishes, found.carried), (vec![300_000, 200_000], vec![None, Some(0)]));
}

#[test]
fn under_fifo_the_next_in_line_starts_when_the_running_one_is_cancelled() {
    let system = two_tiers(Arbitration::Fifo);
    // The move runs at the link's 0.4 B/ps; its bus and link are free at 250 ns. The second move
    // was in line and is gone, so the external read, which was behind both, starts then.
    let plan = [
        cancelled(moved(&system, EXTERNAL, HBM, 0, 400_000), 250_000),
        cancelled(moved(&system, EXTERNAL, HBM, 0, 400_000), 100_000),
        read(&system, EXTERNAL, 0, 40_000),
    ];
    let found = found(&system, &plan).unwrap();
    assert_eq!(found.finishes, [250_000, 100_000, 350_000]);
    assert_eq!(found.carried, [Some(100_000), Some(0), None]);
}

#[test]
fn what_waits_for_a_latency_or_a_place_has_carried_nothing() {
    let hbm = TierConfig { max_transfers: Some(1), latency: SimTime::from_ps(1_000), ..tier("hbm", giga(1000)) };
    let system = lay(&plain(Arbitration::Fair, vec![hbm, tier("external", giga(500))]));
    let plan = [
        cancelled(read(&system, HBM, 0, 100_000), 500),
        cancelled(read(&system, HBM, 0, 100_000), 51_000),
        cancelled(read(&system, HBM, 0, 100_000), 20_000),
        read(&system, HBM, 0, 100_000),
    ];
    let found = found(&system, &plan).unwrap();
    // The first has the only place until 0.5 ns and never gets to its lanes; the second has it
    // then, and its lanes from 1.5 ns to 51; the third, in line, gives up; the last is requested at
    // 51 ns and starts at 52.
    assert_eq!(found.finishes, [500, 51_000, 20_000, 152_000]);
    assert_eq!(found.carried, [Some(0), Some(49_500), Some(0), None]);
    assert_eq!(found.started[3], 52_000);
}

#[test]
fn of_a_transfer_in_parts_each_part_has_what_its_channel_carried() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        let hbm = TierConfig {
            channels: 4,
            interleaving: Interleaving::Hashed { page_tokens: 1 },
            ..tier("hbm", giga(1000))
        };
        let system = lay(&plain(arbitration, vec![hbm, tier("external", giga(1))]));
        let bytes = [100_000, 400_000, 200_000];
        let parts = system.even_reads(HBM).iter().copied().zip(bytes).collect();
        let read = Planned { way: Way::Parts(parts), ..read(&system, HBM, 0, 700_000) };
        let plan = [cancelled(read, 600_000)];
        // 0.25 B/ps a channel: the first is complete at 400 ns, the others have 150 kB each at 600.
        let found = found(&system, &plan).unwrap();
        assert_eq!(found.carried, [Some(400_000)], "{arbitration}");
        let lanes: Vec<u64> =
            loads(&system, &plan).iter().take(4).map(|load| load.bytes.values().map(|it| it.get()).sum()).collect();
        assert_eq!(lanes, [100_000, 150_000, 150_000, 0], "{arbitration}");
    }
}
