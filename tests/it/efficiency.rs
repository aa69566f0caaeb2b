//! Lanes on which the cost of a byte depends on its granule and on the share of reads, and caps on
//! the rate of a transfer.
//!
//! Rates are compared with the float twin, whose bisection needs no closed form; figures by hand
//! show single rows of an efficiency table.

use crate::common::properties::{CASES, cases};
use crate::common::random::{self, With};
use crate::common::*;
use proptest::prelude::*;
use tiersim::memory::{
    Arbitration, ClassWeights, Duplex, EfficiencyConfig, EfficiencyTable, LinkConfig, MemorySystem, TierConfig, TierId,
};
use tiersim::units::{Bytes, Ratio, SimTime};

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn shares_of_a_lane_with_losses_are_progressive_filling_over_the_times_of_bytes(
        memory in random::memory(With { efficiency: true, channels: true, ..With::default() }, random::sharing()),
        drafts in random::plan(12),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn capped_transfers_leave_the_rest_to_others(
        memory in random::memory(With { caps: true, ..With::default() }, random::sharing()),
        drafts in random::plan(16),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn limits_latencies_caps_and_losses_together(
        memory in random::memory(
            With { efficiency: true, caps: true, limits: true, latencies: true, channels: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(14),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn parts_over_hashed_channels_are_flows_of_their_own(
        memory in random::memory(
            With { caps: true, channels: true, hashed: true, efficiency: true, limits: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(8),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }
}

const HBM: TierId = TierId::new(0);
const EXTERNAL: TierId = TierId::new(1);

fn table(granules: &[u64], shares: &[&str], achieved: &[&[&str]]) -> EfficiencyConfig {
    let ratio = |text: &&str| text.parse::<Ratio>().unwrap();
    EfficiencyConfig {
        source: "a test".to_owned(),
        table: Some(EfficiencyTable {
            granules: granules.iter().copied().map(Bytes::new).collect(),
            read_shares: shares.iter().map(ratio).collect(),
            achieved: achieved.iter().map(|row| row.iter().map(ratio).collect()).collect(),
        }),
        dram: None,
    }
}

fn with_efficiency(efficiency: EfficiencyConfig) -> MemorySystem {
    let hbm = TierConfig { efficiency: Some(efficiency.into()), ..tier("hbm", giga(1000)) };
    lay(&config(Arbitration::Fair, ClassWeights::default(), vec![hbm, tier("external", giga(1))]))
}

#[test]
fn a_read_alone_takes_what_the_table_says_of_its_granule() {
    // 0.8 in long granules; 64 contiguous bytes achieve 0.4. Half-way between 1/64 and 1/256 the
    // time is half-way as well.
    let system = with_efficiency(table(&[64, 256], &["1"], &[&["0.4"], &["0.8"]]));
    let unloaded = |granule| {
        let plan = [Planned { granule, ..read(&system, HBM, 0, 1_000_000) }];
        finishes(&system, &plan)[0]
    };
    assert_eq!(
        [unloaded(1 << 20), unloaded(256), unloaded(64), unloaded(1)],
        [1_250_000, 1_250_000, 2_500_000, 2_500_000]
    );
    // 2/(1/64 + 1/256) = 102.4 B is no granule; at 128 B, a third of the way, 1.25 + 1.25 / 3 us a
    // MB.
    assert!(unloaded(128).abs_diff(1_666_667) <= 1);
}

#[test]
fn reads_and_writes_that_share_a_bus_turn_it_around_all_the_time() {
    // Reads only or writes only run at the peak, half and half at half of it.
    let system = with_efficiency(table(&[1], &["0", "0.5", "1"], &[&["1", "0.5", "1"]]));
    let plan = [read(&system, HBM, 0, 1_000_000), write(&system, HBM, 0, 2_000_000)];
    // Each gets 0.25 B/ps until the read has its 1 MB after 4 us; the write then lacks 1 MB, at 1
    // B/ps.
    assert_eq!(finishes(&system, &plan).map_each(|at| at.div_ceil(10) * 10), [4_000_000, 5_000_000]);
}

trait MapEach {
    fn map_each(self, f: impl Fn(u64) -> u64) -> Vec<u64>;
}

impl MapEach for Vec<u64> {
    fn map_each(self, f: impl Fn(u64) -> u64) -> Vec<u64> {
        self.into_iter().map(f).collect()
    }
}

/// A move each way over a bus with losses that neither fills: the other one's lanes decide, as if
/// the bus had none.
#[test]
fn a_bus_that_is_far_from_full_slows_nobody() {
    let hbm = TierConfig { efficiency: Some(table(&[1], &["1"], &[&["0.4"]]).into()), ..tier("hbm", giga(2050)) };
    for slow in 1..300 {
        let link = LinkConfig::new(bandwidth(slow * 700_000_001), bandwidth(slow * 300_000_007));
        let external = TierConfig { link: Some(link.into()), duplex: Duplex::Full, ..tier("external", giga(400)) };
        let system = lay(&config(Arbitration::Fair, ClassWeights::default(), vec![hbm.clone(), external]));
        let plan = [moved(&system, EXTERNAL, HBM, 0, 100_000), moved(&system, HBM, EXTERNAL, 0, 100_000)];
        let unloaded = [&plan[..1], &plan[1..]].map(|single| finishes(&system, single)[0]);
        assert_eq!(finishes(&system, &plan), unloaded, "{slow}");
    }
}

/// Reads in short granules that cost less the more is written beside them, in long ones. What they
/// were given together must not be more than the bus carries when the one has reached what its cap
/// allows.
#[test]
fn more_writes_that_make_reads_cheaper_leave_the_bus_no_more_than_full() {
    // A byte takes (1 + 9 s) of its time at peak in granules of 64 B, where s is the share of
    // reads; 1 in granules of 64 KiB.
    let steep = table(&[64, 65_536], &["0", "1"], &[&["1", "0.1"], &["1", "1"]]);
    let hbm = TierConfig { efficiency: Some(steep.into()), ..tier("hbm", giga(1000)) };
    for read_gigabytes in [50, 120, 150, 180, 200] {
        let link = LinkConfig::new(giga(900), giga(read_gigabytes));
        let external = TierConfig { link: Some(link.into()), duplex: Duplex::Full, ..tier("external", giga(900)) };
        let system = lay(&config(Arbitration::Fair, ClassWeights::default(), vec![hbm.clone(), external]));
        // Out of HBM in short granules, limited by the link; writes to HBM.
        let out = Planned { granule: 64, ..moved(&system, HBM, EXTERNAL, 0, 1_000_000) };
        let plan = [out, write(&system, HBM, 0, 20_000_000)];
        let times = finishes(&system, &plan);
        agree(&times, &twin(&system, &plan).finishes).unwrap();
        // The bus carries the writes from the start on.
        let seconds = times[0] as f64 * 1e-12;
        let rate = 1_000_000.0 / seconds;
        assert!(rate <= 1.01 * (read_gigabytes * GIGA) as f64, "{read_gigabytes}: {rate}");
        assert!(times[1] < 40_000_000, "{read_gigabytes}: the write was starved: {times:?}");
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// Capped so that exactly one share of the bytes are reads.
    #[test]
    fn a_saturated_lane_achieves_what_its_table_says(
        table in random::table(),
        granule in prop_oneof![1u64..300, 1u64..1_000_000],
        reads in 1u32..=9,
    ) {
        let efficiency = EfficiencyConfig { source: "a test".to_owned(), table: Some(table), dram: None };
        let known = tiersim::memory::Efficiency::new(&efficiency).unwrap();
        let hbm = TierConfig { efficiency: Some(efficiency.into()), ..tier("hbm", giga(1000)) };
        let weights = ClassWeights { kv_read: reads, kv_write: 10 - reads, ..ClassWeights::default() };
        let system = lay(&config(Arbitration::Fair, weights, vec![hbm, tier("external", bandwidth(1_000_000))]));
        let bytes = |weight: u32| 10_000_000 * u64::from(weight);
        let plan = [
            Planned { granule, ..read(&system, HBM, 0, bytes(reads)) },
            Planned { granule, ..write(&system, HBM, 0, bytes(10 - reads)) },
        ];
        // With weights as their sizes both end at once.
        let expected = 100_000_000.0 / known.achieved(Bytes::new(granule.max(1)), f64::from(reads) / 10.0);
        for finish in finishes(&system, &plan) {
            prop_assert!((finish as f64 - expected).abs() <= 2.0 + 1e-9 * expected, "{finish} against {expected}");
        }
    }

    #[test]
    fn a_capped_transfer_alone_takes_its_bytes_at_its_cap(
        arbitration in random::any_arbitration(),
        cap in 1u64..900,
        bytes in random::size(),
        of_link: bool,
    ) {
        let mut external = TierConfig { link: Some(LinkConfig::new(giga(1000), giga(950)).into()), ..tier("external", giga(2000)) };
        if of_link {
            external.link_mut().unwrap().transfer_cap = Some(giga(cap));
        } else {
            external.transfer_cap = Some(giga(cap));
        }
        let system = lay(&config(arbitration, ClassWeights::default(), vec![tier("hbm", giga(3000)), external]));
        for planned in [
            read(&system, EXTERNAL, 7, bytes), write(&system, EXTERNAL, 7, bytes), moved(&system, EXTERNAL, HBM, 7, bytes),
        ] {
            let done = &Replay::new(&system, std::slice::from_ref(&planned)).finish()[0];
            prop_assert_eq!(done.finished.as_ps(), 7 + giga(cap).time_for(Bytes::new(bytes)).as_ps());
            prop_assert_eq!(done.queueing(), SimTime::ZERO);
        }
    }

    /// Shipped DRAM parts, whose costs are steep: no twin agrees on every share there, but bytes
    /// are conserved.
    #[test]
    fn on_dram_parts_everything_completes_and_no_bus_carries_more_than_its_peak(
        part in prop::sample::select(tiersim::catalog::DRAM.iter().map(|part| part.0).collect::<Vec<_>>()),
        arbitration in random::any_arbitration(),
        drafts in random::plan(30),
        channels in 1u32..70,
    ) {
        let efficiency = Some(tiersim::catalog::efficiency(part).unwrap().into());
        let hbm = TierConfig { efficiency: efficiency.clone(), channels, ..tier("hbm", giga(1000)) };
        let link = Some(LinkConfig::new(giga(300), giga(200)).into());
        let external = TierConfig { efficiency, link, ..tier("external", giga(700)) };
        let system = lay(&config(arbitration, ClassWeights::default(), vec![hbm, external]));
        let plan = random::on(&system, &drafts);
        for (lane, load) in system.lanes().iter().zip(loads(&system, &plan)) {
            let bytes: u64 = load.bytes.values().map(|bytes| bytes.get()).sum();
            prop_assert!(lane.whole.time_for(Bytes::new(bytes)) <= load.busy + SimTime::from_ps(plan.len() as u64));
        }
    }
}
