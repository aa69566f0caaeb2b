//! What holds of every plan, whatever its figures are: bytes are neither lost nor invented, no lane
//! carries more than its bandwidth allows, and equal plans complete in equal sequences.

use super::*;

/// What has arrived of a transfer over one route, which is in flight.
fn bytes_of(delivered: Delivered) -> Bytes {
    match delivered {
        Delivered::Part(bytes) => bytes,
        Delivered::All => panic!("only a part of a transfer can be complete"),
    }
}

/// What each lane has carried by `at`, in whole bytes: completed transfers and what has arrived of
/// the others.
fn carried(system: &MemorySystem, replay: &Replay, at: SimTime) -> Vec<u128> {
    let loads = replay.machine.fabric().loads(at);
    (0..system.lanes().len())
        .map(|lane| {
            let completed: u64 = loads[lane].bytes.values().map(|bytes| bytes.get()).sum();
            let arrived: u64 = replay
                .in_flight
                .iter()
                .filter(|(index, _)| replay.plan[**index].holds(system, lane))
                .map(|(_, &id)| bytes_of(replay.machine.fabric().delivered(at, id, 0)).get())
                .sum();
            u128::from(completed + arrived)
        })
        .collect()
}

/// `bytes` on a lane of `bandwidth` in `span`, within a tolerance in bytes.
fn fits(bandwidth: Bandwidth, bytes: u128, span: SimTime, tolerance: u128) -> bool {
    bytes * PS_PER_SECOND <= u128::from(bandwidth.get()) * u128::from(span.as_ps()) + tolerance * PS_PER_SECOND
}

fn arrived(replay: &Replay, at: SimTime) -> BTreeMap<usize, Bytes> {
    replay
        .in_flight
        .iter()
        .map(|(&index, &id)| (index, bytes_of(replay.machine.fabric().delivered(at, id, 0))))
        .collect()
}

/// No lane carries more than its bandwidth allows: from the start, while it was busy, and since an
/// earlier instant.
fn check_lanes(
    system: &MemorySystem,
    replay: &Replay,
    at: SimTime,
    before: &(SimTime, Vec<u128>),
) -> Result<(), TestCaseError> {
    let (since, carried_before) = before;
    // Each transfer's bytes were rounded down at the earlier instant.
    let tolerance = 1 + replay.plan.len() as u128;
    let carried = carried(system, replay, at);
    for (index, (lane, load)) in system.lanes().iter().zip(replay.machine.fabric().loads(at)).enumerate() {
        prop_assert!(load.busy <= at, "{} was busy for {} by {at}", lane.name, load.busy);
        prop_assert!(fits(lane.bandwidth(), carried[index], load.busy, 1), "{} by {at}", lane.name);
        prop_assert!(carried[index] >= carried_before[index], "{} lost bytes by {at}", lane.name);
        let bytes = carried[index] - carried_before[index];
        prop_assert!(fits(lane.bandwidth(), bytes, at - *since, tolerance), "{} in {since}..{at}", lane.name);
    }
    Ok(())
}

/// Every byte that was issued has been completed or is in flight, class by class.
fn check_classes(replay: &Replay) -> Result<(), TestCaseError> {
    for class in TransferClass::ALL {
        let of_class = |index: usize| replay.plan[index].class == class;
        let issued_by_plan = replay
            .plan
            .iter()
            .filter(|planned| planned.class == class && SimTime::from_ps(planned.issued) <= replay.machine.now());
        let issued: u64 = issued_by_plan.map(|planned| planned.bytes).sum();
        let completed: u64 = replay.completed.iter().filter(|c| of_class(c.tag)).map(|c| c.bytes.get()).sum();
        let in_flight: u64 =
            replay.in_flight.keys().filter(|index| of_class(**index)).map(|index| replay.plan[*index].bytes).sum();
        prop_assert_eq!(issued, completed + in_flight);
        let fabric = replay.machine.fabric();
        let reported = [fabric.issued(), fabric.completed(), fabric.in_flight()].map(|bytes| bytes[class].get());
        prop_assert_eq!(reported, [issued, completed, in_flight], "{}", class);
    }
    Ok(())
}

/// A completion against its plan.
fn check_completion(system: &MemorySystem, plan: &[Planned], transfer: &Completed<usize>) -> Result<(), TestCaseError> {
    let planned = &plan[transfer.tag];
    let reported = (transfer.class, transfer.bytes.get(), transfer.issued.as_ps());
    prop_assert_eq!(reported, (planned.class, planned.bytes, planned.issued));
    prop_assert_eq!(transfer.unloaded.as_ps(), unloaded(system, planned));
    prop_assert_eq!(transfer.latency(), transfer.finished - transfer.issued);
    prop_assert!(transfer.finished >= SimTime::from_ps(planned.admitted()) + transfer.unloaded, "{:?}", transfer);
    prop_assert_eq!(transfer.queueing(), transfer.latency() - transfer.unloaded);
    Ok(())
}

/// Runs `plan` and checks the fabric at every instant and half-way between two.
fn check_conservation(system: &MemorySystem, plan: &[Planned]) -> Result<(), TestCaseError> {
    let mut replay = Replay::new(system, plan);
    let mut before = (SimTime::ZERO, vec![0; system.lanes().len()]);
    while let Some(at) = replay.next_instant() {
        prop_assert!(at >= replay.machine.now(), "time ran back from {} to {at}", replay.machine.now());
        let at_last = arrived(&replay, replay.machine.now());
        let midway = SimTime::from_ps(replay.machine.now().as_ps().midpoint(at.as_ps()));
        let at_midway = arrived(&replay, midway);
        check_lanes(system, &replay, midway, &before)?;
        let due = arrived(&replay, at);
        check_lanes(system, &replay, at, &before)?;
        for (index, bytes) in &due {
            prop_assert!(at_last[index] <= at_midway[index] && at_midway[index] <= *bytes, "transfer {index}");
        }

        let completed = replay.completed.len();
        replay.handle(at);
        prop_assert_eq!(replay.machine.now(), at);
        for transfer in &replay.completed[completed..] {
            prop_assert_eq!(transfer.finished, at);
            prop_assert_eq!(due[&transfer.tag], transfer.bytes, "complete before the last byte has arrived");
            check_completion(system, plan, transfer)?;
        }
        for (index, now_arrived) in arrived(&replay, at) {
            prop_assert_eq!(now_arrived, due.get(&index).copied().unwrap_or_default(), "transfer {}", index);
            prop_assert!(now_arrived.get() < plan[index].bytes, "transfer {index} has arrived but is not complete");
        }
        check_classes(&replay)?;
        before = (at, carried(system, &replay, at));
    }
    prop_assert_eq!(replay.completed.len(), plan.len());
    check_totals(system, &replay)
}

/// In the end each lane has carried what was routed over it, to the byte.
fn check_totals(system: &MemorySystem, replay: &Replay) -> Result<(), TestCaseError> {
    for (lane, load) in replay.machine.fabric().loads(replay.machine.now()).iter().enumerate() {
        let mut routed = PerClass::filled(Bytes::ZERO);
        for planned in replay.plan.iter().filter(|planned| planned.holds(system, lane)) {
            routed[planned.class] += Bytes::new(planned.bytes);
        }
        prop_assert_eq!(load.bytes, routed);
    }
    Ok(())
}

/// The completions in their order, with everything that distinguishes two runs.
fn sequence(system: &MemorySystem, plan: &[Planned]) -> Vec<(usize, TransferId, SimTime)> {
    let mut replay = Replay::new(system, plan);
    replay.run();
    replay.completed.iter().map(|transfer| (transfer.tag, transfer.id, transfer.finished)).collect()
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn bytes_and_time_are_conserved(
        system in any_arbitration().prop_flat_map(system),
        plan in plan(any_planned()),
    ) {
        check_conservation(&system, &plan)?;
    }

    #[test]
    fn the_same_plan_completes_in_the_same_sequence(
        system in any_arbitration().prop_flat_map(system),
        plan in plan(any_planned()),
    ) {
        prop_assert_eq!(sequence(&system, &plan), sequence(&system, &plan));
    }

    /// `issue` writes some transfers to their slots directly: the same as to hold them and admit
    /// them at once.
    #[test]
    fn to_issue_is_to_hold_and_admit(
        system in any_arbitration().prop_flat_map(system),
        plan in plan(any_planned()),
    ) {
        let report = |always_holds| {
            let mut replay = Replay::new(&system, &plan);
            replay.always_holds = always_holds;
            replay.run();
            let completed: Vec<String> = replay.completed.iter().map(|transfer| format!("{transfer:?}")).collect();
            (completed, replay.machine.fabric().loads(replay.machine.now()), replay.machine.events())
        };
        prop_assert_eq!(report(false), report(true));
    }

    /// What is issued at one instant shares the lanes from that instant on, whatever the order of
    /// issue.
    #[test]
    fn under_sharing_the_order_of_issue_within_an_instant_makes_no_difference(
        system in sharing().prop_flat_map(system),
        plan in plan(any_planned()),
    ) {
        let reversed: Vec<Planned> = plan.iter().rev().cloned().collect();
        let mut finishes_reversed = finishes(&system, &reversed);
        finishes_reversed.reverse();
        prop_assert_eq!(finishes(&system, &plan), finishes_reversed);
    }
}
