//! [`Fabric`] against slow, obvious twins.
//!
//! * `fair` and `priority`: progressive filling over single transfers, in floats ([`filled`]).
//! * `fair` on one lane: processor sharing, picosecond by picosecond in exact integers
//!   ([`picosecond_by_picosecond`]), and its closed form.
//! * `fifo`: each transfer starts when all that arrived before it have left its lanes
//!   ([`in_line`]).

use super::*;

/// A transfer on its lanes, to the twin of `fair` and `priority`.
struct Flow {
    index: usize,
    lanes: Vec<usize>,
    weight: f64,
    level: u8,
    missing: f64,
}

impl Flow {
    /// Whole picoseconds until it is complete at `rate`.
    fn wait(&self, rate: f64) -> u64 {
        ((self.missing - TOLERANCE) / rate).ceil() as u64
    }
}

/// When each transfer finishes under `fair` or `priority`: at every arrival and departure all rates
/// are computed again. A departure takes effect at the next whole picosecond, the resolution of the
/// fabric's clock.
fn filled(system: &MemorySystem, plan: &[Planned]) -> Vec<u64> {
    let capacity: Vec<f64> = system.lanes().iter().map(|lane| lane.whole.as_f64() / PS_PER_SECOND as f64).collect();
    let mut agenda = agenda(plan);
    let mut urgency: Vec<Urgency> = plan.iter().map(|planned| planned.urgency).collect();
    let mut finishes = vec![0; plan.len()];
    let mut flows: Vec<Flow> = Vec::new();
    let mut now = 0u64;
    loop {
        let rates = max_min(&flows, &capacity);
        let completion = flows.iter().zip(&rates).map(|(flow, rate)| now.saturating_add(flow.wait(*rate))).min();
        let outside = agenda.front().map(|&(at, ..)| at);
        let Some(next) = completion.into_iter().chain(outside).min() else {
            return finishes;
        };
        for (flow, rate) in flows.iter_mut().zip(&rates) {
            flow.missing -= rate * (next - now) as f64;
        }
        now = next;
        for flow in flows.extract_if(.., |flow| flow.missing <= TOLERANCE) {
            finishes[flow.index] = now;
        }
        while let Some((action, index)) = take_due(&mut agenda, now) {
            match action {
                Action::Issue if plan[index].held.is_some() => {}
                Action::Issue | Action::Admit => flows.push(flow(system, plan, index, urgency[index])),
                Action::Cancel => panic!("this twin cancels nothing"),
                Action::RaiseUrgency => {
                    urgency[index] = Urgency::Due;
                    if let Some(flow) = flows.iter_mut().find(|flow| flow.index == index) {
                        flow.level = precedence(system, plan[index].class, Urgency::Due);
                    }
                }
            }
        }
    }
}

fn flow(system: &MemorySystem, plan: &[Planned], index: usize, urgency: Urgency) -> Flow {
    let planned = &plan[index];
    let weight = match system.arbitration() {
        Arbitration::Fair => system.class_weights().of(planned.class),
        _ => 1,
    };
    Flow {
        index,
        lanes: lanes(system, planned),
        weight: f64::from(weight),
        level: precedence(system, planned.class, urgency),
        missing: planned.bytes as f64,
    }
}

/// Weighted max-min fair rates, level by level: the rates of all that still rise grow together,
/// each by its weight, until a lane is full; flows on that lane rise no more.
fn max_min(flows: &[Flow], capacity: &[f64]) -> Vec<f64> {
    let mut left = capacity.to_vec();
    let mut rates = vec![0.0; flows.len()];
    for level in 0..=LOWEST_PRECEDENCE {
        let mut rising: Vec<usize> = (0..flows.len()).filter(|&flow| flows[flow].level == level).collect();
        while !rising.is_empty() {
            let mut pressure = vec![0.0; capacity.len()];
            for &flow in &rising {
                flows[flow].lanes.iter().for_each(|&lane| pressure[lane] += flows[flow].weight);
            }
            let (rise, full) = (0..capacity.len())
                .filter(|&lane| pressure[lane] > 0.0)
                .map(|lane| (left[lane] / pressure[lane], lane))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .expect("a rising flow holds a lane");
            for &flow in &rising {
                rates[flow] += rise * flows[flow].weight;
            }
            for lane in 0..capacity.len() {
                left[lane] = (left[lane] - rise * pressure[lane]).max(0.0);
            }
            rising.retain(|&flow| !flows[flow].lanes.contains(&full));
        }
    }
    rates
}

/// When each transfer finishes under `fifo`: in the order of admission, each starts when the
/// earlier ones have left all its lanes, and then has them to itself.
fn in_line(system: &MemorySystem, plan: &[Planned]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..plan.len()).collect();
    order.sort_by_key(|&index| (plan[index].admitted(), plan[index].held.is_some(), index));
    let mut free = vec![0; system.lanes().len()];
    let mut finishes = vec![0; plan.len()];
    for index in order {
        let planned = &plan[index];
        let lanes = lanes(system, planned);
        let start = lanes.iter().map(|&lane| free[lane]).max().expect("a route holds a lane").max(planned.admitted());
        finishes[index] = start + unloaded(system, planned);
        for lane in lanes {
            free[lane] = finishes[index];
        }
    }
    finishes
}

/// When each of at most six transfers, given as (issued, bytes), finishes if they share one lane
/// equally.
fn picosecond_by_picosecond(bandwidth: Bandwidth, transfers: &[(u64, u64)]) -> Vec<u64> {
    // The least number that 1 to 6 divide: a share of what a picosecond brings is whole in
    // sixtieths of 10^-12 byte.
    const PARTS: u64 = 60;
    let mut missing: Vec<u64> = transfers.iter().map(|(_, bytes)| bytes * PARTS * SimTime::PS_PER_SECOND).collect();
    let mut finishes = vec![0; transfers.len()];
    let mut now = 0;
    while missing.iter().any(|&missing| missing > 0) {
        let active: Vec<usize> =
            (0..transfers.len()).filter(|&index| transfers[index].0 <= now && missing[index] > 0).collect();
        now += 1;
        for &index in &active {
            missing[index] = missing[index].saturating_sub(bandwidth.get() * PARTS / active.len() as u64);
            finishes[index] = now;
        }
    }
    finishes
}

// ---- Twins and fabric agree ----

/// Whether times agree within one rounding to a picosecond either way, and the precision of floats.
fn agree(fabric: &[u64], twin: &[u64]) -> Result<(), TestCaseError> {
    for (index, (&fabric, &twin)) in fabric.iter().zip(twin).enumerate() {
        let tolerance = 2.0 + 1e-9 * twin as f64;
        prop_assert!(fabric.abs_diff(twin) as f64 <= tolerance, "transfer {index}: {fabric} ps, the twin {twin}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn fair_is_progressive_filling(system in system(Arbitration::Fair), plan in plan(plain())) {
        agree(&finishes(&system, &plan), &filled(&system, &plan))?;
    }

    #[test]
    fn priority_is_progressive_filling_level_by_level(
        system in system(Arbitration::Priority),
        plan in plan(plain()),
    ) {
        agree(&finishes(&system, &plan), &filled(&system, &plan))?;
    }

    #[test]
    fn early_transfers_get_what_due_ones_leave_and_keep_it(
        system in sharing().prop_flat_map(system),
        plan in plan(early()),
    ) {
        agree(&finishes(&system, &plan), &filled(&system, &plan))?;
    }

    #[test]
    fn held_transfers_share_from_their_admission(
        system in sharing().prop_flat_map(system),
        plan in plan(any_planned()),
    ) {
        agree(&finishes(&system, &plan), &filled(&system, &plan))?;
    }

    #[test]
    fn fifo_is_a_line_on_each_lane(system in system(Arbitration::Fifo), plan in plan(any_planned())) {
        prop_assert_eq!(finishes(&system, &plan), in_line(&system, &plan));
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn a_crowd_shares_as_a_few_do(
        system in sharing().prop_flat_map(system),
        plan in prop::collection::vec(any_planned(), 300..400),
    ) {
        agree(&finishes(&system, &plan), &filled(&system, &plan))?;
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn fair_on_one_lane_is_processor_sharing(
        gigabytes in 20u64..=3000,
        transfers in prop::collection::vec((0u64..500, 1u64..=40), 1..=6),
    ) {
        let system = one_lane(Arbitration::Fair, giga(gigabytes));
        let plan: Vec<Planned> = transfers.iter().map(|&(issued, bytes)| read(issued, bytes)).collect();
        prop_assert_eq!(
            finishes(&system, &plan),
            picosecond_by_picosecond(giga(gigabytes), &transfers)
        );
    }

    /// The k-th smallest of n finishes when the lane has carried all smaller ones and as much of
    /// each larger one.
    #[test]
    fn fair_from_one_instant_on_is_the_closed_form(
        lane in gigabytes(),
        mut sizes in prop::collection::vec(size(), 1..30),
    ) {
        sizes.sort_unstable();
        let plan: Vec<Planned> = sizes.iter().map(|&bytes| read(0, bytes)).collect();
        let finishes = finishes(&one_lane(Arbitration::Fair, lane), &plan);
        let mut smaller = 0;
        let mut wasted = 0.0;
        for (index, (&bytes, &finish)) in sizes.iter().zip(&finishes).enumerate() {
            let sharers = sizes.len() - index;
            let exact = lane.time_for(Bytes::new(smaller + bytes * sharers as u64)).as_ps();
            // A transfer leaves at a whole picosecond: until then its share is unused.
            prop_assert!((exact..=exact + f64::ceil(wasted) as u64).contains(&finish), "{bytes} B: {finish}, {exact}");
            smaller += bytes;
            wasted += 1.0 / sharers as f64;
        }
    }

    #[test]
    fn an_unloaded_transfer_takes_what_its_slowest_lane_takes(
        arbitration in any_arbitration(),
        mega in prop_oneof![1u64..=1_000, 1u64..=100_000_000, Just(Bandwidth::MAX_INPUT / MEGA)],
        bytes in size(),
        issued in instant(),
        urgency in prop_oneof![Just(Urgency::Due), Just(Urgency::Early)],
    ) {
        let lane = bandwidth(mega * MEGA);
        let plan = [Planned { urgency, ..read(issued, bytes) }];
        let time = lane.time_for(Bytes::new(bytes)).as_ps();
        prop_assert_eq!(finishes(&one_lane(arbitration, lane), &plan), [issued + time]);
    }

    #[test]
    fn an_unloaded_transfer_takes_what_its_route_takes(
        system in any_arbitration().prop_flat_map(system),
        planned in any_planned(),
    ) {
        prop_assert_eq!(finishes(&system, std::slice::from_ref(&planned)), [planned.admitted() + unloaded(&system, &planned)]);
    }
}
