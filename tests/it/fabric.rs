//! [`Fabric`] against slow, obvious twins.
//!
//! * `fair` and `priority`: progressive filling over single transfers, in floats ([`filled`]).
//! * `fair` on one lane: processor sharing, picosecond by picosecond in exact integers ([`picosecond_by_picosecond`]),
//!   and its closed form.
//! * `fifo`: each transfer starts when all that arrived before it have left its lanes ([`in_line`]).
//!
//! Cases whose figures a person can check come after the twins, then what must hold whatever the figures are.

use crate::common::properties::{CASES, cases};
use crate::common::random::{any_arbitration, class_weights, delay, gigabytes, instant, sharing, size};
use crate::common::{
    self, Action, CRUMB, LOWEST_PRECEDENCE, Planned, Replay, Way, agenda, bandwidth, config, finishes, giga, lay,
    precedence, take_due,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeMap;
use tiersim::kernel::Calendar;
use tiersim::memory::{
    Arbitration, ClassWeights, Completed, Delivered, Duplex, Fabric, LinkConfig, MemorySystem, Path, Pattern, PerClass,
    PortId, Request, RouteId, TierConfig, TierId, TransferClass, TransferId, Urgency,
};
use tiersim::units::{Bandwidth, Bytes, SimTime};

const PS_PER_SECOND: u128 = SimTime::PS_PER_SECOND as u128;
const MEGA: u64 = 1_000_000;
const EXTERNAL: TierId = TierId::new(1);
/// Reads and writes of two tiers, and moves from each to each.
const ROUTES: usize = 8;

/// Route `index` of every system of two tiers, each with one port.
fn route(index: usize) -> RouteId {
    let system = MemorySystem::new(&tiersim::catalog::memory("study").unwrap()).unwrap();
    assert_eq!(system.routes().len(), ROUTES);
    system.routes().nth(index).unwrap()
}

/// The only port of a tier.
fn port(system: &MemorySystem, tier: TierId) -> PortId {
    system.ports(tier).next().unwrap()
}

// ---- The twins ----

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
        ((self.missing - CRUMB) / rate).ceil() as u64
    }
}

/// When each transfer finishes under `fair` or `priority`: at every arrival and departure all rates are found anew.
/// A departure shows at the next whole picosecond, as it does on the fabric, whose clock knows no others.
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
        for flow in flows.extract_if(.., |flow| flow.missing <= CRUMB) {
            finishes[flow.index] = now;
        }
        while let Some((action, index)) = take_due(&mut agenda, now) {
            match action {
                Action::Issue if plan[index].held.is_some() => {}
                Action::Issue | Action::Admit => flows.push(flow(system, plan, index, urgency[index])),
                Action::Cancel => panic!("this twin cancels nothing"),
                Action::Promote => {
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

/// Weighted max-min fair rates, level by level: the rates of all that still rise grow together, each by its weight,
/// until a lane is full; who holds that lane rises no more.
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
                .expect("who rises holds a lane");
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

/// When each transfer finishes under `fifo`: in the order of admission, each starts when the earlier ones have left all
/// its lanes, and then has them to itself.
fn in_line(system: &MemorySystem, plan: &[Planned]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..plan.len()).collect();
    order.sort_by_key(|&index| (plan[index].admitted(), plan[index].held.is_some(), index));
    let mut free = vec![0; system.lanes().len()];
    let mut finishes = vec![0; plan.len()];
    for index in order {
        let planned = &plan[index];
        let lanes = lanes(system, planned);
        let start = lanes.iter().map(|&lane| free[lane]).max().expect("a route holds a lane").max(planned.admitted());
        finishes[index] = start + alone(system, planned);
        for lane in lanes {
            free[lane] = finishes[index];
        }
    }
    finishes
}

fn alone(system: &MemorySystem, planned: &Planned) -> u64 {
    let slowest = lanes(system, planned).iter().map(|&lane| system.lanes()[lane].whole).min();
    slowest.expect("a route holds a lane").time_for(Bytes::new(planned.bytes)).as_ps()
}

/// When each of at most six transfers, given as (issued, bytes), finishes if they share one lane equally.
fn picosecond_by_picosecond(bandwidth: Bandwidth, transfers: &[(u64, u64)]) -> Vec<u64> {
    // The least number that 1 to 6 divide: a share of what a picosecond brings is whole in sixtieths of 10^-12 byte.
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

// ---- Random systems and plans ----

fn link() -> impl Strategy<Value = LinkConfig> {
    (gigabytes(), gigabytes(), prop::option::of(gigabytes()))
        .prop_map(|(read, write, combined)| LinkConfig { combined, ..LinkConfig::new(read, write) })
}

prop_compose! {
    fn tier()(
        bandwidth in gigabytes(),
        duplex in prop_oneof![Just(Duplex::Half), Just(Duplex::Full)],
        link in prop::option::of(link()),
    ) -> TierConfig {
        TierConfig { duplex, link: link.map(Into::into), ..common::tier("tier", bandwidth) }
    }
}

fn system(arbitration: Arbitration) -> impl Strategy<Value = MemorySystem> {
    (class_weights(), tier(), tier()).prop_map(move |(weights, a, b)| lay(&config(arbitration, weights, vec![a, b])))
}

/// A due transfer over one route, which takes its lanes as it is issued.
fn on_route(class: TransferClass, route: RouteId, issued: u64, bytes: u64) -> Planned {
    Planned {
        class,
        source: None,
        destination: None,
        way: Way::One(route),
        bytes,
        granule: bytes,
        issued,
        held: None,
        promoted: None,
        cancelled: None,
        urgency: Urgency::Due,
    }
}

fn lanes(system: &MemorySystem, planned: &Planned) -> Vec<usize> {
    common::lanes_with(system, planned, |_| true)
}

prop_compose! {
    /// A due transfer that takes its lanes at once.
    fn plain()(
        class in prop::sample::select(TransferClass::ALL.to_vec()),
        route in (0..ROUTES).prop_map(route),
        bytes in size(),
        issued in instant(),
    ) -> Planned {
        on_route(class, route, issued, bytes)
    }
}

prop_compose! {
    /// Half of them early, half of these promoted.
    fn early()(
        plain in plain(),
        urgency in prop_oneof![Just(Urgency::Due), Just(Urgency::Early)],
        promoted in prop::option::of(delay()),
    ) -> Planned {
        Planned { urgency, promoted: promoted.filter(|_| urgency == Urgency::Early), ..plain }
    }
}

prop_compose! {
    /// Held or not, early or not.
    fn any_planned()(early in early(), held in prop::option::of(delay())) -> Planned {
        Planned { held, ..early }
    }
}

fn plan(planned: impl Strategy<Value = Planned>) -> impl Strategy<Value = Vec<Planned>> {
    prop::collection::vec(planned, 1..40)
}

// ---- Twins and fabric agree ----

/// One rounding to a picosecond either way, and what floats lose.
fn agree(fabric: &[u64], twin: &[u64]) -> Result<(), TestCaseError> {
    for (index, (&fabric, &twin)) in fabric.iter().zip(twin).enumerate() {
        let tolerance = 2.0 + 1e-9 * twin as f64;
        prop_assert!(fabric.abs_diff(twin) as f64 <= tolerance, "transfer {index}: {fabric} ps, the twin says {twin}");
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

    /// The k-th smallest of n finishes when the lane has carried all smaller ones and as much of each larger one.
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
            // What has left does so at a whole picosecond: up to then its share is nobody's.
            prop_assert!((exact..=exact + f64::ceil(wasted) as u64).contains(&finish), "{bytes} B: {finish}, {exact}");
            smaller += bytes;
            wasted += 1.0 / sharers as f64;
        }
    }

    #[test]
    fn a_transfer_alone_takes_what_its_slowest_lane_takes(
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
    fn a_transfer_alone_takes_what_its_route_takes(
        system in any_arbitration().prop_flat_map(system),
        planned in any_planned(),
    ) {
        prop_assert_eq!(finishes(&system, std::slice::from_ref(&planned)), [planned.admitted() + alone(&system, &planned)]);
    }
}

// ---- Figures that a person can check ----

/// A tier that is its bus alone.
fn bus(bandwidth: Bandwidth) -> TierConfig {
    common::tier("tier", bandwidth)
}

/// A system of which [`read`] and [`write`] use one lane.
fn one_lane(arbitration: Arbitration, lane: Bandwidth) -> MemorySystem {
    lay(&config(arbitration, ClassWeights::default(), vec![bus(lane), bus(lane)]))
}

/// HBM of a byte a picosecond; external memory of 0.7 behind a link of 0.4 either way.
fn two_tiers(arbitration: Arbitration) -> MemorySystem {
    let link = LinkConfig::new(giga(400), giga(400));
    let external = TierConfig { link: Some(link.into()), ..bus(giga(700)) };
    lay(&config(arbitration, ClassWeights::default(), vec![bus(giga(1000)), external]))
}

/// Reads `bytes` from HBM, whose read route is the first in every system.
fn read(issued: u64, bytes: u64) -> Planned {
    on_route(TransferClass::KvRead, route(0), issued, bytes)
}

/// Writes `bytes` to HBM.
fn write(system: &MemorySystem, issued: u64, bytes: u64) -> Planned {
    on_route(TransferClass::KvWrite, system.even_writes(TierId::HBM)[0], issued, bytes)
}

fn read_external(system: &MemorySystem, issued: u64, bytes: u64) -> Planned {
    on_route(TransferClass::KvRead, system.even_reads(EXTERNAL)[0], issued, bytes)
}

fn move_in(system: &MemorySystem, issued: u64, bytes: u64) -> Planned {
    on_route(
        TransferClass::MigrateIn,
        system.move_route(port(system, EXTERNAL), port(system, TierId::HBM)),
        issued,
        bytes,
    )
}

#[test]
fn two_reads_that_partly_overlap_share_the_bus_while_they_do() {
    let byte_a_picosecond = one_lane(Arbitration::Fair, giga(1000));
    // At 200 ns the first lacks 800 kB; the second has its 500 kB after another 1000 ns, when the first lacks 300 kB.
    let plan = [read(0, 1_000_000), read(200_000, 500_000)];
    assert_eq!(finishes(&byte_a_picosecond, &plan), [1_500_000, 1_200_000]);
}

#[test]
fn an_instant_between_two_picoseconds_is_rounded_up() {
    let system = one_lane(Arbitration::Fair, giga(900));
    // The second takes 300 kB / 0.45 = 666,666.7 ps; the first then lacks 509,999.85 B, which take 566,666.5 ps.
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
    // The move and the external read get 0.2 B/ps each, for the link; the HBM read the other 0.8 of the HBM bus. At
    // 1000 ns the move is over: the HBM read lacks 400 kB at 1 B/ps, the external one 100 kB at 0.4.
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
    // The write has 100 kB when the read comes and goes on when it has left; the move waits for both.
    let plan = [write(&system, 0, 500_000), read(100_000, 300_000), move_in(&system, 50_000, 100_000)];
    assert_eq!(finishes(&system, &plan), [800_000, 400_000, 1_050_000]);
}

#[test]
fn an_early_read_waits_for_due_ones_unless_it_is_promoted() {
    for arbitration in [Arbitration::Fair, Arbitration::Priority] {
        let system = one_lane(arbitration, giga(1000));
        let early = Planned { urgency: Urgency::Early, ..read(0, 500_000) };
        let due = read(100_000, 300_000);
        assert_eq!(finishes(&system, &[early.clone(), due.clone()]), [800_000, 400_000], "{arbitration}");
        // With 100 kB received and 200 kB to go for the due one, they share.
        let promoted = Planned { promoted: Some(200_000), ..early };
        assert_eq!(finishes(&system, &[promoted, due]), [800_000, 600_000], "{arbitration}");
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

// ---- What holds whatever the figures are ----

/// What has arrived of a transfer over one route, which is in flight.
fn bytes_of(delivered: Delivered) -> Bytes {
    match delivered {
        Delivered::Part(bytes) => bytes,
        Delivered::All => panic!("only a part of a transfer can be complete"),
    }
}

/// What each lane has carried by `at`, in whole bytes: completed transfers and what has arrived of the others.
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

/// `bytes` on a lane of `bandwidth` in `span`, give or take `crumbs` bytes.
fn fits(bandwidth: Bandwidth, bytes: u128, span: SimTime, crumbs: u128) -> bool {
    bytes * PS_PER_SECOND <= u128::from(bandwidth.get()) * u128::from(span.as_ps()) + crumbs * PS_PER_SECOND
}

fn arrived(replay: &Replay, at: SimTime) -> BTreeMap<usize, Bytes> {
    replay
        .in_flight
        .iter()
        .map(|(&index, &id)| (index, bytes_of(replay.machine.fabric().delivered(at, id, 0))))
        .collect()
}

/// No lane carries more than its bandwidth allows: from the start, while it was busy, and since an earlier instant.
fn check_lanes(
    system: &MemorySystem,
    replay: &Replay,
    at: SimTime,
    before: &(SimTime, Vec<u128>),
) -> Result<(), TestCaseError> {
    let (since, carried_before) = before;
    // Each transfer's bytes were rounded down at the earlier instant.
    let crumbs = 1 + replay.plan.len() as u128;
    let carried = carried(system, replay, at);
    for (index, (lane, load)) in system.lanes().iter().zip(replay.machine.fabric().loads(at)).enumerate() {
        prop_assert!(load.busy <= at, "{} was busy for {} by {at}", lane.name, load.busy);
        prop_assert!(fits(lane.bandwidth(), carried[index], load.busy, 1), "{} by {at}", lane.name);
        prop_assert!(carried[index] >= carried_before[index], "{} lost bytes by {at}", lane.name);
        let bytes = carried[index] - carried_before[index];
        prop_assert!(fits(lane.bandwidth(), bytes, at - *since, crumbs), "{} in {since}..{at}", lane.name);
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
        let said = [fabric.issued(), fabric.completed(), fabric.in_flight()].map(|bytes| bytes[class].get());
        prop_assert_eq!(said, [issued, completed, in_flight], "{}", class);
    }
    Ok(())
}

/// What a completion says of itself.
fn check_completion(system: &MemorySystem, plan: &[Planned], transfer: &Completed<usize>) -> Result<(), TestCaseError> {
    let planned = &plan[transfer.tag];
    let said = (transfer.class, transfer.bytes.get(), transfer.issued.as_ps());
    prop_assert_eq!(said, (planned.class, planned.bytes, planned.issued));
    prop_assert_eq!(transfer.unloaded.as_ps(), alone(system, planned));
    prop_assert_eq!(transfer.latency(), transfer.finished - transfer.issued);
    prop_assert!(transfer.finished >= SimTime::from_ps(planned.admitted()) + transfer.unloaded, "{:?}", transfer);
    prop_assert_eq!(transfer.queueing(), transfer.latency() - transfer.unloaded);
    Ok(())
}

/// Runs `plan` and looks at the fabric at every instant and half-way between two.
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

/// The completions in their order, with all that tells one run from another.
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

    /// `issue` writes some transfers to their slots in one go: the same as holding them and letting them go at once.
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

    /// What is issued at one instant shares the lanes from that instant on, whatever the order of issue.
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

/// A slot that is used again must not be taken for the transfer that had it, whose heap entry is still there.
#[test]
fn a_held_transfer_in_a_reused_slot_is_not_completed() {
    // 0.3 B/ps is rounded down, so the two marks differ by less than the slack.
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

/// Whoever remembers how far a group had come must be able to compare: also when all have left and others come later.
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
