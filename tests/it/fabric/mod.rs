//! [`Fabric`](tiersim::memory::Fabric): how transfers share lanes.
//!
//! * `theory`: random plans against slow, obvious twins of each arbitration.
//! * `by_hand`: cases whose figures a person can check.
//! * `conservation`: what holds of every plan, such as that no lane exceeds its bandwidth.
//!
//! This file has what they share: systems of two tiers with one port each, and random plans of
//! transfers that each take one route.

mod by_hand;
mod conservation;
mod theory;

use crate::common::properties::{CASES, cases};
use crate::common::random::{any_arbitration, class_weights, delay, gigabytes, instant, sharing, size};
use crate::common::{
    self, Action, LOWEST_PRECEDENCE, Planned, Replay, TOLERANCE, Way, agenda, bandwidth, config, finishes, giga, lay,
    precedence, take_due,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeMap;
use tiersim::kernel::Calendar;
use tiersim::memory::{
    Arbitration, ClassWeights, Completed, Delivered, Duplex, Fabric, LinkConfig, MemorySystem, Path, Pattern, PerClass,
    PortId, Reach, Request, RouteId, TierConfig, TierId, TransferClass, TransferId, Urgency,
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

/// A due transfer over one route, admitted when it is issued.
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
        raised: None,
        cancelled: None,
        urgency: Urgency::Due,
        reach: Reach::FULL,
    }
}

fn lanes(system: &MemorySystem, planned: &Planned) -> Vec<usize> {
    common::lanes_with(system, planned, |_| true)
}

prop_compose! {
    /// A due transfer that is admitted at once.
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
    /// Half of them early, half of these raised in urgency.
    fn early()(
        plain in plain(),
        urgency in prop_oneof![Just(Urgency::Due), Just(Urgency::Early)],
        raised in prop::option::of(delay()),
    ) -> Planned {
        Planned { urgency, raised: raised.filter(|_| urgency == Urgency::Early), ..plain }
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

/// The unloaded service time of a transfer, in picoseconds.
fn unloaded(system: &MemorySystem, planned: &Planned) -> u64 {
    let slowest = lanes(system, planned).iter().map(|&lane| system.lanes()[lane].whole).min();
    slowest.expect("a route holds a lane").time_for(Bytes::new(planned.bytes)).as_ps()
}

/// A tier that consists of its bus only.
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
