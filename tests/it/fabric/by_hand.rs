//! Cases whose figures a person can check, in bytes and picoseconds; and two sequences of calls
//! that once went wrong.

use super::*;

#[test]
fn two_reads_that_partly_overlap_share_the_bus_while_they_do() {
    let byte_a_picosecond = one_lane(Arbitration::Fair, giga(1000));
    // At 200 ns the first lacks 800 kB; the second has its 500 kB after another 1000 ns, when the
    // first lacks 300 kB.
    let plan = [read(0, 1_000_000), read(200_000, 500_000)];
    assert_eq!(finishes(&byte_a_picosecond, &plan), [1_500_000, 1_200_000]);
}

#[test]
fn an_instant_between_two_picoseconds_is_rounded_up() {
    let system = one_lane(Arbitration::Fair, giga(900));
    // The second takes 300 kB / 0.45 = 666,666.7 ps; the first then lacks 509,999.85 B, which take
    // 566,666.5 ps.
    let plan = [read(0, 900_000), read(100_000, 300_000)];
    assert_eq!(finishes(&system, &plan), [1_333_334, 766_667]);
}

#[test]
fn a_class_of_weight_three_gets_three_times_the_share() {
    let weights = ClassWeights { kv_read: 3, ..ClassWeights::default() };
    let lane = bus(giga(1000));
    let system = lay(&config(Arbitration::Fair, weights, vec![lane.clone(), lane]));
    let plan = [read(0, 300_000), write(&system, 0, 300_000)];
    assert_eq!(finishes(&system, &plan), [400_000, 600_000]);
}

#[test]
fn what_a_link_keeps_a_move_from_using_goes_to_the_reads_of_hbm() {
    let system = two_tiers(Arbitration::Fair);
    // The move and the external read get 0.2 B/ps each, for the link; the HBM read the other 0.8 of
    // the HBM bus. At 1000 ns the move is over: the HBM read lacks 400 kB at 1 B/ps, the external
    // one 100 kB at 0.4.
    let plan = [read(0, 1_200_000), move_in(&system, 0, 200_000), read_external(&system, 0, 300_000)];
    assert_eq!(finishes(&system, &plan), [1_400_000, 1_000_000, 1_250_000]);
}

#[test]
fn only_a_half_duplex_bus_is_shared_by_reads_and_writes() {
    let half = bus(giga(1000));
    let full = TierConfig { duplex: Duplex::Full, ..half.clone() };
    let through_link = TierConfig {
        link: Some(LinkConfig { combined: Some(giga(1250)), ..LinkConfig::new(giga(1000), giga(1000)) }.into()),
        ..full.clone()
    };
    for (tier, expected) in [(half, 200_000), (full, 100_000), (through_link, 160_000)] {
        let system = lay(&config(Arbitration::Fair, ClassWeights::default(), vec![tier.clone(), tier]));
        let plan = [read(0, 100_000), write(&system, 0, 100_000)];
        assert_eq!(finishes(&system, &plan), [expected; 2]);
    }
}

#[test]
fn a_demand_read_preempts_a_write_which_preempts_a_move() {
    let system = two_tiers(Arbitration::Priority);
    // The write has 100 kB when the read comes and goes on when it has left; the move waits for
    // both.
    let plan = [write(&system, 0, 500_000), read(100_000, 300_000), move_in(&system, 50_000, 100_000)];
    assert_eq!(finishes(&system, &plan), [800_000, 400_000, 1_050_000]);
}

#[test]
fn an_early_read_waits_for_due_ones_unless_its_urgency_is_raised() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority] {
        let system = one_lane(arbitration, giga(1000));
        let early = Planned { urgency: Urgency::Early, ..read(0, 500_000) };
        let due = read(100_000, 300_000);
        assert_eq!(finishes(&system, &[early.clone(), due.clone()]), [800_000, 400_000], "{arbitration}");
        // With 100 kB received and 200 kB to go for the due one, they share.
        let raised = Planned { raised: Some(200_000), ..early };
        assert_eq!(finishes(&system, &[raised, due]), [800_000, 600_000], "{arbitration}");
    }
}

#[test]
fn under_fifo_a_lane_is_idle_while_its_first_in_line_waits_for_another() {
    let system = two_tiers(Arbitration::Fifo);
    // The move waits for the HBM bus; the external read, though its lanes are idle, for the move.
    let plan = [read(0, 1_000_000), move_in(&system, 0, 500_000), read_external(&system, 0, 400_000)];
    assert_eq!(finishes(&system, &plan), [1_000_000, 2_250_000, 3_250_000]);
}

#[test]
fn a_held_read_waits_and_the_wait_is_queueing() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        let system = one_lane(arbitration, giga(1000));
        let plan = [write(&system, 0, 100_000), Planned { held: Some(100_000), ..read(0, 200_000) }];
        let completed = Replay::new(&system, &plan).finish();
        let read = completed.iter().find(|transfer| transfer.tag == 1).expect("the read completes");
        assert_eq!(read.finished, SimTime::from_ps(300_000), "{arbitration}");
        assert_eq!(read.unloaded, SimTime::from_ps(200_000), "{arbitration}");
        assert_eq!(read.queueing(), SimTime::from_ps(100_000), "{arbitration}");
    }
}

/// A slot that is used again must not be taken for the transfer that had it, whose heap entry is
/// still there.
#[test]
fn a_held_transfer_in_a_reused_slot_is_not_completed() {
    // 0.3 B/ps is rounded down, so the two marks differ by less than the tolerance.
    let system = one_lane(Arbitration::Fair, giga(300));
    let mut fabric: Fabric<&str> = Fabric::new(&system);
    let (mut calendar, mut done) = (Calendar::with_capacity(8), Vec::new());
    let request = |bytes, urgency, tag| Request {
        class: TransferClass::WeightRead,
        path: Path::Route(route(0)),
        granule: Bytes::new(1),
        pattern: Pattern::Random,
        bytes: Bytes::new(bytes),
        urgency,
        reach: Reach::FULL,
        tag,
    };
    let start = SimTime::ZERO;
    let first = fabric.issue(start, request(103, Urgency::Early, "first"));
    fabric.settle(&mut calendar);
    let later = SimTime::from_ps(10);
    calendar.advance(later);
    fabric.issue(later, request(100, Urgency::Early, "second"));
    fabric.raise_urgency(later, first);
    fabric.settle(&mut calendar);
    let (at, event) = calendar.pop().unwrap();
    fabric.complete(at, event, &mut done);
    assert_eq!(done.drain(..).map(|completed| completed.tag).collect::<Vec<_>>(), ["first"]);
    fabric.issue_held(at, request(1000, Urgency::Due, "held"));
    fabric.settle(&mut calendar);
    let (at, event) = calendar.pop().unwrap();
    fabric.complete(at, event, &mut done);
    assert_eq!(done.drain(..).map(|completed| completed.tag).collect::<Vec<_>>(), ["second"]);
}

/// A meter's progress can be compared with later progress, also when all transfers of the group
/// have left and others arrive later.
#[test]
fn progress_goes_on_when_a_group_was_empty() {
    let system = one_lane(Arbitration::Fair, giga(1000));
    let mut fabric: Fabric<()> = Fabric::new(&system);
    let (mut calendar, mut done) = (Calendar::with_capacity(8), Vec::new());
    let request = Request {
        class: TransferClass::KvRead,
        path: Path::Route(route(0)),
        granule: Bytes::new(1),
        pattern: Pattern::Random,
        bytes: Bytes::new(1000),
        urgency: Urgency::Due,
        reach: Reach::FULL,
        tag: (),
    };
    let meter = fabric.meter(route(0), TransferClass::KvRead, Bytes::new(1)).unwrap();
    let progress = |fabric: &Fabric<()>, now| fabric.progress(now, meter).unwrap();
    let mut before = 0;
    for _ in 0..3 {
        let start = calendar.now() + SimTime::from_ps(500);
        calendar.advance(start);
        assert_eq!(progress(&fabric, start), before, "an empty group does not progress");
        fabric.issue(start, request);
        fabric.settle(&mut calendar);
        let after = Fabric::<()>::progress_after(before, request.bytes);
        let (now, event) = calendar.pop().unwrap();
        fabric.complete(now, event, &mut done);
        fabric.settle(&mut calendar);
        before = progress(&fabric, now);
        assert!(before >= after);
    }
    assert_eq!(done.len(), 3);
}
