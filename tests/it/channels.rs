//! Transfers over the channels of a tier, against twins and figures by hand.
//!
//! A striped tier gives what its one lane gives; a transfer over hashed channels waits for the most
//! loaded one. Also here: limits on the number of transfers that a lane carries, links that carry
//! packets, and buses that turn around between reads and writes.

use crate::common::properties::{CASES, cases};
use crate::common::random::{self, With};
use crate::common::*;
use proptest::prelude::*;
use tiersim::memory::{
    Arbitration, ClassWeights, Completed, Delivered, EfficiencyConfig, Interleaving, LinkConfig, MemoryConfig,
    MemorySystem, Packet, TierConfig, TierId, Urgency,
};
use tiersim::units::{Bytes, SimTime};

const HBM: TierId = TierId::new(0);
const EXTERNAL: TierId = TierId::new(1);

fn plain(arbitration: Arbitration, tiers: Vec<TierConfig>) -> MemoryConfig {
    config(arbitration, ClassWeights::default(), tiers)
}

/// A completion without its id.
fn report(done: &Completed<usize>) -> (usize, SimTime, SimTime, SimTime) {
    (done.tag, done.started, done.finished, done.unloaded)
}

fn merged_and_one_by_one(
    memory: &MemoryConfig,
    drafts: &[random::Draft],
) -> [Vec<(usize, SimTime, SimTime, SimTime)>; 2] {
    [MemorySystem::new(memory).unwrap(), MemorySystem::channel_by_channel(memory).unwrap()].map(|system| {
        let plan = random::on(&system, drafts);
        Replay::new(&system, &plan).finish().iter().map(report).collect()
    })
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane(
        memory in random::memory(With { channels: true, caps: true, latencies: true, ..With::default() }, random::sharing()),
        drafts in random::plan(10),
    ) {
        let [merged, one_by_one] = merged_and_one_by_one(&memory, &drafts);
        prop_assert_eq!(merged, one_by_one);
    }

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane_with_losses_and_limits(
        memory in random::memory(
            With { channels: true, caps: true, limits: true, efficiency: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(10),
    ) {
        let [merged, one_by_one] = merged_and_one_by_one(&memory, &drafts);
        prop_assert_eq!(merged, one_by_one);
    }

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane_under_fifo(
        memory in random::memory(With { channels: true, caps: true, efficiency: true, ..With::default() }, Just(Arbitration::Fifo)),
        drafts in random::plan(10),
    ) {
        let [merged, one_by_one] = merged_and_one_by_one(&memory, &drafts);
        prop_assert_eq!(merged, one_by_one);
    }
}

// ---- Figures that a person can check ----

fn hashed(bandwidth: u64, channels: u32) -> TierConfig {
    TierConfig { channels, interleaving: Interleaving::Hashed { page_tokens: 1 }, ..tier("tier", giga(bandwidth)) }
}

/// A read of so many bytes from the channels of a hashed tier.
fn read_parts(system: &MemorySystem, tier: TierId, issued: u64, bytes: &[u64]) -> Planned {
    let routes = system.even_reads(tier);
    let parts = routes.iter().copied().zip(bytes.iter().copied()).filter(|(_, bytes)| *bytes > 0).collect();
    Planned { way: Way::Parts(parts), ..read(system, tier, issued, bytes.iter().sum()) }
}

#[test]
fn a_transfer_in_parts_waits_for_its_most_loaded_channel() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        let system = lay(&plain(arbitration, vec![hashed(1000, 4), tier("external", giga(1))]));
        // 0.25 B/ps a channel: 400 kB on the second take 1.6 us, where all four together would take
        // 0.7.
        let plan = [read_parts(&system, HBM, 0, &[100_000, 400_000, 0, 200_000])];
        let done = &Replay::new(&system, &plan).finish()[0];
        assert_eq!((done.finished.as_ps(), done.unloaded.as_ps()), (1_600_000, 1_600_000), "{arbitration}");
        let loads = loads(&system, &plan);
        let busy: Vec<u64> = (0..4).map(|lane| loads[lane].busy.as_ps()).collect();
        assert_eq!(
            busy,
            [400_000, 1_600_000, 0, 800_000],
            "{arbitration}: a channel is busy while it carries its part"
        );
    }
}

#[test]
fn what_parts_take_of_a_link_alone_is_known() {
    let tiers = |arbitration| {
        let external = TierConfig { link: Some(LinkConfig::new(giga(400), giga(400)).into()), ..hashed(800, 4) };
        lay(&plain(arbitration, vec![tier("hbm", giga(1000)), external]))
    };
    // Channels of 0.2 B/ps behind a link of 0.4. Three parts share the link at 0.1333 B/ps each
    // until the first has its 100 kB at 750 ns; two go on at 0.2 until the second has 200 kB at
    // 1250 ns; only the third is limited by its channel: 300 kB at 1750 ns.
    for arbitration in [Arbitration::Fair, Arbitration::Priority] {
        let system = tiers(arbitration);
        let plan = [read_parts(&system, EXTERNAL, 0, &[100_000, 200_000, 0, 300_000])];
        let done = &Replay::new(&system, &plan).finish()[0];
        assert!(done.finished.as_ps().abs_diff(1_750_000) <= 1, "{done:?}");
        assert!(done.unloaded.as_ps().abs_diff(1_750_000) <= 1 && done.unloaded <= done.latency(), "{done:?}");
    }
    // Under fifo a link carries one transfer at a time, in all its parts: the second waits for the
    // first.
    let system = tiers(Arbitration::Fifo);
    let first = read_parts(&system, EXTERNAL, 0, &[100_000, 200_000, 0, 300_000]);
    let second = read_parts(&system, EXTERNAL, 0, &[0, 0, 40_000, 0]);
    let done = Replay::new(&system, &[first, second]).finish();
    assert!(done[0].finished.as_ps().abs_diff(1_750_000) <= 1, "{done:?}");
    assert_eq!(done[1].finished, done[0].finished + SimTime::from_ps(200_000));
    assert_eq!(done[0].queueing(), SimTime::ZERO);
}

#[test]
fn channels_of_a_hashed_tier_serve_different_transfers_at_once() {
    for arbitration in [Arbitration::Fair, Arbitration::Fifo] {
        let system = lay(&plain(arbitration, vec![hashed(1000, 2), tier("external", giga(1))]));
        let plan = [read_parts(&system, HBM, 0, &[100_000, 0]), read_parts(&system, HBM, 0, &[0, 100_000])];
        assert_eq!(finishes(&system, &plan), [200_000, 200_000], "{arbitration}");
    }
}

#[test]
fn packets_leave_their_payload_of_a_link() {
    // 64 B of 80: 0.8 of 500 GB/s towards the chip and of 250 away from it.
    let packet = Some(Packet { payload: Bytes::new(64), overhead: Bytes::new(16) });
    let link = LinkConfig { packet, combined: Some(giga(600)), ..LinkConfig::new(giga(500), giga(250)) };
    let external = TierConfig { link: Some(link.into()), ..tier("external", giga(900)) };
    let system = lay(&plain(Arbitration::Fair, vec![tier("hbm", giga(1000)), external]));
    assert_eq!(system.tiers()[1].read_bandwidth, giga(400));
    assert_eq!(system.tiers()[1].write_bandwidth, giga(200));
    let (reads, writes) = (read(&system, EXTERNAL, 0, 400_000), write(&system, EXTERNAL, 0, 200_000));
    assert_eq!(finishes(&system, std::slice::from_ref(&reads)), [1_000_000]);
    assert_eq!(finishes(&system, std::slice::from_ref(&writes)), [1_000_000]);
    // Both at once have 0.8 of 600 GB/s together: 0.28 B/ps for the reads beside 0.2 for the
    // writes, and then all of 0.4.
    assert_eq!(finishes(&system, &[reads, writes]), [1_300_000, 1_000_000]);
}

#[test]
fn under_fifo_a_dram_bus_turns_around_between_reads_and_writes() {
    let part: EfficiencyConfig = tiersim::catalog::efficiency("hbm3-6400").unwrap();
    let turnaround = tiersim::memory::Efficiency::new(&part).unwrap().turnaround();
    assert!(turnaround > SimTime::ZERO);
    let hbm = TierConfig { efficiency: Some(part.into()), ..tier("hbm", giga(1000)) };
    let system = lay(&plain(Arbitration::Fifo, vec![hbm, tier("external", giga(1))]));
    let reads = read(&system, HBM, 0, 1_000_000);
    let writes = write(&system, HBM, 0, 1_000_000);
    let plan = [reads.clone(), reads.clone(), writes.clone(), writes, reads];
    let done = Replay::new(&system, &plan).finish();
    let gaps: Vec<SimTime> =
        done.windows(2).map(|pair| pair[1].finished - pair[0].finished - pair[1].unloaded).collect();
    let none = SimTime::ZERO;
    assert_eq!(gaps, [none, turnaround, none, turnaround]);
    assert_eq!(done[0].finished, done[0].unloaded, "the first needs none");
}

#[test]
fn a_lane_of_two_carries_two_and_the_third_waits_for_a_last_byte() {
    let hbm = TierConfig { max_transfers: Some(2), ..tier("hbm", giga(1000)) };
    let system = lay(&plain(Arbitration::Fair, vec![hbm, tier("external", giga(500))]));
    let plan = [
        read(&system, HBM, 0, 300_000),
        read(&system, HBM, 0, 100_000),
        read(&system, HBM, 0, 100_000),
        read(&system, EXTERNAL, 0, 100_000),
    ];
    let done = Replay::new(&system, &plan).finish();
    // Two share until the second has its 100 kB at 200 ns; the third then shares with the first
    // until it has its own.
    let times: Vec<u64> = done.iter().map(|done| done.finished.as_ps()).collect();
    assert_eq!(times, [500_000, 200_000, 400_000, 200_000]);
    assert_eq!(done[2].started.as_ps(), 200_000);
    assert_eq!(done[2].queueing().as_ps(), 300_000);
}

/// What is issued at one instant is in line together: precedence decides, and not the order of
/// issue.
#[test]
fn of_those_that_come_at_one_instant_the_due_one_goes_first() {
    let hbm = TierConfig { max_transfers: Some(1), ..tier("hbm", giga(1000)) };
    let system = lay(&plain(Arbitration::Fair, vec![hbm, tier("external", giga(500))]));
    let early = Planned { urgency: Urgency::Early, ..read(&system, HBM, 0, 100_000) };
    let plan = [early, read(&system, HBM, 0, 100_000)];
    assert_eq!(finishes(&system, &plan), [200_000, 100_000]);
}

#[test]
fn a_cap_holds_for_all_parts_of_a_move_together() {
    let channels = |name, channels| TierConfig { channels, ..tier(name, giga(1000)) };
    let external = TierConfig { transfer_cap: Some(giga(100)), ..channels("external", 3) };
    let config = plain(Arbitration::Fair, vec![channels("hbm", 4), external]);
    for system in [MemorySystem::new(&config).unwrap(), MemorySystem::channel_by_channel(&config).unwrap()] {
        assert_eq!(finishes(&system, &[moved(&system, EXTERNAL, HBM, 0, 100_000)]), [1_000_000]);
    }
}

/// Nobody gets anything of a bus that those of higher precedence fill, though a share of it is no
/// whole number.
#[test]
fn what_roundings_leave_starts_nobody() {
    for one_by_one in [false, true] {
        let hbm = TierConfig { channels: 7, ..tier("hbm", giga(999)) };
        let config = plain(Arbitration::Priority, vec![hbm, tier("external", giga(500))]);
        let lay = if one_by_one { MemorySystem::channel_by_channel } else { MemorySystem::new };
        let system = lay(&config).unwrap();
        let reads = read(&system, HBM, 0, 999_000);
        let plan = [reads.clone(), reads.clone(), reads, write(&system, HBM, 0, 100)];
        let done = Replay::new(&system, &plan).finish();
        assert_eq!(done[3].started, done[2].finished, "{one_by_one}");
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// At every instant; and whoever is first in line on all its limited lanes, which have room,
    /// waits no more.
    #[test]
    fn a_lane_never_carries_more_than_it_may(
        memory in random::memory(
            With { limits: true, channels: true, hashed: true, latencies: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(14),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        let found = twin(&system, &plan);
        let done = Replay::new(&system, &plan).finish();
        agree(&done.iter().map(|done| done.finished.as_ps()).collect::<Vec<_>>(), &found.finishes)?;
        for (index, lane) in system.lanes().iter().enumerate() {
            let Some(limit) = lane.max_transfers else { continue };
            let holds = |planned: &Planned| {
                planned.parts().iter().any(|(route, _)| system.route(*route).iter().any(|hold| hold.lane.index() == index))
            };
            let held: Vec<&Completed<usize>> = done.iter().filter(|done| holds(&plan[done.tag])).collect();
            // From the request, so the latency counts, to the last byte.
            let requested = |done: &Completed<usize>| SimTime::from_ps(found.requested[done.tag]);
            for first in &held {
                let at = requested(first);
                let at_once = held.iter().filter(|it| requested(it) <= at && at < it.finished);
                prop_assert!(at_once.count() <= limit as usize, "{} at {at}", lane.name);
            }
        }
    }

    /// Bytes that lie on fewer channels than they could are never read sooner.
    #[test]
    fn hashed_is_never_faster_than_striped(
        channels in 1u32..9,
        bytes in prop::collection::vec(0u64..1_000_000, 8),
        others in prop::collection::vec(0u64..1_000_000, 8),
        linked: bool,
        arbitration in random::sharing(),
    ) {
        let link = linked.then(|| LinkConfig::new(giga(300), giga(300)));
        let hashed = TierConfig { link: link.map(Into::into), ..hashed(800, channels) };
        let striped = TierConfig { interleaving: Interleaving::Striped, ..hashed.clone() };
        let last = |tier: TierConfig| {
            let system = lay(&plain(arbitration, vec![tier, crate::common::tier("slow", giga(1))]));
            let of = |bytes: &[u64]| {
                let bytes = &bytes[..channels as usize];
                let sum = bytes.iter().sum::<u64>();
                (sum > 0).then(|| match system.even_reads(HBM).len() {
                    1 => read(&system, HBM, 0, sum),
                    _ => read_parts(&system, HBM, 0, bytes),
                })
            };
            let plan: Vec<Planned> = [of(&bytes), of(&others)].into_iter().flatten().collect();
            finishes(&system, &plan).into_iter().max()
        };
        prop_assert!(last(hashed.clone()).unwrap_or(0) + 1 >= last(striped).unwrap_or(0));
    }

    /// Everything at once, and extremes: what completes was all that was issued, nothing panics,
    /// nothing stalls.
    #[test]
    fn extremes_complete(
        arbitration in random::any_arbitration(),
        channels in prop::collection::vec(prop_oneof![Just(1u32), Just(3), Just(16), Just(33)], 2..9),
        rates in prop::collection::vec(prop_oneof![Just(1_000_000u64), 1_000_000u64..100_000_000, Just(100_000_000_000_000_000)], 8),
        weights in prop::array::uniform5(prop_oneof![Just(1u32), Just(1_000_000), 1u32..1_000_000]),
        caps in prop::collection::vec(prop::option::of(Just(1_000_000u64)), 8),
        limits in prop::collection::vec(prop::option::of(1u32..3), 8),
        hash: bool,
        drafts in random::plan(8),
    ) {
        let [weight_read, kv_read, kv_write, migrate_in, migrate_out] = weights;
        let weights = ClassWeights { weight_read, kv_read, kv_write, migrate_in, migrate_out };
        let steep = tiersim::catalog::efficiency("lpddr5x-8533").unwrap();
        let mut rates: Vec<u64> = rates[..channels.len()].to_vec();
        rates.sort_unstable_by_key(|rate| std::cmp::Reverse(*rate));
        let tiers = channels.iter().enumerate().map(|(index, &channels)| TierConfig {
            // Not too many routes for moves.
            channels: if hash && index < 2 { channels } else { channels.min(3) },
            interleaving: if hash && index < 2 { Interleaving::Hashed { page_tokens: 1 } } else { Interleaving::Striped },
            transfer_cap: caps[index].map(bandwidth),
            max_transfers: limits[index],
            latency: SimTime::from_ps(index as u64),
            efficiency: (index == 0).then(|| steep.clone().into()),
            ..tier(&format!("tier{index}"), bandwidth(rates[index]))
        });
        let config = config(arbitration, weights, tiers.collect());
        // The first tier loses a tenth; where that puts it after the second, there is nothing to
        // test.
        let Ok(system) = MemorySystem::new(&config) else { return Ok(()) };
        let plan = random::on(&system, &drafts);
        let done = Replay::new(&system, &plan).finish();
        for (done, planned) in done.iter().zip(&plan) {
            prop_assert_eq!(done.bytes.get(), planned.bytes);
            prop_assert!(done.started <= done.finished);
        }
        for (index, load) in loads(&system, &plan).iter().enumerate() {
            // Even parts count whole bytes, what is left over on the first lanes: each lane within
            // a byte a transfer.
            let holds = |route| system.route(route).iter().any(|hold| hold.lane.index() == index);
            let parts = plan.iter().flat_map(Planned::parts).filter(|(route, _)| holds(*route));
            let expected: f64 = parts.map(|(_, bytes)| bytes).sum();
            let carried: u64 = load.bytes.values().map(|bytes| bytes.get()).sum();
            prop_assert!((carried as f64 - expected).abs() <= (plan.len() * 200) as f64, "lane {index}: {carried}, {expected}");
        }
    }
}

/// What has arrived so far is the same to the byte, also when it is just about to be a whole one.
#[test]
fn bytes_arrive_over_channels_when_they_arrive_over_one_lane() {
    let hbm = TierConfig { channels: 3, ..tier("hbm", giga(1000)) };
    for arbitration in [Arbitration::Fair, Arbitration::Fifo] {
        let config = plain(arbitration, vec![hbm.clone(), tier("external", giga(500))]);
        for system in [MemorySystem::new(&config).unwrap(), MemorySystem::channel_by_channel(&config).unwrap()] {
            let plan = [read(&system, HBM, 0, 1000)];
            let mut replay = Replay::new(&system, &plan);
            replay.handle(SimTime::ZERO);
            for picoseconds in 1..1000 {
                let arrived = replay.machine.fabric().delivered(SimTime::from_ps(picoseconds), replay.in_flight[&0], 0);
                // A byte a picosecond; where each channel is one of three under fifo, the first
                // stands for all.
                assert_eq!(
                    arrived,
                    Delivered::Part(Bytes::new(picoseconds)),
                    "{arbitration}, {} lanes",
                    system.lanes().len()
                );
            }
        }
    }
}
